/* What a page does for its reader: theme, search, contents, copying, the keyboard. It does in 6 KB what the book
   needs of the theme's scripts, and it does nothing before it is needed: a long page is not measured at its start. */
(() => {
  const root = document.documentElement, $ = (query) => document.querySelector(query), all = (query) => document.querySelectorAll(query);
  const base = document.currentScript.src.replace(/[^/]*$/, "");

  /* --- light, dark, or as the system says (a script in the page's head has applied the choice before this) */
  const system = matchMedia("(prefers-color-scheme: dark)");
  function theme(mode) {
    const name = mode === "light" || mode === "dark" ? mode : system.matches ? "dark" : "light";
    if (root.dataset.mode !== mode) root.dataset.mode = mode;
    if (root.dataset.theme !== name) root.dataset.theme = name;
    try { localStorage.setItem("mode", mode); localStorage.setItem("theme", name); } catch { /* a private window */ }
  }
  const modes = () => (system.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"]);
  system.addEventListener("change", () => { if ((root.dataset.mode || "auto") === "auto") theme("auto"); });

  /* --- dialogs: search, and on narrow pages the two lists of contents */
  const outside = (event) => {
    const dialog = event.currentTarget, box = dialog.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) dialog.close();
  };
  function search() {
    const dialog = $("#pst-search-dialog"), own = $("form.bd-search:not(#pst-search-dialog form) input");
    if (own) return own.focus(), own.select();
    dialog.open ? dialog.close() : dialog.showModal();
  }
  function drawer(button, panel, dialog) {
    if (!button || !panel || !dialog) return;
    const move = (from, to) => {
      to.append(...from.childNodes);
      to.classList.add(...from.classList);
      from.removeAttribute("class");
    };
    button.addEventListener("click", () => {
      if (panel.id === "pst-primary-sidebar" && matchMedia("(min-width: 992px)").matches) return panel.classList.toggle("pst-sidebar-hidden");
      move(panel, dialog);
      dialog.showModal();
      dialog.addEventListener("close", () => { move(dialog, panel); button.focus(); }, { once: true });
    });
    dialog.addEventListener("click", outside);
    dialog.addEventListener("click", (event) => { if (event.target.closest("a[href^='#']")) dialog.close(); });
  }

  /* --- which section is being read */
  function spy() {
    const entries = new Map();
    let pinned = 0;
    for (const link of all("#pst-page-toc-nav a[href^='#']")) {
      const section = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (section) entries.set(section.querySelector("h1,h2,h3,h4,h5,h6") ?? section, link);
    }
    if (!entries.size) return;
    const mark = (chosen) => {
      for (const link of entries.values()) {
        link.classList.toggle("active", link === chosen);
        link === chosen ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
      }
      for (const entry of all("#pst-page-toc-nav .toc-entry")) entry.classList.toggle("active", entry.contains(chosen));
    };
    const follow = () => {
      const link = [...entries.values()].find((each) => each.hash === location.hash);
      if (link) { pinned = Date.now() + 1000; mark(link); }
    };
    const seen = new IntersectionObserver((changes) => {
      const last = changes.filter((change) => change.isIntersecting).pop();
      if (last && Date.now() > pinned) mark(entries.get(last.target));
    }, { rootMargin: "0px 0px -70% 0px" });
    for (const heading of entries.keys()) seen.observe(heading);
    addEventListener("hashchange", follow);
    follow();
  }

  /* --- code and wide boxes, as they come near: a button to copy, the keyboard where a box scrolls */
  const ICON = '<svg width="44" height="44" viewBox="0 0 24 24" stroke-width="1.5" stroke="#000" fill="none" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">';
  const COPY = ICON + '<rect x="8" y="8" width="12" height="12" rx="2"/><path d="M16 8v-2a2 2 0 0 0 -2 -2h-8a2 2 0 0 0 -2 2v8a2 2 0 0 0 2 2h2"/></svg>';
  const DONE = ICON.replace("#000", "#22863a") + '<path d="M5 12l5 5l10 -10"/></svg>';
  async function copy(button) {
    const code = button.previousElementSibling.cloneNode(true);
    code.querySelectorAll(".linenos, .gp, .go").forEach((part) => part.remove());
    const text = code.textContent.replace(/\n$/, "");
    try { await navigator.clipboard.writeText(text); } catch { // not offered on this page
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.innerHTML = DONE;
    button.dataset.tooltip = "Copied!";
    button.classList.add("success");
    setTimeout(() => { button.innerHTML = COPY; button.dataset.tooltip = "Copy"; button.classList.remove("success"); }, 1800);
  }
  function attend(box) {
    box.tabIndex = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
    if (!box.matches(".cell_input pre, [class*=highlight-]:not(.output) pre") || box.nextElementSibling?.matches(".copybtn")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copybtn o-tooltip--left";
    button.setAttribute("aria-label", "Copy the code");
    button.dataset.tooltip = "Copy";
    button.innerHTML = COPY;
    box.after(button);
  }
  const BOXES = ".bd-article pre, .cell_output > .output, .pst-scrollable-table-container";
  const idle = (task) => (window.requestIdleCallback ? requestIdleCallback(task, { timeout: 1000 }) : setTimeout(task, 30));
  let round = 0;
  function watch() { // one box at a time, whenever the page has nothing else to do; what is near comes first
    const mine = ++round, rest = [...all(BOXES)];
    const near = new IntersectionObserver((changes) => changes.forEach((c) => c.isIntersecting && attend(c.target)), { rootMargin: "200px" });
    rest.forEach((box) => near.observe(box));
    const next = () => {
      if (mine !== round) return near.disconnect();
      const box = rest.shift();
      if (!box) return near.disconnect();
      near.unobserve(box);
      attend(box);
      idle(next);
    };
    settled.then(() => idle(next));
  }

  /* --- what is far from the eye has not been laid out (book.css); once the reader moves, idle moments are used for it,
     so that the page then stays as it is: one section or cell at a time, none long enough to be felt */
  let finished;
  const settled = new Promise((done) => (finished = done));
  function lay() {
    let rest = null;
    const next = () => {
      rest ??= [...all(".bd-article section section, .bd-article div.cell, .bd-article section > dl.py")];
      const part = rest.shift();
      if (!part) { root.dataset.settled = ""; return finished(); }
      part.dataset.laid = "";
      idle(next);
    };
    const signs = ["wheel", "scroll", "pointerdown", "pointermove", "touchstart", "keydown", "focusin"];
    const start = () => { signs.forEach((sign) => removeEventListener(sign, start)); idle(next); };
    signs.forEach((sign) => addEventListener(sign, start, { passive: true }));
  }

  /* --- side notes take the place of the page's contents; the header gets an edge once the page has moved */
  function sides() {
    const contents = $(".bd-sidebar-secondary"), near = new Set();
    const notes = new IntersectionObserver((changes) => {
      for (const { isIntersecting, target } of changes) near[isIntersecting ? "add" : "delete"](target);
      contents?.classList.toggle("hide", near.size > 0);
    }, { rootMargin: "0px 0px -33% 0px" });
    const names = ["marginnote", "sidenote", "margin", "margin-caption", "full-width", "sidebar", "popout"];
    const query = names.flatMap((n) => [n, n.replace("-", "_")]).flatMap((n) => [`.${n}`, `.tag_${n}`]).join();
    all(`.bd-article :is(${query})`).forEach((note) => notes.observe(note));
    const start = $(".sbt-scroll-pixel-helper");
    if (start) new IntersectionObserver(([entry]) => document.body.classList.toggle("scrolled", entry.boundingClientRect.y < 0)).observe(start);
    const up = $("#pst-back-to-top");
    let before = 0;
    addEventListener("scroll", () => { // only on the way up
      const now = scrollY;
      if (up) up.style.display = now < before && now > innerHeight / 2 ? "block" : "none";
      before = now;
    }, { passive: true });
    up?.addEventListener("click", () => scrollTo(0, 0));
  }

  /* --- words of a search, marked on the page that it found */
  function words() {
    let asked = null;
    try { asked = localStorage.getItem("sphinx_highlight_terms"); } catch { /* a private window */ }
    if ((!asked && !/[?&]highlight=/.test(location.search)) || window.DOCUMENTATION_OPTIONS) return;
    ["documentation_options.js", "doctools.js", "sphinx_highlight.js"].reduce((ready, name) => ready.then(() => new Promise((done) => {
      document.head.append(Object.assign(document.createElement("script"), { src: base + name, onload: done }));
    })), Promise.resolve());
  }

  /* --- the list of chapters opens where the reader left it, or at the present chapter */
  function chapters() {
    const list = $("#pst-primary-sidebar"), current = list?.querySelector("a.current");
    if (!current || !list.clientHeight) return;
    const place = +sessionStorage.getItem("sidebar-scroll-top"), y = current.offsetTop;
    if (place) list.scrollTop = place;
    else if (y > innerHeight / 2) list.scrollTop = y - list.clientHeight / 4;
    addEventListener("pagehide", () => sessionStorage.setItem("sidebar-scroll-top", list.scrollTop));
  }

  const mac = /^(Mac|iPhone)/.test(navigator.platform);
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || event.shiftKey || event.altKey || !(mac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey)) return;
    event.preventDefault();
    search();
  }, true);
  addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.matches(".theme-switch-button")) theme(modes()[(modes().indexOf(root.dataset.mode || "auto") + 1) % 3]);
    else if (button.matches(".search-button__button")) search();
    else if (button.matches(".copybtn")) copy(button);
  });
  let due = 0;
  addEventListener("resize", () => { clearTimeout(due); due = setTimeout(watch, 300); }, { passive: true });

  // Short tasks, one after another: each lets the page scroll and answer in between.
  const tasks = [
    () => theme(root.dataset.mode || "auto"),
    () => drawer($(".primary-toggle"), $("#pst-primary-sidebar"), $("#pst-primary-sidebar-modal")),
    () => drawer($(".secondary-toggle"), $("#pst-secondary-sidebar"), $("#pst-secondary-sidebar-modal")),
    () => $("#pst-search-dialog")?.addEventListener("click", outside),
    () => mac && all(".search-button__kbd-shortcut").forEach((keys) => (keys.querySelector("kbd").textContent = "⌘")),
    spy, sides, words, watch, chapters,
  ];
  const next = () => { tasks.shift()?.(); if (tasks.length) setTimeout(next); };
  lay();
  next();
})();
