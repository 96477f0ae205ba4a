// What all figures share: numbers in words, what several of them draw, controls, the stage. Put in front of each
// figure's module, which ends in a declaration: explorer({ … }), whose parts types.d.ts describes.

/** @import { Changes, Control, Declaration, Explorer, Figure, Model, Readout } from "./types" */

// --- numbers in words

/** @param {number} x */
export const tidy = (x) => String(Math.round(x * 10) / 10);

/** @param {number} n */
export const count = (n) =>
  String(n)
    .replace(/\B(?=(\d{3})+$)/g, ",")
    .replace(/^-/, "−");

/** @param {number} n @param {string} word */
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** Frames as a duration: "150 ms", "2.5 s", "0.625 ms". @param {number} frames @param {number} rateHz */
export function duration(frames, rateHz) {
  const ms = (frames * 1000) / rateHz;
  const [value, unit] = Math.abs(ms) >= 10000 ? [ms / 1000, "s"] : [ms, "ms"];
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return `${String(+value.toFixed(digits)).replace("-", "−")} ${unit}`;
}

// --- states

/** A whole number inside its limits, whatever an address or a notebook asks for. */
/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, Math.round(value) || 0));

/**
 * A state, with every number that has limits inside them.
 * @template {object} S
 * @param {S} s
 * @param {{ [key in keyof S]?: number[] }} limits
 */
export function settle(s, limits) {
  const numbers = /** @type {Record<string, any>} */ (s);
  for (const [key, [low, high]] of Object.entries(limits)) numbers[key] = clamp(numbers[key], low, high);
  return s;
}

/** Whole numbers from `low` to `high`. @param {number} low @param {number} high */
export const upTo = (low, high, step = 1) =>
  Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => low + i * step);

/** The place of the stop that is nearest; of equally near ones the first. */
/** @param {number[]} stops @param {number} value */
export const nearestStop = (stops, value) =>
  stops.reduce((best, stop, i) => (Math.abs(stop - value) < Math.abs(stops[best] - value) ? i : best), 0);

/**
 * A function that computes again only when the key of what it is given is another one.
 * @template S, V
 * @param {(s: S) => string} key
 * @param {(s: S) => V} compute
 */
export function remembered(key, compute) {
  /** @type {[string, V] | undefined} */
  let held;
  return (/** @type {S} */ s) => {
    const now = key(s);
    if (held?.[0] !== now) held = [now, compute(s)];
    return held[1];
  };
}

// --- what is drawn: strings of SVG

/** Whether labels can be whole sentences. @param {number} width */
export const isWide = (width) => width >= 560;

/** @param {string} kind @param {number} x @param {number} y @param {string | number} words @param {string} [anchor] */
export const text = (kind, x, y, words, anchor) =>
  `<text class="${kind}" x="${tidy(x)}" y="${tidy(y)}"${anchor ? ` text-anchor="${anchor}"` : ""}>${words}</text>`;

/** A title that lines may cross: it stands before them in an edge of paper. */
/** @param {number} x @param {number} y @param {string} words */
export const titleOver = (x, y, words) =>
  `<text class="cc-title" style="paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px" ` +
  `x="${x}" y="${y}">${words}</text>`;

/** A path, or nothing where there is none to draw. @param {string} kind @param {string} d @param {string} [more] */
export const path = (kind, d, more) => d && `<path class="${kind}"${more ? " " + more : ""} d="${d}"/>`;

/** A path in a style of its own. @param {string} style @param {string} d */
export const styled = (style, d) => `<path style="${style}" d="${d}"/>`;

/** @param {string} look @param {number} x @param {number} y @param {number} width @param {number} height */
export const rect = (look, x, y, width, height) =>
  `<rect ${look} x="${tidy(x)}" y="${tidy(y)}" width="${tidy(width)}" height="${tidy(height)}"/>`;

/** A picture of pixels. */
/** @param {number} x @param {number} y @param {number} width @param {number} height @param {string} href */
export const image = (x, y, width, height, href) =>
  `<image x="${x}" y="${y}" width="${tidy(width)}" height="${height}" preserveAspectRatio="none" ` +
  `style="image-rendering:pixelated" href="${href}"/>`;

/** The hatching of what is closed, and other definitions. */
/** @param {string} id @param {string} look @param {string} more */
export const hatch = (id, look = 'class="cc-hatch"', more = "") =>
  `<defs>${more}<pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" ` +
  `patternTransform="rotate(45)"><path ${look} d="M0 0V7"/></pattern></defs>`;

/** What is closed, hatched. */
/** @param {string} id @param {number} x @param {number} y @param {number} width @param {number} height */
export const closed = (id, x, y, width, height) => rect(`class="cc-closed" fill="url(#${id}h)"`, x, y, width, height);

/** The word "now" above `x`, between the ends of the stage. */
/** @param {number} x @param {number} left @param {number} right @param {number} y */
export const nowAbove = (x, left, right, y = 24) =>
  text("cc-here", Math.min(Math.max(x, left + 14), right - 14), y, "now", "middle");

/** What lies on both sides of now, where there is room. */
/** @param {number} now @param {number} left @param {number} right @param {boolean} wide */
export function pastAndFuture(now, left, right, wide) {
  let out = "";
  if (now - left > (wide ? 180 : 60)) out += text("cc-said-past", left, 24, wide ? "past: may be used" : "past");
  if (right - now > (wide ? 180 : 70))
    out += text("cc-quiet", right, 24, wide ? "future: not allowed" : "future", "end");
  return out;
}

/** The smallest of 1, 2, 5, 10, … steps whose marks lie `minGap` units apart. */
/** @param {number} unit @param {number} minGap */
export function niceStep(unit, minGap) {
  for (let power = 1; ; power *= 10) for (const m of [1, 2, 5]) if (m * power * unit >= minGap) return m * power;
}

/**
 * Marks and labels of time relative to `now`: frames, and below them their duration.
 * @param {{ a: number, b: number, x: (frame: number) => number, dx: number, now: number, right: number, left: number,
 *   y: number, rateHz: number }} axis
 */
export function timeAxis({ a, b, x, dx, now, right, left, y, rateHz }) {
  const step = niceStep(dx, 66);
  let out = text("cc-quiet", left - 8, y + 18, "frames", "end");
  for (let k = Math.ceil((a - now) / step); k <= Math.floor((b - now) / step); k++) {
    const at = x(now + k * step);
    if (at > right - 26 || at < left + 16) continue;
    out += path("cc-tick", `M${tidy(at)} ${y}v5`) + text("cc-digits", at, y + 18, count(k * step), "middle");
    out += text("cc-digits cc-quiet", at, y + 35, duration(k * step, rateHz), "middle");
  }
  return out;
}

/** Marks and labels of time from the beginning. */
/** @param {number} frames @param {number} left @param {number} dx @param {number} y @param {number} rateHz */
export function secondsAxis(frames, left, dx, y, rateHz) {
  let out = "";
  for (let t = 0; t < frames; t += niceStep(dx, 60)) {
    const x = left + t * dx;
    out += path("cc-tick", `M${tidy(x)} ${y}v5`);
    out += text("cc-digits cc-quiet", x, y + 19, duration(t, rateHz), "middle");
  }
  return out;
}

/** Marks and labels of values. @param {number} left @param {number[]} values @param {(value: number) => number} y */
export const valueAxis = (left, values, y) =>
  values
    .map((value) => {
      const at = tidy(y(value)),
        label = `<text class="cc-digits cc-quiet" x="${left - 9}" y="${at}" dy="4"`;
      return `${path("cc-tick", `M${left - 5} ${at}h5`)}${label} text-anchor="end">${count(value)}</text>`;
    })
    .join("");

// --- controls

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | EventListener>} attributes
 * @param {(Node | string)[]} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, String(value));
  }
  element.append(...children);
  return element;
}

const newId = () => "cc" + Math.random().toString(36).slice(2, 9);

/**
 * A labelled slider. `stops`: the values it runs through; `say`: the value in the words' unit.
 * @template {object} S
 * @param {keyof S & string} key
 * @param {string} label
 * @param {number[] | ((s: S) => number[])} stops
 * @param {(value: number, s: S) => string} say
 * @param {(s: S) => boolean} [shown]
 * @returns {Control<S>}
 */
export const slider = (key, label, stops, say = String, shown) => ({
  key,
  shown,
  build({ state, keep, follow }) {
    const id = newId(),
      value = make("span", { class: "cc-value", "aria-hidden": "true" });
    const input = make("input", { type: "range", id, min: 0, step: 1, "data-key": key });
    const all = () => (typeof stops === "function" ? stops(state()) : stops);
    follow(() => {
      const s = state(),
        now = Number(s[key]),
        last = all().length - 1,
        at = nearestStop(all(), now);
      input.max = String(last);
      input.value = String(at);
      input.style.setProperty("--at", `${(100 * at) / Math.max(1, last)}%`);
      value.textContent = say(now, s);
      input.setAttribute("aria-valuetext", value.textContent);
    });
    input.addEventListener("input", () => keep(changed(key, all()[+input.value])));
    return make("div", { class: "cc-slider" }, make("label", { for: id }, label), value, input);
  },
});

/**
 * A switch: on or off.
 * @template {object} S
 * @param {keyof S & string} key
 * @param {string} label
 * @returns {Control<S>}
 */
export const toggle = (key, label) => ({
  key,
  build({ state, keep, follow }) {
    const input = make("input", { type: "checkbox", role: "switch", "data-key": key });
    follow(() => (input.checked = Boolean(state()[key])));
    input.addEventListener("change", () => keep(changed(key, input.checked)));
    return make("label", { class: "cc-switch" }, input, make("span", {}, label));
  },
});

/**
 * One of a few: radio buttons side by side, each a value and its name.
 * @template {object} S
 * @param {keyof S & string} key
 * @param {string} label
 * @param {[string | number, string][]} options
 * @returns {Control<S>}
 */
export const choice = (key, label, options) => ({
  key,
  build({ model, keep, follow }) {
    const group = make("fieldset", { class: "cc-choice" }, make("legend", {}, label)),
      name = newId();
    for (const [value, words] of options) {
      const input = make("input", { type: "radio", name, value, "data-key": key });
      input.addEventListener("change", () => keep(changed(key, value)));
      follow(() => (input.checked = model.get(key) === value));
      group.append(make("label", {}, input, make("span", {}, words)));
    }
    return group;
  },
});

/**
 * Buttons that let time run, unless the reader asked the system for less motion; one step always works.
 * @template {object} S
 * @param {string} label
 * @param {number} everyMs
 * @param {(s: S) => Changes<S>} step
 * @param {Changes<S>} [reset] what a third button sets
 * @returns {Control<S>}
 */
export const clock = (label, everyMs, step, reset) => ({
  key: "play",
  build({ state, keep }) {
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let timer;
    const next = () => keep(step(state()));
    const show = () => (play.textContent = timer ? "Pause" : label);
    const stop = () => {
      clearInterval(timer);
      timer = undefined;
      show();
    };
    const start = () => {
      timer = setInterval(() => (play.isConnected ? next() : stop()), everyMs);
      show();
    };
    /** @param {string} key @param {() => void} onclick @param {string[]} words */
    const button = (key, onclick, ...words) => make("button", { type: "button", "data-key": key, onclick }, ...words);
    const play = button("play", () => (timer ? stop() : start()));
    const once = () => {
      if (timer) stop();
      next();
    };
    show();
    const buttons = [button("step", once, "One step")];
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) buttons.unshift(play);
    if (reset) buttons.push(button("anew", () => keep(reset), "Reset"));
    return make("div", { class: "cc-buttons" }, ...buttons);
  },
});

/** @template {object} S @param {keyof S} key @param {unknown} value @returns {Changes<S>} */
const changed = (key, value) => /** @type {Changes<S>} */ ({ [key]: value });

// --- the stage

/**
 * A figure from its declaration: what anywidget mounts, and what Python and the tests ask of it.
 * @template {object} S
 * @param {Declaration<S>} declared
 * @returns {Explorer<S>}
 */
export function explorer(declared) {
  const { traits, settled, read, picture, height, sentence, readouts } = declared;
  /** @type {Explorer<S>["view"]} */
  const view = (given, width, id) => {
    const s = settled({ ...given }, width),
      tall = typeof height === "function" ? height(s, width) : height;
    return { picture: picture(s, width, id), height: tall, sentence: sentence(s), readouts: readouts(s) };
  };
  return {
    traits,
    settled,
    view,
    read: (given) => read(settled({ ...given })),
    render: ({ model, el }) => mount(declared, view, model, el),
  };
}

/**
 * Build a figure into `el`: stage, sentence, numbers, controls, caption. Redraws at most once a frame.
 * @template {object} S
 * @param {Declaration<S>} declared
 * @param {Explorer<S>["view"]} view
 * @param {Model} model
 * @param {HTMLElement} el
 */
function mount(declared, view, model, el) {
  const { traits, settled, range, move, press, at, grab = at, handles, spoken, after = {} } = declared;
  const id = newId(),
    svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const stage = make("div", { class: "cc-stage", tabindex: 0, role: "slider", "aria-orientation": "horizontal" }, svg);
  const says = make("p", { class: "cc-says", "aria-live": "polite" }),
    stats = make("dl", { class: "cc-stats" });
  svg.setAttribute("aria-hidden", "true");
  stage.setAttribute("aria-label", model.get("alt"));

  // The state, and what changes it.
  let width = 720;
  /** @type {Changes<S> | undefined} */
  let hover;
  const state = () => {
    const given = Object.fromEntries(traits.map((key) => [key, model.get(key)]));
    return settled(/** @type {S} */ ({ ...given, ...hover }), width);
  };
  /** @param {Changes<S>} changes */
  const keep = (changes) => {
    hover = undefined;
    for (const [key, value] of Object.entries(changes)) model.set(key, value);
    model.save_changes();
  };
  /** The changes inside their limits. @param {Changes<S>} changes */
  const within = (changes) => {
    const s = settled({ ...state(), ...changes }, width);
    return /** @type {Changes<S>} */ (Object.fromEntries(Object.entries(s).filter(([key]) => key in changes)));
  };
  /** @type {[string, () => void][]} */
  const heard = [];
  /** @param {string} event @param {() => void} listener */
  const on = (event, listener) => {
    heard.push([event, listener]);
    model.on(event, listener);
  };

  // What it looks like.
  /** @type {Figure<S>} */
  const figure = { model, state, keep, follow: (sync) => (sync(), on("change", sync)) };
  const controls = declared.controls(model).filter(({ key }) => model.get("controls").includes(key));
  const built = controls.map((control) => ({ ...control, row: control.build(figure) }));
  const panel = make("div", { class: "cc-controls" }, ...built.map(({ row }) => row));
  el.append(make("div", { class: "cc-fig" }, stage, says, stats, panel));
  if (model.get("caption")) el.lastElementChild?.append(make("p", { class: "cc-caption" }, model.get("caption")));
  let waiting = false;
  const redraw = () => {
    waiting = false;
    width = Math.max(300, Math.min(920, Math.round(stage.clientWidth || 720)));
    const s = state(),
      { picture, height, sentence, readouts } = view(s, width, id),
      [min, now, max] = range(s, width);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = picture + (handles?.(s, width) ?? "");
    says.textContent = sentence;
    stage.setAttribute("aria-valuemin", String(min));
    stage.setAttribute("aria-valuemax", String(max));
    stage.setAttribute("aria-valuenow", String(Math.min(max, Math.max(min, now))));
    stage.setAttribute("aria-valuetext", spoken?.(s) ?? sentence);
    const shown = readouts.filter(({ key }) => model.get("readouts").includes(key.split("-")[0]));
    stats.replaceChildren(...shown.map(rowOf));
    for (const { row, shown } of built) if (shown) row.style.display = shown(s) ? "" : "none";
  };
  const schedule = () => {
    if (!waiting) requestAnimationFrame(redraw);
    waiting = true;
  };
  redraw();
  on("change", schedule);
  for (const [key, then] of Object.entries(after)) on(`change:${key}`, () => keep(then(state())));
  const watch = new ResizeObserver(() => {
    if (stage.clientWidth && Math.abs(stage.clientWidth - width) > 1) schedule();
  });
  watch.observe(stage);

  // Pointing and keys.
  let held = false;
  /** @param {PointerEvent} event @param {Declaration<S>["at"]} meaning */
  const changes = (event, meaning) => {
    const box = svg.getBoundingClientRect(),
      scale = width / box.width;
    const found = meaning?.(state(), (event.clientX - box.left) * scale, (event.clientY - box.top) * scale, width);
    return found && within(found);
  };
  stage.addEventListener("pointerdown", (event) => {
    const found = event.button ? undefined : changes(event, grab);
    if (!found) return;
    held = true;
    stage.setPointerCapture(event.pointerId);
    keep(found);
  });
  stage.addEventListener("pointermove", (event) => {
    const found = held || (declared.hover && event.pointerType === "mouse") ? changes(event, at) : undefined;
    if (held && found) keep(found);
    else if (!held && declared.hover) {
      hover = found;
      schedule();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (held = false));
  stage.addEventListener("pointerleave", () => {
    if (hover) schedule();
    hover = undefined;
  });
  stage.addEventListener("keydown", (event) => {
    const s = state(),
      [min, now, max] = range(s, width),
      { key, shiftKey } = event;
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    const to = { ...steps, Home: -Infinity, End: Infinity }[key];
    let found = press?.(s, width, shiftKey)[key];
    if (!found && move && to !== undefined) {
      const place = Math.min(max, Math.max(min, now + to));
      found = typeof move === "function" ? move(place, s) : changed(move, place);
    }
    if (!found || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keep(within(found));
  });
  return () => {
    watch.disconnect();
    for (const [event, listener] of heard) model.off(event, listener);
  };
}

/** A number that the figure reads off, as a row. @param {Readout} readout */
function rowOf({ key, label, value, text, note = "", leak = false }) {
  const dd = make("dd", { "data-read": key, "data-value": value }, text, make("small", {}, note));
  return make("div", leak ? { class: "cc-alarm" } : {}, make("dt", {}, label), dd);
}
