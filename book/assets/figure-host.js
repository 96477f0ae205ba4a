/* Mounts the interactive figures of a static page from the widget state in it: no kernel, no widget manager, no
   request. It also keeps a figure's setting in the page's address (#cone:kernel_size=3,layers=4).
   A classic script on purpose: <script type=module src> does not load from file://. */
(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
  const models = new Map(), modules = new Map(), figures = new Map();
  const { signal } = new AbortController(); // a static page never tears a view down

  class Model {
    #data; #listeners = new Map();
    constructor(data) { this.#data = data; this.first = { ...data }; }
    get(key) { return this.#data[key]; }
    set(key, value) {
      if (typeof key === "object") return Object.entries(key).forEach(([k, v]) => this.set(k, v));
      if (Object.is(this.#data[key], value)) return;
      this.#data[key] = value;
      this.#emit("change:" + key, value);
      this.#emit("change");
    }
    save_changes() { remember(); }
    send() {} // there is no kernel to tell
    on(names, fn) {
      for (const name of names.split(/\s+/)) this.#listeners.set(name, (this.#listeners.get(name) ?? new Set()).add(fn));
    }
    off(name, fn) {
      if (!name) this.#listeners.clear();
      else if (fn) this.#listeners.get(name)?.delete(fn);
      else this.#listeners.delete(name);
    }
    #emit(name, value) { for (const fn of [...(this.#listeners.get(name) ?? [])]) fn({ new: value }); }
  }

  function readStates() {
    for (const script of document.querySelectorAll(STATE)) {
      for (const [id, entry] of Object.entries(JSON.parse(script.textContent).state)) {
        if (entry.model_module !== "anywidget") continue;
        for (const { path, data, encoding } of entry.buffers ?? []) {
          if (encoding !== "base64") continue;
          let at = entry.state;
          for (const key of path.slice(0, -1)) at = at[key];
          at[path.at(-1)] = new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
        }
        models.set(id, new Model(entry.state));
      }
    }
  }

  /* --- the setting in the address */
  const spell = (value) => encodeURIComponent(typeof value === "boolean" ? +value : value);
  const tail = (model) => (model.get("url_keys") ?? []).filter((key) => model.get(key) !== model.first[key]).map((key) => `${key}=${spell(model.get(key))}`).join(",");
  let due = 0;
  function remember() { // once at rest: browsers limit how often an address may change
    clearTimeout(due);
    due = setTimeout(() => {
      const parts = [...figures].map(([name, [model]]) => [name, tail(model)]).filter(([, text]) => text);
      const ours = /^#[\w-]+:/.test(location.hash), hash = parts.map((part) => part.join(":")).join("&");
      if (hash || ours) history.replaceState(history.state, "", hash ? "#" + hash : location.pathname + location.search);
    }, 250);
  }
  function recall() {
    let found = null;
    for (const part of location.hash.slice(1).split("&")) {
      const [name, text] = part.split(":"), [model, box] = figures.get(name) ?? [];
      if (!model || text === undefined) continue; // a section, not a figure
      found ??= box;
      for (const pair of text.split(",")) {
        const [key, raw] = pair.split("="), was = model.first[key];
        if (raw === undefined || !(model.get("url_keys") ?? []).includes(key)) continue;
        let value;
        try { value = decodeURIComponent(raw); } catch { continue; }
        if (typeof was === "boolean") model.set(key, value === "1");
        else if (typeof was !== "number") model.set(key, value);
        else if (raw !== "" && Number.isFinite(+value)) model.set(key, +value);
      }
    }
    return found;
  }

  /* --- mounting */
  const made = async (module) => (typeof module === "function" ? module() : module);
  function script(src, name) { // a file of the book's, shared by its pages; it puts its module under its name
    return new Promise((done, fail) => {
      const onload = () => done(window.causalcnnModules[name]), onerror = () => fail(new Error(`${src} did not load`));
      document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
    }).then(made);
  }
  function blob(esm) {
    const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    return import(url).then((m) => made(m.default));
  }
  function load(model) { // each distinct source once, so that figures share a module
    const src = model.get("_src"), key = src ?? model.get("_esm");
    if (!modules.has(key)) modules.set(key, src ? script(src, model.get("_module")) : blob(key));
    return modules.get(key);
  }

  async function mount(script, model) {
    const box = script.closest(".cc-host"), el = document.createElement("div");
    if (!box) script.after(el); // another anywidget, without a static picture
    try {
      const widget = await load(model);
      if (!box && model.get("_css")) el.append(Object.assign(document.createElement("style"), { textContent: model.get("_css") }));
      const experimental = { invoke: () => Promise.reject(new Error("no kernel behind this page")) };
      model.ready ??= Promise.resolve(widget.initialize?.({ model, signal, experimental }));
      await model.ready;
      const still = box?.querySelector(".cc-static");
      if (still) { // laid out below the picture, unseen, so that it knows its width before it is shown
        el.style.cssText = "height:0;overflow:hidden;visibility:hidden";
        still.after(el);
      }
      await widget.render?.({ model, el, signal, experimental });
      still?.remove();
      el.removeAttribute("style");
      el.dataset.ready = "";
    } catch (error) {
      console.error(error);
      el.remove(); // the static picture stays
    }
  }

  function start() {
    readStates();
    const views = [];
    for (const script of document.querySelectorAll(VIEW)) {
      const model = models.get(JSON.parse(script.textContent).model_id);
      if (!model) continue; // not ours: leave the cell as it is
      const box = script.closest(".cc-host") ?? script.parentElement, name = model.get("name") ?? "figure";
      let unique = name;
      for (let n = 2; figures.has(unique); n++) unique = `${name}-${n}`;
      figures.set(unique, [model, box]);
      views.push([script, model, box]);
    }
    const target = recall();
    target?.scrollIntoView();
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); entry.target.ccMount(); }
    }, { rootMargin: "800px" });
    for (const [script, model, box] of views) {
      const go = () => mount(script, model), before = box.ccMount; // one box may hold two views
      box.ccMount = before ? () => { before(); go(); } : go;
      near.observe(box);
    }
    addEventListener("hashchange", () => recall()?.scrollIntoView());
    addEventListener("beforeprint", () => views.forEach(([, , box]) => near.observe(box)));
  }
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
})();
