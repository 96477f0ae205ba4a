// What all figures share: controls, the stage, numbers in words. Put in front of each figure's module.

export const tidy = (x) => String(Math.round(x * 10) / 10);
export const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",").replace(/^-/, "−");
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** Frames as a duration: "150 ms", "2.5 s", "0.625 ms". */
export function duration(frames, rateHz) {
  const ms = (frames * 1000) / rateHz, size = Math.abs(ms);
  const [value, unit] = size >= 10000 ? [ms / 1000, "s"] : [ms, "ms"];
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return `${String(+value.toFixed(digits)).replace("-", "−")} ${unit}`;
}

/** The smallest of 1, 2, 5, 10, … steps whose marks lie `minGap` units apart. */
export function niceStep(unit, minGap) {
  for (let power = 1; ; power *= 10) for (const m of [1, 2, 5]) if (m * power * unit >= minGap) return m * power;
}

/** Marks and labels of time relative to `now`: frames, and below them their duration. */
export function timeAxis({ a, b, x, dx, now, right, left, y, rateHz }) {
  const step = niceStep(dx, 66);
  let out = `<text class="cc-quiet" x="${left - 8}" y="${y + 18}" text-anchor="end">frames</text>`;
  for (let k = Math.ceil((a - now) / step); k <= Math.floor((b - now) / step); k++) {
    const at = x(now + k * step), t = tidy(at);
    if (at > right - 26 || at < left + 16) continue;
    out += `<path class="cc-tick" d="M${t} ${y}v5"/>`;
    out += `<text class="cc-digits" x="${t}" y="${y + 18}" text-anchor="middle">${count(k * step)}</text>`;
    out += `<text class="cc-digits cc-quiet" x="${t}" y="${y + 35}" text-anchor="middle">${duration(k * step, rateHz)}</text>`;
  }
  return out;
}

/** A whole number inside its limits, whatever an address or a notebook asks for. */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, Math.round(value) || 0));

/** Every number of a state that has limits, inside them. */
export function settle(s, limits) {
  for (const [key, [low, high]] of Object.entries(limits)) s[key] = clamp(s[key], low, high);
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export const newId = () => "cc" + Math.random().toString(36).slice(2, 9);

function keep(model, changes) {
  for (const [key, value] of Object.entries(changes)) model.set(key, value);
  model.save_changes();
}

/** A labelled slider. `stops`: the values it runs through; `say`: the value in the words' unit. */
function slider(model, { key, label, stops, say }) {
  const id = newId(), value = make("span", { class: "cc-value", "aria-hidden": "true" });
  const input = make("input", { type: "range", id, min: 0, max: stops.length - 1, step: 1, "data-key": key });
  const sync = () => {
    const now = model.get(key);
    const at = stops.reduce((best, stop, i) => (Math.abs(stop - now) < Math.abs(stops[best] - now) ? i : best), 0);
    input.value = at;
    input.style.setProperty("--at", `${(100 * at) / Math.max(1, stops.length - 1)}%`);
    value.textContent = say(now);
    input.setAttribute("aria-valuetext", say(now));
  };
  input.addEventListener("input", () => keep(model, { [key]: stops[+input.value] }));
  model.on("change:" + key, sync);
  sync();
  return make("div", { class: "cc-slider" }, make("label", { for: id }, label), value, input);
}

/** A switch: on or off. */
function toggle(model, { key, label }) {
  const input = make("input", { type: "checkbox", role: "switch", "data-key": key });
  const sync = () => (input.checked = Boolean(model.get(key)));
  input.addEventListener("change", () => keep(model, { [key]: input.checked }));
  model.on("change:" + key, sync);
  sync();
  return make("label", { class: "cc-switch" }, input, make("span", {}, label));
}

/** One of a few: radio buttons side by side. */
function choice(model, { key, label, options, number }) {
  const group = make("fieldset", { class: "cc-choice" }, make("legend", {}, label)), name = newId();
  const inputs = options.map(([value, text]) => {
    const input = make("input", { type: "radio", name, value, "data-key": key });
    input.addEventListener("change", () => keep(model, { [key]: number ? +value : value }));
    group.append(make("label", {}, input, make("span", {}, text)));
    return input;
  });
  const sync = () => inputs.forEach((input) => (input.checked = input.value === String(model.get(key))));
  model.on("change:" + key, sync);
  sync();
  return group;
}

/** Buttons that let time run, unless the reader asked the system for less motion; one step always works. */
function clock(_model, { label, step, everyMs }) {
  let timer = null;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const stop = () => { clearInterval(timer); timer = null; show(); };
  const play = make("button", { type: "button", "data-key": "play", onclick: () => {
    if (timer) return stop();
    timer = setInterval(() => (play.isConnected ? step() : stop()), everyMs);
    show();
  } });
  const show = () => (play.textContent = timer ? "Pause" : label);
  show();
  const once = make("button", { type: "button", "data-key": "step", onclick: () => { if (timer) stop(); step(); } }, "One step");
  return make("div", { class: "cc-buttons" }, ...(still ? [once] : [play, once]));
}

const BUILDERS = { slider, toggle, choice, clock };

/**
 * Build a figure into `el`: stage, controls, readout, caption. Redraws at most once a frame.
 * `draw(width)` returns { picture, height, sentence, readouts, range, spoken }, of whose readouts those that the model
 * names are shown; `react` adds behaviour to the stage.
 */
export function assemble({ model, el }, { controls, draw, react }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const stage = make("div", { class: "cc-stage", tabindex: 0, role: "slider", "aria-orientation": "horizontal" }, svg);
  const readouts = make("dl", { class: "cc-stats" }), sentence = make("p", { class: "cc-says", "aria-live": "polite" });
  const wanted = model.get("controls");
  const panel = make("div", { class: "cc-controls" }, ...controls.filter((c) => wanted.includes(c.key)).map((c) => BUILDERS[c.type](model, c)));
  const root = make("div", { class: "cc-fig" }, stage, sentence, readouts, panel);
  if (model.get("caption")) root.append(make("p", { class: "cc-caption" }, model.get("caption")));
  stage.setAttribute("aria-label", model.get("alt"));
  el.append(root);

  let waiting = false, width = 0;
  const cells = new Map();
  const redraw = () => {
    waiting = false;
    width = Math.max(300, Math.min(920, Math.round(stage.clientWidth || 720)));
    const view = draw(width);
    svg.setAttribute("viewBox", `0 0 ${width} ${view.height}`);
    svg.innerHTML = view.picture;
    sentence.textContent = view.sentence;
    const [min, now, max] = view.range;
    stage.setAttribute("aria-valuemin", min);
    stage.setAttribute("aria-valuemax", max);
    stage.setAttribute("aria-valuenow", Math.min(max, Math.max(min, now)));
    stage.setAttribute("aria-valuetext", view.spoken ?? view.sentence);
    const shown = view.readouts.filter(({ key }) => model.get("readouts").includes(key.split("-")[0]));
    for (const [key, [, , row]] of cells) if (!shown.some((one) => one.key === key)) { row.remove(); cells.delete(key); }
    for (const { key, label, value, text, note, leak } of shown) {
      if (!cells.has(key)) {
        const dd = make("dd", { "data-read": key }), small = make("small");
        const row = make("div", {}, make("dt", {}, label), dd);
        cells.set(key, [dd, small, row]);
        readouts.append(row);
      }
      const [dd, small, row] = cells.get(key);
      dd.dataset.value = value;
      small.textContent = note ?? "";
      dd.replaceChildren(text, small);
      row.classList.toggle("cc-alarm", Boolean(leak));
    }
  };
  const schedule = () => { if (!waiting) { waiting = true; requestAnimationFrame(redraw); } };
  react?.({ stage, svg, schedule, keep: (changes) => keep(model, changes) });
  redraw();
  model.on("change", schedule);
  const watch = new ResizeObserver(() => { if (stage.clientWidth && Math.abs(stage.clientWidth - width) > 1) schedule(); });
  watch.observe(stage);
  return () => { watch.disconnect(); model.off("change", schedule); };
}
