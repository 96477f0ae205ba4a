/* What a page does for its reader: theme, search, contents, copying, the keyboard. It does in 6 KB what the book
   needs of the theme's scripts, and it does nothing before it is needed: a long page is not measured at its start. */
(() => {
  const root = document.documentElement;
  /** @param {string} query @returns {HTMLElement | null} */
  const $ = (query) => document.querySelector(query);
  /** @param {string} query @returns {NodeListOf<HTMLElement>} */
  const all = (query) => document.querySelectorAll(query);
  const dialogOf = () => /** @type {HTMLDialogElement | null} */ ($("#pst-search-dialog"));
  const base = /** @type {HTMLScriptElement} */ (document.currentScript).src.replace(/[^/]*$/, "");

  /* --- light, dark, or as the system says (a script in the page's head has applied the choice before this) */
  const system = matchMedia("(prefers-color-scheme: dark)");
  /** @param {string} mode */
  function theme(mode) {
    const name = mode === "light" || mode === "dark" ? mode : system.matches ? "dark" : "light";
    if (root.dataset.mode !== mode) root.dataset.mode = mode;
    if (root.dataset.theme !== name) root.dataset.theme = name;
    try {
      localStorage.setItem("mode", mode);
      localStorage.setItem("theme", name);
    } catch {
      /* a private window */
    }
  }
  const modes = () => (system.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"]);
  system.addEventListener("change", () => {
    if ((root.dataset.mode || "auto") === "auto") theme("auto");
  });

  /* --- dialogs: search, and on narrow pages the two lists of contents */
  /** @param {MouseEvent} event */
  const outside = ({ currentTarget, clientX: x, clientY: y }) => {
    const dialog = /** @type {HTMLDialogElement} */ (currentTarget);
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    if (x < left || x > right || y < top || y > bottom) dialog.close();
  };
  function search() {
    const dialog = dialogOf();
    const own = /** @type {HTMLInputElement | null} */ ($("form.bd-search:not(#pst-search-dialog form) input"));
    own?.focus();
    own?.select();
    if (own || !dialog) return;
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }
  /** @param {string} side */
  function drawer(side) {
    const [button, panel] = [$(`.${side}-toggle`), $(`#pst-${side}-sidebar`)];
    const dialog = /** @type {HTMLDialogElement | null} */ ($(`#pst-${side}-sidebar-modal`));
    if (!button || !panel || !dialog) return;
    /** @param {HTMLElement} from @param {HTMLElement} to */
    const move = (from, to) => {
      to.append(...from.childNodes);
      to.classList.add(...from.classList);
      from.removeAttribute("class");
    };
    button.addEventListener("click", () => {
      if (side === "primary" && matchMedia("(min-width: 992px)").matches)
        return panel.classList.toggle("pst-sidebar-hidden");
      const back = () => {
        move(dialog, panel);
        button.focus();
      };
      move(panel, dialog);
      dialog.showModal();
      dialog.addEventListener("close", back, { once: true });
    });
    dialog.addEventListener("click", outside);
    dialog.addEventListener("click", ({ target }) => {
      if (target instanceof Element && target.closest("a[href^='#']")) dialog.close();
    });
  }

  /* --- which section is being read */
  function spy() {
    /** @type {Map<Element, HTMLAnchorElement>} */
    const entries = new Map();
    let pinned = 0;
    for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (all("#pst-page-toc-nav a[href^='#']"))) {
      const section = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (section) entries.set(section.querySelector("h1,h2,h3,h4,h5,h6") ?? section, link);
    }
    if (!entries.size) return;
    /** @param {HTMLAnchorElement} chosen */
    const mark = (chosen) => {
      for (const link of entries.values()) {
        link.classList.toggle("active", link === chosen);
        if (link === chosen) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      for (const entry of all("#pst-page-toc-nav .toc-entry")) entry.classList.toggle("active", entry.contains(chosen));
    };
    const follow = () => {
      const link = [...entries.values()].find((each) => each.hash === location.hash);
      if (!link) return;
      pinned = Date.now() + 1000;
      mark(link);
    };
    /** @param {IntersectionObserverEntry[]} changes */
    const passed = (changes) => {
      const last = changes.filter((change) => change.isIntersecting).pop();
      const link = last && entries.get(last.target);
      if (link && Date.now() > pinned) mark(link);
    };
    const seen = new IntersectionObserver(passed, { rootMargin: "0px 0px -70% 0px" });
    for (const heading of entries.keys()) seen.observe(heading);
    addEventListener("hashchange", follow);
    follow();
  }

  /* --- code and wide boxes, as they come near: a button to copy, the keyboard where a box scrolls */
  /** @param {string} colour @param {string} lines */
  const icon = (colour, lines) =>
    `<svg width="44" height="44" viewBox="0 0 24 24" stroke-width="1.5" stroke="${colour}" fill="none" ` +
    `stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${lines}</svg>`;
  const SHEETS =
    '<rect x="8" y="8" width="12" height="12" rx="2"/>' +
    '<path d="M16 8v-2a2 2 0 0 0 -2 -2h-8a2 2 0 0 0 -2 2v8a2 2 0 0 0 2 2h2"/>';
  const COPY = icon("#000", SHEETS);
  const DONE = icon("#22863a", '<path d="M5 12l5 5l10 -10"/>');
  /** @param {Element} button */
  const textBefore = (button) => {
    const code = /** @type {Element} */ (button.previousElementSibling?.cloneNode(true));
    code.querySelectorAll(".linenos, .gp, .go").forEach((part) => part.remove());
    return (code.textContent ?? "").replace(/\n$/, "");
  };
  /** Where a page is not offered the clipboard. @param {string} text */
  const copySelected = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  /** @param {HTMLElement} button */
  async function copy(button) {
    const text = textBefore(button);
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copySelected(text);
      button.focus();
    }
    button.innerHTML = DONE;
    button.dataset.tooltip = "Copied!";
    button.classList.add("success");
    setTimeout(() => {
      button.innerHTML = COPY;
      button.dataset.tooltip = "Copy";
      button.classList.remove("success");
    }, 1800);
  }
  const CODE = ".cell_input pre, [class*=highlight-]:not(.output) pre";
  /** @param {HTMLElement} box */
  function attend(box) {
    box.tabIndex = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
    if (!box.matches(CODE) || box.nextElementSibling?.matches(".copybtn")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copybtn o-tooltip--left";
    button.setAttribute("aria-label", "Copy the code");
    button.dataset.tooltip = "Copy";
    button.innerHTML = COPY;
    box.after(button);
  }
  const BOXES = ".bd-article pre, .cell_output > .output, .pst-scrollable-table-container";
  /** @param {() => void} task */
  const idle = (task) =>
    "requestIdleCallback" in window ? requestIdleCallback(task, { timeout: 1000 }) : setTimeout(task, 30);
  let round = 0;
  /** One box at a time, whenever the page has nothing else to do; what is near comes first. */
  function watch() {
    const mine = ++round;
    const rest = [...all(BOXES)];
    /** @param {IntersectionObserverEntry[]} changes */
    const arrived = (changes) =>
      changes.forEach((c) => c.isIntersecting && attend(/** @type {HTMLElement} */ (c.target)));
    const near = new IntersectionObserver(arrived, { rootMargin: "200px" });
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
  let finished = () => {};
  /** @type {Promise<void>} */
  const settled = new Promise((done) => (finished = done));
  function lay() {
    /** @type {HTMLElement[] | undefined} */
    let rest;
    const next = () => {
      rest ??= [...all(".bd-article section section, .bd-article div.cell, .bd-article section > dl.py")];
      const part = rest.shift();
      if (!part) {
        root.dataset.settled = "";
        return finished();
      }
      part.dataset.laid = "";
      idle(next);
    };
    const signs = ["wheel", "scroll", "pointerdown", "pointermove", "touchstart", "keydown", "focusin"];
    const start = () => {
      signs.forEach((sign) => removeEventListener(sign, start));
      idle(next);
    };
    signs.forEach((sign) => addEventListener(sign, start, { passive: true }));
  }

  /* --- side notes take the place of the page's contents; the header gets an edge once the page has moved */
  function sides() {
    const contents = $(".bd-sidebar-secondary");
    const near = new Set();
    /** @param {IntersectionObserverEntry[]} changes */
    const passed = (changes) => {
      for (const { isIntersecting, target } of changes) near[isIntersecting ? "add" : "delete"](target);
      contents?.classList.toggle("hide", near.size > 0);
    };
    const notes = new IntersectionObserver(passed, { rootMargin: "0px 0px -33% 0px" });
    const names = ["marginnote", "sidenote", "margin", "margin-caption", "full-width", "sidebar", "popout"];
    const query = names
      .flatMap((n) => [n, n.replace("-", "_")])
      .flatMap((n) => [`.${n}`, `.tag_${n}`])
      .join();
    all(`.bd-article :is(${query})`).forEach((note) => notes.observe(note));
    const start = $(".sbt-scroll-pixel-helper");
    const scrolled = new IntersectionObserver(([entry]) => {
      document.body.classList.toggle("scrolled", entry.boundingClientRect.y < 0);
    });
    if (start) scrolled.observe(start);
    const up = $("#pst-back-to-top");
    let before = 0;
    const follow = () => {
      const now = scrollY;
      if (up) up.style.display = now < before && now > innerHeight / 2 ? "block" : "none"; // only on the way up
      before = now;
    };
    addEventListener("scroll", follow, { passive: true });
    up?.addEventListener("click", () => scrollTo(0, 0));
  }

  /* --- words of a search, marked on the page that it found */
  function words() {
    /** @type {string | null} */
    let asked = null;
    try {
      asked = localStorage.getItem("sphinx_highlight_terms");
    } catch {
      /* a private window */
    }
    if ((!asked && !/[?&]highlight=/.test(location.search)) || "DOCUMENTATION_OPTIONS" in window) return;
    /** @param {string} name @returns {Promise<unknown>} */
    const script = (name) =>
      new Promise((onload) => {
        document.head.append(Object.assign(document.createElement("script"), { src: base + name, onload }));
      });
    script("documentation_options.js")
      .then(() => script("doctools.js"))
      .then(() => script("sphinx_highlight.js"));
  }

  /* --- the list of chapters opens where the reader left it, or at the present chapter */
  function chapters() {
    const list = $("#pst-primary-sidebar");
    /** @type {HTMLElement | null | undefined} */
    const current = list?.querySelector("a.current");
    if (!list || !current || !list.clientHeight) return;
    const place = Number(sessionStorage.getItem("sidebar-scroll-top"));
    const y = current.offsetTop;
    if (place) list.scrollTop = place;
    else if (y > innerHeight / 2) list.scrollTop = y - list.clientHeight / 4;
    addEventListener("pagehide", () => sessionStorage.setItem("sidebar-scroll-top", String(list.scrollTop)));
  }

  const mac = /^(Mac|iPhone)/.test(navigator.platform);
  /** @param {KeyboardEvent} event */
  const asksToSearch = ({ key, shiftKey, altKey, metaKey, ctrlKey }) =>
    key.toLowerCase() === "k" && !shiftKey && !altKey && (mac ? metaKey && !ctrlKey : ctrlKey && !metaKey);
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (!asksToSearch(event)) return;
    event.preventDefault();
    search();
  };
  addEventListener("keydown", pressed, true);
  addEventListener("click", ({ target }) => {
    const button = target instanceof Element ? target.closest("button") : null;
    if (!button) return;
    if (button.matches(".theme-switch-button")) theme(modes()[(modes().indexOf(root.dataset.mode || "auto") + 1) % 3]);
    else if (button.matches(".search-button__button")) search();
    else if (button.matches(".copybtn")) copy(button);
  });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let due;
  const resized = () => {
    clearTimeout(due);
    due = setTimeout(watch, 300);
  };
  addEventListener("resize", resized, { passive: true });

  // Short tasks, one after another: each lets the page scroll and answer in between.
  const tasks = [
    () => theme(root.dataset.mode || "auto"),
    () => drawer("primary"),
    () => drawer("secondary"),
    () => dialogOf()?.addEventListener("click", outside),
    () => mac && all(".search-button__kbd-shortcut kbd").forEach((key) => (key.textContent = "⌘")),
    spy,
    sides,
    words,
    watch,
    chapters,
  ];
  const next = () => {
    tasks.shift()?.();
    if (tasks.length) setTimeout(next);
  };
  lay();
  next();
})();
