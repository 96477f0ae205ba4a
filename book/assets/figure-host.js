/* Mounts the interactive figures of a static page from the widget state in it: no kernel, no widget manager, no
   request. It also keeps a figure's setting in the page's address (#cone:kernel_size=3,layers=4).
   A classic script on purpose: <script type=module src> does not load from file://. */
(() => {
  /**
   * @typedef {Record<string, any>} State
   * @typedef {{ path: string[], data: string, encoding: string }} Packed
   * @typedef {{ model: Model, signal: AbortSignal, experimental: object }} Given
   * @typedef {{ initialize?(given: Given): unknown, render?(given: Given & { el: HTMLElement }): unknown }} Widget
   * @typedef {Widget | (() => Widget)} Module what anywidget allows as a module's default export
   * @typedef {HTMLElement & { ccMount?: () => void }} Box
   * @typedef {Window & typeof globalThis & { causalcnnModules: Record<string, Module> }} Shared
   */
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
  /** @type {Map<string, Model>} */
  const models = new Map();
  /** @type {Map<string, Promise<Widget>>} */
  const modules = new Map();
  /** @type {Map<string, [Model, Box]>} */
  const figures = new Map();
  const { signal } = new AbortController(); // a static page never tears a view down

  class Model {
    #data;
    /** @type {Map<string, Set<(change?: { new: unknown }) => void>>} */
    #listeners = new Map();
    /** @type {Promise<unknown> | undefined} */
    ready;
    /** @param {State} data */
    constructor(data) {
      this.#data = data;
      this.first = { ...data };
    }
    /** @param {string} key */
    get(key) {
      return this.#data[key];
    }
    /** @param {string | State} key @param {unknown} [value] @returns {void} */
    set(key, value) {
      if (typeof key === "object") return Object.entries(key).forEach(([k, v]) => this.set(k, v));
      if (Object.is(this.#data[key], value)) return;
      this.#data[key] = value;
      this.#emit("change:" + key, value);
      this.#emit("change");
    }
    save_changes() {
      remember();
    }
    send() {} // there is no kernel to tell
    /** @param {string} names @param {() => void} fn */
    on(names, fn) {
      for (const name of names.split(/\s+/))
        this.#listeners.set(name, (this.#listeners.get(name) ?? new Set()).add(fn));
    }
    /** @param {string | null} [name] @param {(() => void) | null} [fn] */
    off(name, fn) {
      if (!name) this.#listeners.clear();
      else if (fn) this.#listeners.get(name)?.delete(fn);
      else this.#listeners.delete(name);
    }
    /** @param {string} name @param {unknown} [value] */
    #emit(name, value) {
      for (const fn of [...(this.#listeners.get(name) ?? [])]) fn({ new: value });
    }
  }

  function readStates() {
    for (const script of document.querySelectorAll(STATE)) {
      for (const [id, entry] of Object.entries(JSON.parse(script.textContent ?? "").state)) {
        if (entry.model_module !== "anywidget") continue;
        /** @type {Packed[]} */
        const buffers = entry.buffers ?? [];
        for (const { path, data, encoding } of buffers) {
          if (encoding !== "base64") continue;
          let at = entry.state;
          for (const key of path.slice(0, -1)) at = at[key];
          at[path[path.length - 1]] = new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
        }
        models.set(id, new Model(entry.state));
      }
    }
  }

  /* --- the setting in the address */
  /** @param {string | number | boolean} value */
  const spell = (value) => encodeURIComponent(typeof value === "boolean" ? +value : value);
  /** @param {Model} model @returns {string[]} */
  const keysOf = (model) => model.get("url_keys") ?? [];
  /** @param {Model} model */
  const tail = (model) => {
    const changed = keysOf(model).filter((key) => model.get(key) !== model.first[key]);
    return changed.map((key) => `${key}=${spell(model.get(key))}`).join(",");
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let due;
  /** Once at rest: browsers limit how often an address may change. */
  function remember() {
    clearTimeout(due);
    due = setTimeout(() => {
      const parts = [...figures].map(([name, [model]]) => [name, tail(model)]).filter(([, text]) => text);
      const ours = /^#[\w-]+:/.test(location.hash);
      const hash = parts.map((part) => part.join(":")).join("&");
      if (hash || ours)
        history.replaceState(history.state, "", hash ? "#" + hash : location.pathname + location.search);
    }, 250);
  }
  function recall() {
    /** @type {Box | undefined} */
    let found;
    for (const part of location.hash.slice(1).split("&")) {
      const [name, text] = part.split(":");
      const [model, box] = figures.get(name) ?? [];
      if (!model || text === undefined) continue; // a section, not a figure
      found ??= box;
      for (const pair of text.split(",")) {
        const [key, raw] = pair.split("=");
        const was = model.first[key];
        if (raw === undefined || !keysOf(model).includes(key)) continue;
        let value = "";
        try {
          value = decodeURIComponent(raw);
        } catch {
          continue;
        }
        if (typeof was === "boolean") model.set(key, value === "1");
        else if (typeof was !== "number") model.set(key, value);
        else if (raw !== "" && Number.isFinite(+value)) model.set(key, +value);
      }
    }
    return found;
  }

  /* --- mounting */
  /** @param {Module} module */
  const made = async (module) => (typeof module === "function" ? module() : module);
  /** A file of the book's, shared by its pages; it puts its module under its name. */
  /** @param {string} src @param {string} name */
  function script(src, name) {
    /** @type {Promise<Module>} */
    const loaded = new Promise((done, fail) => {
      const onload = () => done(/** @type {Shared} */ (window).causalcnnModules[name]);
      const onerror = () => fail(new Error(`${src} did not load`));
      document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
    });
    return loaded.then(made);
  }
  /** @param {string} esm */
  function blob(esm) {
    const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    return import(url).then((m) => made(m.default));
  }
  /** Each distinct source once, so that figures share a module. @param {Model} model */
  function load(model) {
    const src = model.get("_src");
    const key = src ?? model.get("_esm");
    const loading = modules.get(key) ?? (src ? script(src, model.get("_module")) : blob(key));
    modules.set(key, loading);
    return loading;
  }

  /** @param {Element} place @param {Model} model */
  async function mount(place, model) {
    const box = place.closest(".cc-host");
    const el = document.createElement("div");
    if (!box) place.after(el); // another anywidget, without a static picture
    try {
      const data = model.get("_data"); // large values, a file of their own
      const [widget, more] = await Promise.all([load(model), data ? script(data, model.get("_data_name")) : {}]);
      for (const [key, value] of Object.entries(more)) model.set(key, value);
      const style = Object.assign(document.createElement("style"), { textContent: model.get("_css") });
      if (!box && model.get("_css")) el.append(style);
      const experimental = { invoke: () => Promise.reject(new Error("no kernel behind this page")) };
      model.ready ??= Promise.resolve(widget.initialize?.({ model, signal, experimental }));
      await model.ready;
      const still = box?.querySelector(".cc-static");
      if (still) {
        // laid out below the picture, unseen, so that it knows its width before it is shown
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
    /** @type {[Element, Model, Box][]} */
    const views = [];
    for (const script of document.querySelectorAll(VIEW)) {
      const model = models.get(JSON.parse(script.textContent ?? "").model_id);
      if (!model) continue; // not ours: leave the cell as it is
      const box = /** @type {Box} */ (script.closest(".cc-host") ?? script.parentElement);
      const name = model.get("name") ?? "figure";
      let unique = name;
      for (let n = 2; figures.has(unique); n++) unique = `${name}-${n}`;
      figures.set(unique, [model, box]);
      views.push([script, model, box]);
    }
    const target = recall();
    target?.scrollIntoView();
    /** @param {IntersectionObserverEntry[]} entries */
    const arrived = (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        /** @type {Box} */ (target).ccMount?.();
      }
    };
    const near = new IntersectionObserver(arrived, { rootMargin: "800px" });
    for (const [script, model, box] of views) {
      const before = box.ccMount; // one box may hold two views
      box.ccMount = () => {
        before?.();
        mount(script, model);
      };
      near.observe(box);
    }
    addEventListener("hashchange", () => recall()?.scrollIntoView());
    addEventListener("beforeprint", () => views.forEach(([, , box]) => near.observe(box)));
  }
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
