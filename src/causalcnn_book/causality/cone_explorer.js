// The cone explorer: which inputs an output reads, which outputs an input reaches.
import {
  choice,
  clock,
  closed,
  count,
  duration,
  explorer,
  hatch,
  isWide,
  nowAbove,
  pastAndFuture,
  path,
  plural,
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
/**
 * @typedef {{ kernel_size: number, dilation: number, doubling: boolean, layers: number, stride: number,
 *   convention: "strict" | "block" | "regular", rate_hz: number, channels: number, pick: "output" | "input",
 *   at: number }} State
 */

const GUTTER = 58;
const EDGE = 10;
const TOP = 56;
const BOTTOM = 236;
const HEIGHT = 306;
const NAMES = { strict: "causal", block: "block-causal", regular: "regular" };

// --- what is computed: walks over indices. Layer 0 is the input; output u of a layer reads inputs
// u*stride - left + j*dilation. Proved equal to torch over the whole grid of controls.

/** @param {State} s @param {number} layer */
export const dilationOf = (s, layer) => s.dilation * (s.doubling ? 2 ** layer : 1);

/** Zeros in front of layer `layer`; negative means that inputs are cut off (block, kernel < stride). */
/** @param {State} s @param {number} layer */
export function leftPadding(s, layer) {
  const reach = (s.kernel_size - 1) * dilationOf(s, layer);
  if (s.convention === "regular") return Math.floor(reach / 2); // as torch's padding="same": the spare zero goes right
  return s.convention === "block" ? reach - (s.stride - 1) : reach;
}

/** @param {number} low @param {number} high @param {(mark: (i: number) => void) => void} fill */
const distinct = (low, high, fill) => {
  const marks = new Uint8Array(high - low + 1);
  fill((i) => (marks[i - low] = 1));
  return upTo(low, high).filter((i) => marks[i - low]);
};

/** The nodes of every layer that output 0 depends on, sorted; rows[0] are the inputs. @param {State} s */
export function walkDown(s) {
  const rows = [[0]];
  for (let layer = s.layers - 1; layer >= 0; layer--) {
    const above = rows[0];
    const d = dilationOf(s, layer);
    const left = leftPadding(s, layer);
    const last = (s.kernel_size - 1) * d;
    /** @param {(i: number) => void} mark */
    const fill = (mark) => {
      for (const u of above) for (let reach = 0; reach <= last; reach += d || 1) mark(u * s.stride - left + reach);
    };
    rows.unshift(distinct(above[0] * s.stride - left, above[above.length - 1] * s.stride - left + last, fill));
  }
  return rows;
}

/** The nodes of every layer that input `i` reaches; rows[layers] are the outputs that read it. */
/** @param {State} s @param {number} i */
export function walkUp(s, i) {
  const rows = [[i]];
  for (let layer = 0; layer < s.layers; layer++) {
    const reach = upTo(0, s.kernel_size - 1).map((j) => leftPadding(s, layer) - j * dilationOf(s, layer));
    const found = rows[layer].flatMap((a) => reach.map((by) => (a + by) / s.stride)).filter(Number.isInteger);
    rows.push([...new Set(found)].sort((a, b) => a - b));
  }
  return rows;
}

/** Frame in which a node is known: u*stride, or the end of its block. */
/** @param {State} s @param {number} layer @param {number} u */
export function timeOf(s, layer, u) {
  const step = s.stride ** layer;
  return u * step + (s.convention === "block" ? step - 1 : 0);
}

/** The declared field, by the names of causalcnn.Field, and the number of parameters. */
/** @param {State} s */
export function readState(s) {
  const rows = walkDown(s);
  const past = -rows[0][0];
  const lookahead = rows[0][rows[0].length - 1];
  const size = lookahead + past + 1;
  const parameters = s.layers * (s.channels * s.channels * s.kernel_size + s.channels);
  const holes = size - rows[0].length;
  return { rows, past, lookahead, size, num_inputs: rows[0].length, holes, stride: s.stride ** s.layers, parameters };
}

const field = remembered(
  (/** @type {State} */ s) =>
    [s.kernel_size, s.dilation, s.doubling, s.layers, s.stride, s.convention, s.channels].join(),
  readState,
);

/** First and last frame on the stage; frame 0 lies two thirds to the right, so that the future has room. */
/** @param {State} s @param {number} width */
export function frameWindow(s, width) {
  const maxFrames = Math.floor((width - GUTTER - EDGE) / 3);
  const frames = Math.min(Math.max(24, Math.ceil(field(s).size * 1.6)), maxFrames);
  const after = Math.round((frames - 1) * 0.34);
  return [after + 1 - frames, after];
}

/** First and last node of a layer whose time lies between two frames. */
/** @param {State} s @param {number} layer @param {number} a @param {number} b */
function nodes(s, layer, a, b) {
  const late = timeOf(s, layer, 0);
  return [Math.ceil((a - late) / s.stride ** layer), Math.floor((b - late) / s.stride ** layer)];
}

/** First and last output (or input) that can be chosen. @param {State} s @param {number} width */
export function choosable(s, width) {
  const [a, b] = frameWindow(s, width);
  return nodes(s, s.pick === "input" ? 0 : s.layers, a, b);
}

/** The nodes that light up, layer by layer. @param {State} s */
function lit(s) {
  if (s.pick === "input") return walkUp(s, s.at);
  return field(s).rows.map((row, layer) => row.map((i) => i + s.at * s.stride ** (s.layers - layer)));
}

// --- what is drawn: one string of SVG

/** The stage's frames, and where they and the layers lie. @param {State} s @param {number} width */
function places(s, width) {
  const [a, b] = frameWindow(s, width);
  const dx = (width - GUTTER - EDGE) / (b - a + 1);
  const x = (/** @type {number} */ t) => GUTTER + (t - a + 0.5) * dx;
  const y = (/** @type {number} */ layer) => BOTTOM - (layer * (BOTTOM - TOP)) / s.layers;
  return { a, b, dx, x, y, right: GUTTER + (b - a + 1) * dx };
}

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { dx, x, y, right } = places(s, width);
  const radius = Math.max(1.1, Math.min(7, dx * 0.34));
  const output = s.pick === "output";
  const now = output ? timeOf(s, s.layers, s.at) : s.at;
  const line = output ? x(now) + dx / 2 : x(now) - dx / 2;
  const part = nodesAndWires(s, width, now, radius);
  /** @param {string} kind @param {string} d @param {number} size */
  const dots = (kind, d, size) => path(`cc-dot cc-${kind}`, d, `stroke-width="${tidy(2 * size)}"`);
  const clip = `<rect x="${GUTTER}" y="0" width="${tidy(right - GUTTER)}" height="${HEIGHT}"/>`;
  let out = hatch(id, undefined, `<clipPath id="${id}c">${clip}</clipPath>`);
  const [from, to] = output ? [line, right] : [GUTTER, line];
  out += closed(id, from, TOP - 22, Math.max(0, to - from), BOTTOM - TOP + 38);
  out += `<g clip-path="url(#${id}c)">${path("cc-wire cc-idle", part.wire)}${path("cc-wire cc-past", part.pastWire)}`;
  out += path("cc-wire cc-leak", part.leakWire) + dots("idle", part.idle, Math.max(0.9, radius * 0.5));
  out += `${dots("past", part.past, radius)}${dots("leak", part.leak, radius)}${path("cc-skip", part.skip)}</g>`;
  out += path("cc-now", `M${tidy(x(now))} ${TOP - 22}V${BOTTOM + 16}`);
  out += dots("present", `M${tidy(x(now))} ${tidy(y(output ? s.layers : 0))}h0`, radius + 1.5);
  return out + labels(s, width, now);
}

/** The paths of all nodes and wires on the stage. */
/** @param {State} s @param {number} width @param {number} now @param {number} radius */
function nodesAndWires(s, width, now, radius) {
  const { a, b, x, y } = places(s, width);
  const output = s.pick === "output";
  const rows = lit(s);
  /** @param {number} layer @param {number} u */
  const early = (layer, u) => (output ? timeOf(s, layer, u) > now : timeOf(s, layer, u) < now);
  const part = { idle: "", past: "", leak: "", wire: "", pastWire: "", leakWire: "", skip: "" };
  const across = new Map(); // thousands of lines, few places
  const up = rows.map((_, layer) => tidy(y(layer)));
  /** @param {number} layer @param {number} u */
  const place = (layer, u) => {
    const t = timeOf(s, layer, u);
    if (!across.has(t)) across.set(t, tidy(x(t)));
    return `${across.get(t)} ${up[layer]}`;
  };
  const sets = rows.map((row) => new Set(row));
  const all = (s.layers * s.kernel_size * (b - a + 1)) / s.stride <= 1400;
  for (let layer = 0; layer <= s.layers; layer++) {
    const [first, last] = nodes(s, layer, a, b);
    const [lowest, highest] = nodes(s, layer - 1, a, b);
    for (let u = first; u <= last; u++) {
      const on = sets[layer].has(u);
      part[on ? (early(layer, u) ? "leak" : "past") : "idle"] += `M${place(layer, u)}h0`;
      if (layer === 0) {
        if (!on && output && u > rows[0][0] && u < rows[0][rows[0].length - 1]) part.skip += cross(x(u), y(0), radius);
        continue;
      }
      const d = dilationOf(s, layer - 1);
      const left = leftPadding(s, layer - 1);
      for (let j = 0; j < s.kernel_size; j++) {
        const v = u * s.stride - left + j * d;
        const both = on && sets[layer - 1].has(v);
        if (!both && !(all && v >= lowest && v <= highest)) continue;
        const wire = `M${place(layer, u)}L${place(layer - 1, v)}`;
        part[both ? (early(layer, u) || early(layer - 1, v) ? "leakWire" : "pastWire") : "wire"] += wire;
      }
    }
  }
  return part;
}

/** @param {number} x @param {number} y @param {number} radius */
function cross(x, y, radius) {
  const q = Math.max(1.6, Math.min(4.5, radius * 0.8));
  const w = tidy(2 * q);
  return `M${tidy(x - q)} ${tidy(y - q)}l${w} ${w}m0 -${w}l-${w} ${w}`;
}

/** @param {State} s @param {number} width @param {number} now */
function labels(s, width, now) {
  const { a, b, dx, x, y, right } = places(s, width);
  const wide = isWide(width);
  const at = x(now);
  let out = nowAbove(at, GUTTER, right);
  if (s.pick === "output") out += pastAndFuture(at, GUTTER, right, wide);
  else {
    if (at - GUTTER > (wide ? 180 : 60))
      out += text("cc-quiet", GUTTER, 24, wide ? "before: cannot know it" : "before");
    if (right - at > (wide ? 180 : 70))
      out += text("cc-said-past", right, 24, wide ? "after: may remember it" : "after", "end");
  }
  for (let layer = 0; layer <= s.layers; layer++) {
    const name = layer === 0 ? "input" : layer === s.layers ? "output" : `layer ${layer}`;
    out += text("cc-quiet", GUTTER - 8, y(layer) + 4, name, "end");
  }
  if (s.pick === "output") {
    const { past, size } = field(s);
    const first = now - (timeOf(s, s.layers, 0) + past);
    const last = first + size - 1;
    const level = BOTTOM + 24;
    const from = Math.max(x(first) - dx / 2, GUTTER);
    const to = Math.min(x(last) + dx / 2, right);
    const split = Math.min(Math.max(at + dx / 2, from), to);
    /** @param {number} t @param {boolean} inside */
    const end = (t, inside) => (inside ? `M${tidy(t)} ${level - 5}v10` : "");
    const read = `M${tidy(from)} ${level}H${tidy(split)}${end(from, first >= a)}${end(split, true)}`;
    out += path("cc-span cc-past", read);
    if (last > now) out += path("cc-span cc-leak", `M${tidy(split)} ${level}H${tidy(to)}${end(to, last <= b)}`);
    if (first < a) out += path("cc-span cc-past", `M${GUTTER + 7} ${level - 5}l-6 5l6 5`);
  }
  return out + timeAxis({ a, b, x, dx, now, right, left: GUTTER, y: BOTTOM + 30, rateHz: s.rate_hz });
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const f = field(s);
  /** @param {number} frames */
  const long = (frames) => `${plural(frames, "frame")} (${duration(frames, s.rate_hz)})`;
  if (s.pick === "input") {
    const outputs = walkUp(s, s.at)[s.layers];
    const early = outputs.filter((u) => timeOf(s, s.layers, u) < s.at).length;
    if (!outputs.length) return "No output reads the chosen input: the stride steps over it.";
    const leak = `${plural(early, "output")} before it read${early === 1 ? "s" : ""} it: a leak of the future.`;
    const knows = early ? leak : "None of them comes before it.";
    return `The chosen input is read by ${plural(outputs.length, "output")}. ${knows}`;
  }
  const late = timeOf(s, s.layers, 0);
  const back = f.past + late;
  const ahead = f.lookahead - late;
  if (f.num_inputs === 1 && back === 0 && ahead <= 0)
    return "The chosen output reads the present input and nothing else.";
  const reads = `The chosen output reads ${plural(f.num_inputs, "input")}, back to ${long(back)} ago`;
  return ahead > 0 ? `${reads} and ${long(ahead)} into the future: a leak.` : `${reads}, and none from the future.`;
}

/** @param {State} s */
function readouts(s) {
  const { size, num_inputs, holes, lookahead, stride, parameters } = field(s);
  /** @param {string} key @param {string} label @param {number} frames */
  const long = (key, label, frames) => {
    return { key, label, value: frames, text: plural(frames, "frame"), note: duration(frames, s.rate_hz) };
  };
  /** @param {string} key @param {string} label @param {number} value */
  const many = (key, label, value) => ({ key, label, value, text: count(value) });
  return [
    long("size", "Receptive field", size),
    many("num_inputs", "Inputs touched", num_inputs),
    many("holes", "Skipped", holes),
    { ...long("lookahead", "Look-ahead", lookahead), leak: lookahead > timeOf(s, s.layers, 0) },
    long("stride", "One output every", stride),
    { ...many("parameters", "Parameters", parameters), note: `${s.channels} channels` },
  ];
}

// --- what a reader moves

const LIMITS = {
  kernel_size: [1, 7],
  dilation: [1, 4],
  layers: [1, 6],
  stride: [1, 3],
  channels: [1, 1e6],
  at: [-1e6, 1e6],
};

/** @type {Declaration<State>} */
const declaration = {
  traits: [
    "kernel_size",
    "dilation",
    "doubling",
    "layers",
    "stride",
    "convention",
    "rate_hz",
    "channels",
    "pick",
    "at",
  ],
  settled(s, width) {
    settle(s, LIMITS);
    if (!(s.convention in NAMES)) s.convention = "strict";
    if (!(s.rate_hz > 0)) s.rate_hz = 100;
    if (!width) return s;
    const [min, max] = choosable(s, width);
    if (s.at < min || s.at > max) s.at = Math.min(max, Math.max(min, 0));
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: HEIGHT,
  sentence,
  readouts,
  controls: (model) => {
    const rates = [...new Set([10, 20, 25, 50, 80, 100, 200, 16000, model.get("rate_hz")])].sort((p, q) => p - q);
    /** @type {State["convention"][]} */
    const conventions = model.get("conventions");
    return [
      slider("kernel_size", "Kernel size", upTo(1, 7), (v) => plural(v, "tap")),
      slider("dilation", "Dilation", upTo(1, 4), (v, s) => (s.doubling ? `from ${v}` : String(v))),
      slider("layers", "Layers", upTo(1, 6)),
      slider("stride", "Stride of each layer", upTo(1, 3)),
      slider("rate_hz", "Frame rate", rates, (v) => `${count(v)} a second`),
      choice(
        "convention",
        "Padding",
        conventions.map((one) => [one, NAMES[one]]),
      ),
      toggle("doubling", "Dilation doubles with each layer"),
      clock("Let time run", 420, (s) => ({ at: s.at + 1 })),
    ];
  },
  range(s, width) {
    const [min, max] = choosable(s, width);
    return [min, s.at, max];
  },
  spoken: (s) => `${s.pick} ${s.at}. ${sentence(s)}`,
  move: (at, s) => ({ pick: s.pick, at }),
  press: (s) => ({
    ArrowDown: { pick: "input", at: s.pick === "input" ? s.at : timeOf(s, s.layers, s.at) },
    ArrowUp: { pick: "output", at: s.pick === "output" ? s.at : Math.floor(s.at / s.stride ** s.layers) },
  }),
  at(s, x, y, width) {
    const { a, dx } = places(s, width);
    const t = Math.floor((x - GUTTER) / dx) + a;
    const pick = y > BOTTOM - (BOTTOM - TOP) / s.layers / 2 ? "input" : "output";
    const [min, max] = choosable({ ...s, pick }, width);
    const at = pick === "input" ? t : Math.round((t - timeOf(s, s.layers, 0)) / s.stride ** s.layers);
    return { pick, at: Math.min(max, Math.max(min, at)) };
  },
  hover: true,
};

export default explorer(declaration);
