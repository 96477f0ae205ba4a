// The response explorer: an impulse through all-ones convolutions, or the gradient of one output step.
import {
  choice,
  clock,
  count,
  explorer,
  hatch,
  isWide,
  nowAbove,
  path,
  plural,
  rect,
  remembered,
  settle,
  slider,
  text,
  tidy,
  timeAxis,
  toggle,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/** @typedef {"strict" | "block" | "regular"} Convention */
/**
 * @typedef {{ dims: number, convention: Convention | "both", impulse: "frame" | "cell", layers: number,
 *   kernel_size: number, dilation: number, stride: number, nonzero: boolean, view: "response" | "gradient",
 *   step: number, steps: number, features: number, rate_hz: number }} State
 * @typedef {{ values: number[][], times: number[], hold: number, largest: number,
 *   early: (t: number) => boolean }} Panel
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 34;
const PANEL = 105;
const TITLE = 24;
const FOOT = 48;
/** @type {string[]} */
const ENERGY = [/*ENERGY*/];
/** @type {string[]} */
const ALARM = [/*ALARM*/];
const KINDS = { strict: "causal", block: "block-causal", regular: "regular" };

// --- what is computed. All weights are one, so a 2D response is a product of one over time and one over
// frequency, and a 1D response is the same in every feature. Proved equal to torch for the whole grid.

/** @param {State} s @param {Convention} convention */
const zerosBefore = (s, convention) => {
  const reach = (s.kernel_size - 1) * s.dilation;
  return convention === "strict" ? reach : convention === "block" ? reach - (s.stride - 1) : Math.floor(reach / 2);
};

/** Steps that go in and come out of each layer, the input first. @param {State} s @param {Convention} convention */
export function lengths(s, convention) {
  const all = [s.steps];
  const round = convention === "block" ? Math.floor : Math.ceil;
  for (let l = 0; l < s.layers; l++) all.push(round(all[l] / s.stride));
  return all;
}

/** Steps that come out. @param {State} s @param {Convention} convention */
const outputs = (s, convention) => lengths(s, convention)[s.layers];

/**
 * One all-ones layer over a row of numbers; `back`: its transpose, from outputs to inputs.
 * @param {number[]} row
 * @param {number} outputs
 * @param {number} inputs
 * @param {{ kernel: number, dilation: number, stride: number, left: number }} shape
 * @param {boolean} back
 * @returns {number[]}
 */
function ones(row, outputs, inputs, { kernel, dilation, stride, left }, back) {
  const result = new Array(back ? inputs : outputs).fill(0);
  for (let u = 0; u < outputs; u++) {
    for (let j = 0; j < kernel; j++) {
      const i = u * stride - left + j * dilation;
      if (i < 0 || i >= inputs) continue;
      if (back) result[i] += row[u];
      else result[u] += row[i];
    }
  }
  return result;
}

/** @param {State} s @param {Convention} convention @param {number[]} row @param {boolean} back */
function overTime(s, convention, row, back) {
  const sizes = lengths(s, convention);
  const { kernel_size: kernel, dilation, stride } = s;
  const shape = { kernel, dilation, stride, left: zerosBefore(s, convention) };
  for (let l = 0; l < s.layers; l++) {
    const at = back ? s.layers - 1 - l : l;
    row = ones(row, sizes[at + 1], sizes[at], shape, back);
  }
  return row;
}

/** @param {State} s @param {number[]} row @param {boolean} back */
function overFeatures(s, row, back) {
  if (s.dims === 1) {
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map(() => sum * s.features ** (s.layers - 1));
  }
  const shape = { kernel: s.kernel_size, dilation: 1, stride: 1, left: Math.floor((s.kernel_size - 1) / 2) };
  for (let l = 0; l < s.layers; l++) row = ones(row, s.features, s.features, shape, back);
  return row;
}

/** @param {number} n @param {number} at */
const single = (n, at) => Array.from({ length: n }, (_, i) => +(i === at));
/** @param {number[]} rows @param {number[]} columns */
const outer = (rows, columns) => rows.map((a) => columns.map((b) => a * b));

/** A number for each feature. @param {State} s @returns {number[]} */
const everyFeature = (s, value = 1) => new Array(s.features).fill(value);

/** Features of the input impulse. @param {State} s */
const cause = (s) => (s.impulse === "frame" ? everyFeature(s) : single(s.features, Math.floor(s.features / 2)));

/** What comes out for an impulse at s.step: features × outputs. @param {State} s @param {Convention} convention */
export const response = (s, convention) =>
  outer(overFeatures(s, cause(s), false), overTime(s, convention, single(s.steps, s.step), false));

/** Input step at which an output is known. @param {State} s @param {Convention} convention @param {number} u */
export function frameOf(s, convention, u) {
  const total = s.stride ** s.layers;
  return u * total + (convention === "block" ? total - 1 : 0);
}

/** The output that is newest at s.step. @param {State} s @param {Convention} convention */
export function outputAt(s, convention) {
  const newest = Math.floor((s.step - frameOf(s, convention, 0)) / s.stride ** s.layers);
  return Math.max(0, Math.min(outputs(s, convention) - 1, newest));
}

/** Gradient of the sum over all features of output step `u`, at the input: features × steps. */
/** @param {State} s @param {Convention} convention @param {number} u */
export function gradient(s, convention, u) {
  const rows = s.dims === 1 ? everyFeature(s, s.features ** s.layers) : overFeatures(s, everyFeature(s), true);
  return outer(rows, overTime(s, convention, single(outputs(s, convention), u), true));
}

// --- what is drawn

/** What the stage shows, from top to bottom; asked thrice a drawing, computed once. */
export const panels = remembered(JSON.stringify, (/** @type {State} */ s) => {
  /** @type {Convention[]} */
  const conventions = s.convention === "both" ? ["regular", "strict"] : [s.convention];
  return conventions.map((convention) => {
    const panel = s.view === "response" ? forward(s, convention) : backward(s, convention);
    const touched = panel.times.filter((_, t) => panel.values.some((row) => row[t] !== 0));
    const largest = panel.values.reduce((a, row) => row.reduce((m, v) => Math.max(m, v), a), 0);
    return { ...panel, convention, reached: touched.length, leaked: touched.filter(panel.early).length, largest };
  });
});

/** @param {State} s @param {Convention} convention */
function forward(s, convention) {
  const times = upTo(0, outputs(s, convention) - 1).map((v) => frameOf(s, convention, v));
  const early = (/** @type {number} */ t) => t < s.step;
  return { values: response(s, convention), times, hold: s.stride ** s.layers, now: s.step, early };
}

/** @param {State} s @param {Convention} convention */
function backward(s, convention) {
  const u = outputAt(s, convention);
  const now = frameOf(s, convention, u);
  const early = (/** @type {number} */ t) => t > now;
  const values = outputs(s, convention) ? gradient(s, convention, u) : outer(cause(s), new Array(s.steps).fill(0));
  return { values, times: upTo(0, s.steps - 1), hold: 1, now, early };
}

/** Cells of a panel, as one path for each colour: equal neighbours in a column are one rectangle. */
/** @param {Panel} panel @param {State} s @param {(t: number) => number} x @param {number} top */
function cells({ values, times, hold, early, largest }, s, x, top) {
  const paths = new Map();
  const high = PANEL / s.features;
  const limit = x(s.steps);
  times.forEach((time, t) => {
    const from = x(time);
    const to = Math.min(limit, x(time + hold));
    if (from >= limit) return;
    for (let f = 0, end = 0; f < s.features; f = end) {
      const v = values[f][t];
      for (end = f + 1; end < s.features && values[end][t] === v;) end++;
      if (v === 0) continue;
      const share = s.nonzero ? 1 : v / largest;
      const level = (/** @type {number} */ part) => Math.floor(part * 32 + 0.5);
      const colour = early(time) ? ALARM[level(share)] : ENERGY[level(0.12 + 0.88 * share)];
      const [upper, lower] = [tidy(top + PANEL - end * high), tidy(top + PANEL - f * high)];
      const box = `M${tidy(from)} ${upper}H${tidy(to)}V${lower}H${tidy(from)}z`;
      paths.set(colour, (paths.get(colour) ?? "") + box);
    }
  });
  return [...paths].map(([colour, d]) => `<path fill="${colour}" d="${d}"/>`).join("");
}

/** @param {State} s */
const stackHeight = (s) => HEAD + (panels(s).length + 1) * (PANEL + TITLE);

/** One string of SVG. @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const dx = (width - LEFT - MARGIN) / s.steps;
  const x = (/** @type {number} */ t) => LEFT + t * dx;
  const right = x(s.steps);
  const forward = s.view === "response";
  const wide = isWide(width);
  const [{ now }] = panels(s);
  const calm = { early: () => false, largest: 1, verdict: "", leaked: 0 };
  const source = forward
    ? { ...calm, title: `in: one ${s.impulse}`, values: outer(cause(s), [1]), times: [s.step], hold: 1 }
    : {
        ...calm,
        title: "out: the chosen step",
        values: outer(everyFeature(s), [1]),
        times: [now],
        hold: s.stride ** s.layers,
      };
  const effects = panels(s).map((p) => {
    const title = (forward ? "out, " : wide ? "its gradient at the input, " : "gradient, ") + KINDS[p.convention];
    const many = wide ? plural(p.leaked, forward ? "output" : "input") : p.leaked;
    const verdict = p.leaked ? `${many} ${forward ? "too early" : wide ? "of the future" : "leak"}` : "no leak";
    return { ...p, title, verdict };
  });
  const line = forward ? x(now) : x(now + 1);
  const edge = Math.min(Math.max(line, LEFT), right);
  const [from, to] = forward ? [LEFT, edge] : [edge, right];
  let out = hatch(id, 'class="cc-hatch cc-night"');
  (forward ? [source, ...effects] : [...effects, source]).forEach((panel, n) => {
    const top = HEAD + n * (PANEL + TITLE) + TITLE - 6;
    out += text("cc-title", LEFT, top - 6, panel.title);
    if (panel.verdict) out += text(panel.leaked ? "cc-said-leak" : "cc-quiet", right, top - 6, panel.verdict, "end");
    out += rect(`fill="${ENERGY[0]}"`, LEFT, top, right - LEFT, PANEL);
    if (panel !== source) out += rect(`fill="url(#${id}h)"`, from, top, to - from, PANEL);
    out += `<g shape-rendering="crispEdges">${cells(panel, s, x, top)}</g>`;
    out += text("cc-quiet", LEFT - 8, top + 12, s.features, "end") + text("cc-quiet", LEFT - 8, top + PANEL, 1, "end");
    out += path("cc-now cc-bright", `M${tidy(line)} ${top}v${PANEL}`);
  });
  const centred = (/** @type {number} */ t) => x(t + 0.5);
  out += nowAbove(centred(now), LEFT, right, 20);
  const y = stackHeight(s) - 2;
  return out + timeAxis({ a: 0, b: s.steps - 1, x: centred, dx, now, right, left: LEFT, y, rateHz: s.rate_hz });
}

// --- what is said

/** For each convention on display: columns that are reached, those among them that leak, the largest value. */
/** @param {State} s */
const readState = (s) =>
  Object.fromEntries(
    panels(s).map(({ convention, reached, leaked, largest }) => [convention, { reached, leaked, largest }]),
  );

/** @param {State} s */
function sentence(s) {
  const forward = s.view === "response";
  const all = panels(s).map(({ convention, reached, leaked }) => {
    const name = KINDS[convention][0].toUpperCase() + KINDS[convention].slice(1);
    if (!reached) return `${name}: nothing comes out`;
    const steps = `${plural(reached, "output step")} know${reached === 1 ? "s" : ""} of it`;
    const frames = `${plural(reached, "input frame")} reach${reached === 1 ? "es" : ""} it`;
    const some = leaked ? `${count(leaked)} of them` : "none";
    return `${name}: ${forward ? steps : frames}, ${some} ${forward ? "before it happened" : "from the future"}`;
  });
  const start = forward ? "An impulse goes in at now." : "One output step is asked what it depends on.";
  return `${start} ${all.join(". ")}.`;
}

/** @param {State} s */
function readouts(s) {
  const forward = s.view === "response";
  return panels(s).flatMap(({ convention, reached, leaked, largest }) => {
    /** @param {string} key @param {string} label @param {number} value */
    const row = (key, label, value, text = count(value)) => {
      return { key: `${key}-${convention}`, label: `${KINDS[convention]}: ${label}`, value, text };
    };
    return [
      row("reached", "reached", reached, plural(reached, forward ? "output" : "input")),
      { ...row("leaked", forward ? "too early" : "from the future", leaked), leak: leaked > 0 },
      row("largest", "largest value", largest),
    ];
  });
}

/** @type {Declaration<State>} */
const declaration = {
  traits: [
    "dims",
    "convention",
    "impulse",
    "layers",
    "kernel_size",
    "dilation",
    "stride",
    "nonzero",
    "view",
    "step",
    "steps",
    "features",
    "rate_hz",
  ],
  settled(s) {
    settle(s, { dims: [1, 2], layers: [1, 6], kernel_size: [1, 7], dilation: [1, 4], stride: [1, 3] });
    settle(s, { steps: [1, 200], features: [1, 80] });
    settle(s, { step: [0, s.steps - 1] });
    if (s.convention !== "both" && !(s.convention in KINDS)) s.convention = "both";
    if (s.impulse !== "cell") s.impulse = "frame";
    if (s.view !== "gradient") s.view = "response";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (s) => stackHeight(s) + FOOT,
  sentence,
  readouts,
  controls: (model) => {
    /** @type {(Convention | "both")[]} */
    const conventions = model.get("conventions");
    return [
      choice("view", "Show", [
        ["response", "output"],
        ["gradient", "gradient"],
      ]),
      choice(
        "convention",
        "Padding",
        conventions.map((one) => [one, one === "both" ? one : KINDS[one]]),
      ),
      choice("dims", "Convolution", [
        [1, "1D: time"],
        [2, "2D"],
      ]),
      choice("impulse", "Impulse", [
        ["frame", "frame"],
        ["cell", "one cell"],
      ]),
      slider("layers", "Layers", upTo(1, 6)),
      slider("kernel_size", "Kernel size", upTo(1, 7), (v) => plural(v, "tap")),
      slider("dilation", "Dilation", upTo(1, 4)),
      slider("stride", "Stride of each layer", upTo(1, 3)),
      slider(
        "step",
        "Now",
        (s) => upTo(0, s.steps - 1),
        (v) => `frame ${v}`,
      ),
      toggle("nonzero", "All nonzero = 1"),
      clock("Let time run", 300, (s) => ({ step: (s.step + 1) % s.steps })),
    ];
  },
  range: (s) => [0, s.step, s.steps - 1],
  spoken: (s) => `frame ${s.step}. ${sentence(s)}`,
  move: "step",
  at: (s, x, _, width) => ({ step: Math.floor(((x - LEFT) * s.steps) / (width - LEFT - MARGIN)) }),
};

export default explorer(declaration);
