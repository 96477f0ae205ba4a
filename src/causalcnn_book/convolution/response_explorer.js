// The response explorer: an impulse through all-ones convolutions, or the gradient of one output step.
import { assemble, count, newId, plural, settle, tidy, timeAxis } from "../explorer.js";

const LEFT = 58, MARGIN = 10, HEAD = 34, PANEL = 105, TITLE = 24, FOOT = 48;
const ENERGY = [/*ENERGY*/], ALARM = [/*ALARM*/];
const KINDS = { strict: "causal", block: "block-causal", regular: "regular" };

// --- what is computed. All weights are one, so a 2D response is a product of one over time and one over
// frequency, and a 1D response is the same in every feature. Proved equal to torch for the whole grid.

const zerosBefore = (s, convention) => {
  const reach = (s.kernel_size - 1) * s.dilation;
  return convention === "strict" ? reach : convention === "block" ? reach - (s.stride - 1) : Math.floor(reach / 2);
};

/** Steps that go in and come out of each layer, the input first. */
export function lengths(s, convention) {
  const all = [s.steps];
  for (let l = 0; l < s.layers; l++) all.push(convention === "block" ? Math.floor(all[l] / s.stride) : Math.ceil(all[l] / s.stride));
  return all;
}

/** One all-ones layer over a row of numbers; `back`: its transpose, from outputs to inputs. */
function ones(row, outputs, inputs, { kernel, dilation, stride, left }, back) {
  const result = new Array(back ? inputs : outputs).fill(0);
  for (let u = 0; u < outputs; u++) for (let j = 0; j < kernel; j++) {
    const i = u * stride - left + j * dilation;
    if (i < 0 || i >= inputs) continue;
    if (back) result[i] += row[u];
    else result[u] += row[i];
  }
  return result;
}

function overTime(s, convention, row, back) {
  const sizes = lengths(s, convention), shape = { kernel: s.kernel_size, dilation: s.dilation, stride: s.stride, left: zerosBefore(s, convention) };
  for (let l = 0; l < s.layers; l++) {
    const at = back ? s.layers - 1 - l : l;
    row = ones(row, sizes[at + 1], sizes[at], shape, back);
  }
  return row;
}

function overFeatures(s, row, back) {
  if (s.dims === 1) {
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map(() => sum * s.features ** (s.layers - 1));
  }
  const shape = { kernel: s.kernel_size, dilation: 1, stride: 1, left: Math.floor((s.kernel_size - 1) / 2) };
  for (let l = 0; l < s.layers; l++) row = ones(row, s.features, s.features, shape, back);
  return row;
}

const single = (n, at) => Array.from({ length: n }, (_, i) => +(i === at));
const outer = (rows, columns) => rows.map((a) => columns.map((b) => a * b));

/** Features of the input impulse. */
const cause = (s) => (s.impulse === "frame" ? new Array(s.features).fill(1) : single(s.features, Math.floor(s.features / 2)));

/** What comes out for an impulse at s.step: features × outputs. */
export const response = (s, convention) => outer(overFeatures(s, cause(s), false), overTime(s, convention, single(s.steps, s.step), false));

/** Input step at which an output is known. */
export function frameOf(s, convention, u) {
  const total = s.stride ** s.layers;
  return u * total + (convention === "block" ? total - 1 : 0);
}

/** The output that is newest at s.step. */
export function outputAt(s, convention) {
  const total = s.stride ** s.layers, late = convention === "block" ? total - 1 : 0;
  return Math.max(0, Math.min(lengths(s, convention).at(-1) - 1, Math.floor((s.step - late) / total)));
}

/** Gradient of the sum over all features of output step `u`, at the input: features × steps. */
export function gradient(s, convention, u) {
  const rows = s.dims === 1 ? new Array(s.features).fill(s.features ** s.layers) : overFeatures(s, new Array(s.features).fill(1), true);
  return outer(rows, overTime(s, convention, single(lengths(s, convention).at(-1), u), true));
}

// --- what is drawn

/** What the stage shows, from top to bottom; asked thrice a drawing, computed once. */
let latest = ["", null];
export function panels(s) {
  const key = JSON.stringify(s);
  if (latest[0] !== key) latest = [key, computed(s)];
  return latest[1];
}

function computed(s) {
  const conventions = s.convention === "both" ? ["regular", "strict"] : [s.convention], total = s.stride ** s.layers;
  const shown = conventions.map((convention) => {
    const outputs = lengths(s, convention).at(-1), u = outputAt(s, convention);
    const now = s.view === "response" ? s.step : frameOf(s, convention, u);
    if (s.view === "response") {
      const values = response(s, convention), times = Array.from({ length: outputs }, (_, v) => frameOf(s, convention, v));
      return { convention, values, times, hold: total, now, early: (t) => t < now };
    }
    const values = outputs ? gradient(s, convention, u) : outer(cause(s), new Array(s.steps).fill(0));
    return { convention, values, times: values[0].map((_, t) => t), hold: 1, now, early: (t) => t > now };
  });
  for (const panel of shown) {
    const touched = panel.times.filter((_, t) => panel.values.some((row) => row[t] !== 0));
    panel.reached = touched.length;
    panel.leaked = touched.filter(panel.early).length;
    panel.largest = panel.values.reduce((a, row) => row.reduce((m, v) => Math.max(m, v), a), 0);
  }
  return shown;
}

/** Cells of a panel, as one path for each colour: equal neighbours in a column are one rectangle. */
function cells({ values, times, hold, early, largest }, s, x, top) {
  const paths = new Map(), high = PANEL / s.features, limit = x(s.steps);
  times.forEach((time, t) => {
    const table = early(time) ? "ALARM" : "ENERGY", from = x(time), to = Math.min(limit, x(time + hold));
    if (from >= limit) return;
    for (let f = 0, end = 0; f < s.features; f = end) {
      const v = values[f][t];
      for (end = f + 1; end < s.features && values[end][t] === v; ) end++;
      if (v === 0) continue;
      const share = s.nonzero ? 1 : v / largest, level = Math.floor((table === "ALARM" ? share : 0.12 + 0.88 * share) * 32 + 0.5);
      const key = (table === "ALARM" ? ALARM : ENERGY)[level];
      const box = `M${tidy(from)} ${tidy(top + PANEL - end * high)}H${tidy(to)}V${tidy(top + PANEL - f * high)}H${tidy(from)}z`;
      paths.set(key, (paths.get(key) ?? "") + box);
    }
  });
  return [...paths].map(([colour, d]) => `<path fill="${colour}" d="${d}"/>`).join("");
}

/** One string of SVG, and its height. */
export function drawPicture(s, width, id) {
  const dx = (width - LEFT - MARGIN) / s.steps, x = (t) => LEFT + t * dx, right = x(s.steps), shown = panels(s);
  const forward = s.view === "response", wide = width >= 560, now = shown[0].now;
  const source = forward
    ? { title: s.impulse === "frame" ? "in: one frame" : "in: one cell", values: outer(cause(s), [1]), times: [s.step], hold: 1, early: () => false, largest: 1 }
    : { title: "out: the chosen step", values: outer(new Array(s.features).fill(1), [1]), times: [now], hold: s.stride ** s.layers, early: () => false, largest: 1 };
  const effects = shown.map((p) => ({
    ...p, title: (forward ? "out, " : wide ? "its gradient at the input, " : "gradient, ") + KINDS[p.convention],
    verdict: !p.leaked ? "no leak" : `${wide ? plural(p.leaked, forward ? "output" : "input") : p.leaked} ${forward ? "too early" : wide ? "of the future" : "leak"}`,
  }));
  const stack = forward ? [source, ...effects] : [...effects, source], height = HEAD + stack.length * (PANEL + TITLE) + FOOT;
  const line = forward ? x(now) : x(now + 1), edge = Math.min(Math.max(line, LEFT), right);
  const closed = forward ? [LEFT, edge - LEFT] : [edge, right - edge];
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch cc-night" d="M0 0V7"/></pattern></defs>`;
  stack.forEach((panel, n) => {
    const top = HEAD + n * (PANEL + TITLE) + TITLE - 6;
    out += `<text class="cc-title" x="${LEFT}" y="${top - 6}">${panel.title}</text>`;
    if (panel.verdict) out += `<text class="${panel.leaked ? "cc-said-leak" : "cc-quiet"}" x="${tidy(right)}" y="${top - 6}" text-anchor="end">${panel.verdict}</text>`;
    out += `<rect fill="${ENERGY[0]}" x="${LEFT}" y="${top}" width="${tidy(right - LEFT)}" height="${PANEL}"/>`;
    if (panel !== source) out += `<rect fill="url(#${id}h)" x="${tidy(closed[0])}" y="${top}" width="${tidy(closed[1])}" height="${PANEL}"/>`;
    out += `<g shape-rendering="crispEdges">${cells(panel, s, x, top)}</g>`;
    out += `<text class="cc-quiet" x="${LEFT - 8}" y="${top + 12}" text-anchor="end">${s.features}</text>`;
    out += `<text class="cc-quiet" x="${LEFT - 8}" y="${top + PANEL}" text-anchor="end">1</text>`;
    out += `<path class="cc-now cc-bright" d="M${tidy(line)} ${top}v${PANEL}"/>`;
  });
  const bottom = HEAD + stack.length * (PANEL + TITLE) - 2;
  out += `<text class="cc-here" x="${tidy(Math.min(Math.max(x(now + 0.5), LEFT + 14), right - 14))}" y="20" text-anchor="middle">now</text>`;
  out += timeAxis({ a: 0, b: s.steps - 1, x: (t) => x(t + 0.5), dx, now, right, left: LEFT, y: bottom, rateHz: s.rate_hz });
  return { picture: out, height };
}

// --- what is said

/** For each convention on display: columns that are reached, those among them that leak, the largest value. */
export const readState = (s) =>
  Object.fromEntries(panels(s).map(({ convention, reached, leaked, largest }) => [convention, { reached, leaked, largest }]));

export function sentence(s) {
  const forward = s.view === "response", all = panels(s).map((p) => {
    const name = KINDS[p.convention];
    if (!p.values[0].length || !p.reached) return `${name}: nothing comes out`;
    const what = forward ? `${plural(p.reached, "output step")} know${p.reached === 1 ? "s" : ""} of it` : `${plural(p.reached, "input frame")} reach${p.reached === 1 ? "es" : ""} it`;
    return `${name}: ${what}, ${p.leaked ? `${count(p.leaked)} of them ${forward ? "before it happened" : "from the future"}` : `none ${forward ? "before it happened" : "from the future"}`}`;
  });
  const start = forward ? "An impulse goes in at now. " : "One output step is asked what it depends on. ";
  return start + all.map((text) => text[0].toUpperCase() + text.slice(1)).join(". ") + ".";
}

export function readouts(s) {
  const forward = s.view === "response";
  return panels(s).flatMap((p) => {
    const name = KINDS[p.convention], key = p.convention;
    return [
      { key: `reached-${key}`, label: `${name}: reached`, value: p.reached, text: plural(p.reached, forward ? "output" : "input") },
      { key: `leaked-${key}`, label: `${name}: ${forward ? "too early" : "from the future"}`, value: p.leaked, text: count(p.leaked), leak: p.leaked > 0 },
      { key: `largest-${key}`, label: `${name}: largest value`, value: p.largest, text: count(p.largest) },
    ];
  });
}

const KEYS = [
  "dims", "convention", "impulse", "layers", "kernel_size", "dilation", "stride", "nonzero", "view", "step", "steps",
  "features", "rate_hz",
];
const series = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { dims: [1, 2], layers: [1, 6], kernel_size: [1, 7], dilation: [1, 4], stride: [1, 3] });
  settle(s, { steps: [1, 200], features: [1, 80] });
  settle(s, { step: [0, s.steps - 1] });
  if (s.convention !== "both" && !(s.convention in KINDS)) s.convention = "both";
  if (s.impulse !== "cell") s.impulse = "frame";
  if (s.view !== "gradient") s.view = "response";
  return s;
}

export const view = (s, width, id) => ({ ...drawPicture(s, width, id), sentence: sentence(s), readouts: readouts(s) });

function render({ model, el }) {
  const id = newId();
  let width = 720;
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const offered = model.get("conventions").map((c) => [c, c === "both" ? "both" : KINDS[c]]);
  const controls = [
    { type: "choice", key: "view", label: "Show", options: [["response", "output"], ["gradient", "gradient"]] },
    { type: "choice", key: "convention", label: "Padding", options: offered },
    { type: "choice", key: "dims", label: "Convolution", options: [[1, "1D: time"], [2, "2D"]], number: true },
    { type: "choice", key: "impulse", label: "Impulse", options: [["frame", "frame"], ["cell", "one cell"]] },
    { type: "slider", key: "layers", label: "Layers", stops: series(1, 6), say: String },
    { type: "slider", key: "kernel_size", label: "Kernel size", stops: series(1, 7), say: (v) => plural(v, "tap") },
    { type: "slider", key: "dilation", label: "Dilation", stops: series(1, 4), say: String },
    { type: "slider", key: "stride", label: "Stride of each layer", stops: series(1, 3), say: String },
    { type: "slider", key: "step", label: "Now", stops: series(0, model.get("steps") - 1), say: (v) => `frame ${v}` },
    { type: "toggle", key: "nonzero", label: "All nonzero = 1" },
    { type: "clock", key: "play", label: "Let time run", everyMs: 300, step: () => { model.set("step", (state().step + 1) % model.get("steps")); model.save_changes(); } },
  ];
  const draw = (w) => {
    width = w;
    const s = state(), shown = view(s, w, id);
    return { ...shown, range: [0, s.step, s.steps - 1], spoken: `frame ${s.step}. ${shown.sentence}` };
  };
  const react = ({ stage, svg, keep }) => {
    const under = (event) => {
      const box = svg.getBoundingClientRect(), s = state();
      const t = ((((event.clientX - box.left) * width) / box.width - LEFT) * s.steps) / (width - LEFT - MARGIN);
      return { step: Math.min(s.steps - 1, Math.max(0, Math.floor(t))) };
    };
    stage.addEventListener("pointermove", (event) => { if (event.buttons) keep(under(event)); });
    stage.addEventListener("click", (event) => keep(under(event)));
    stage.addEventListener("keydown", (event) => {
      const { step, steps } = state(), moves = { ArrowLeft: step - 1, ArrowDown: step - 1, ArrowRight: step + 1, ArrowUp: step + 1, Home: 0, End: steps - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      keep({ step: Math.min(steps - 1, Math.max(0, moves[event.key])) });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
