// The cone explorer: which inputs an output reads, which outputs an input reaches.
import { assemble, count, duration, newId, plural, settle, tidy, timeAxis } from "../explorer.js";

const GUTTER = 58, EDGE = 10, TOP = 56, BOTTOM = 236, HEIGHT = 306;

// --- what is computed: walks over indices. Layer 0 is the input; output u of a layer reads inputs
// u*stride - left + j*dilation. Proved equal to torch over the whole grid of controls.

export const dilationOf = (s, layer) => s.dilation * (s.doubling ? 2 ** layer : 1);

/** Zeros in front of layer `layer`; negative means that inputs are cut off (block, kernel < stride). */
export function leftPadding(s, layer) {
  const reach = (s.kernel_size - 1) * dilationOf(s, layer);
  if (s.convention === "regular") return Math.floor(reach / 2); // as torch's padding="same": the spare zero goes right
  return s.convention === "block" ? reach - (s.stride - 1) : reach;
}

const distinct = (low, high, fill) => {
  const marks = new Uint8Array(high - low + 1), found = [];
  fill((i) => (marks[i - low] = 1));
  for (let i = 0; i < marks.length; i++) if (marks[i]) found.push(i + low);
  return found;
};

/** The nodes of every layer that output 0 depends on, sorted; rows[0] are the inputs. */
export function walkDown(s) {
  const rows = [[0]];
  for (let layer = s.layers - 1; layer >= 0; layer--) {
    const above = rows[0], d = dilationOf(s, layer), left = leftPadding(s, layer), last = (s.kernel_size - 1) * d;
    rows.unshift(distinct(above[0] * s.stride - left, above.at(-1) * s.stride - left + last, (mark) => {
      for (const u of above) for (let reach = 0; reach <= last; reach += d || 1) mark(u * s.stride - left + reach);
    }));
  }
  return rows;
}

/** The nodes of every layer that input `i` reaches; rows[layers] are the outputs that read it. */
export function walkUp(s, i) {
  const rows = [[i]];
  for (let layer = 0; layer < s.layers; layer++) {
    const d = dilationOf(s, layer), left = leftPadding(s, layer), found = new Set();
    for (const a of rows[layer]) for (let j = 0; j < s.kernel_size; j++) {
      const u = (a + left - j * d) / s.stride;
      if (Number.isInteger(u)) found.add(u);
    }
    rows.push([...found].sort((a, b) => a - b));
  }
  return rows;
}

/** Frame in which a node is known: u*stride, or the end of its block. */
export function timeOf(s, layer, u) {
  const step = s.stride ** layer;
  return u * step + (s.convention === "block" ? step - 1 : 0);
}

/** The declared field, by the names of causalcnn.Field, and the number of parameters. */
export function readState(s) {
  const rows = walkDown(s), first = rows[0][0], last = rows[0].at(-1), size = last - first + 1;
  const parameters = s.layers * (s.channels * s.channels * s.kernel_size + s.channels);
  return { rows, past: -first, lookahead: last, size, num_inputs: rows[0].length, holes: size - rows[0].length, stride: s.stride ** s.layers, parameters };
}

let memory = ["", null];
function field(s) {
  const key = [s.kernel_size, s.dilation, s.doubling, s.layers, s.stride, s.convention, s.channels].join();
  if (memory[0] !== key) memory = [key, readState(s)];
  return memory[1];
}

/** First and last frame on the stage; frame 0 lies two thirds to the right, so that the future has room. */
export function frameWindow(s, width) {
  const maxFrames = Math.floor((width - GUTTER - EDGE) / 3);
  const frames = Math.min(Math.max(24, Math.ceil(field(s).size * 1.6)), maxFrames);
  const after = Math.round((frames - 1) * 0.34);
  return [after + 1 - frames, after];
}

/** First and last output (or input) that can be chosen. */
export function choosable(s, width, pick) {
  const [a, b] = frameWindow(s, width);
  if (pick === "input") return [a, b];
  const step = s.stride ** s.layers, late = timeOf(s, s.layers, 0);
  return [Math.ceil((a - late) / step), Math.floor((b - late) / step)];
}

/** The nodes that light up, layer by layer. */
function lit(s) {
  if (s.pick === "input") return walkUp(s, s.at);
  return field(s).rows.map((row, layer) => row.map((i) => i + s.at * s.stride ** (s.layers - layer)));
}

// --- what is drawn: one string of SVG

export function drawPicture(s, width, id) {
  const [a, b] = frameWindow(s, width), dx = (width - GUTTER - EDGE) / (b - a + 1), radius = Math.max(1.1, Math.min(7, dx * 0.34));
  const x = (t) => GUTTER + (t - a + 0.5) * dx, y = (layer) => BOTTOM - (layer * (BOTTOM - TOP)) / s.layers;
  const output = s.pick === "output", now = output ? timeOf(s, s.layers, s.at) : s.at, rows = lit(s);
  const early = (layer, u) => (output ? timeOf(s, layer, u) > now : timeOf(s, layer, u) < now);
  const shown = (layer, u) => { const t = timeOf(s, layer, u); return t >= a && t <= b; };
  const part = { idle: "", past: "", leak: "", wire: "", pastWire: "", leakWire: "", skip: "" };
  const across = new Map(), up = rows.map((_, layer) => tidy(y(layer))); // thousands of lines, few places
  const place = (layer, u) => {
    const t = timeOf(s, layer, u);
    if (!across.has(t)) across.set(t, tidy(x(t)));
    return `${across.get(t)} ${up[layer]}`;
  };
  const dot = (layer, u) => `M${place(layer, u)}h0`;
  const sets = rows.map((row) => new Set(row));
  const all = (s.layers * s.kernel_size * (b - a + 1)) / s.stride <= 1400;
  for (let layer = 0; layer <= s.layers; layer++) {
    const step = s.stride ** layer, late = timeOf(s, layer, 0);
    for (let u = Math.ceil((a - late) / step); u <= Math.floor((b - late) / step); u++) {
      const on = sets[layer].has(u);
      part[on ? (early(layer, u) ? "leak" : "past") : "idle"] += dot(layer, u);
      if (!on && output && layer === 0 && u > rows[0][0] && u < rows[0].at(-1)) {
        const q = Math.max(1.6, Math.min(4.5, radius * 0.8)), w = tidy(2 * q);
        part.skip += `M${tidy(x(u) - q)} ${tidy(y(0) - q)}l${w} ${w}m0 -${w}l-${w} ${w}`;
      }
      if (layer === 0) continue;
      const d = dilationOf(s, layer - 1), left = leftPadding(s, layer - 1);
      for (let j = 0; j < s.kernel_size; j++) {
        const v = u * s.stride - left + j * d, both = on && sets[layer - 1].has(v);
        if (!both && !(all && shown(layer - 1, v))) continue;
        const line = `M${place(layer, u)}L${place(layer - 1, v)}`;
        part[both ? (early(layer, u) || early(layer - 1, v) ? "leakWire" : "pastWire") : "wire"] += line;
      }
    }
  }
  const right = GUTTER + (b - a + 1) * dx, line = output ? x(now) + dx / 2 : x(now) - dx / 2;
  const closed = output ? [line, Math.max(0, right - line)] : [GUTTER, Math.max(0, line - GUTTER)];
  const dots = (name, size) => (part[name] ? `<path class="cc-dot cc-${name}" stroke-width="${tidy(2 * size)}" d="${part[name]}"/>` : "");
  const wires = (name, kind) => (part[name] ? `<path class="cc-wire cc-${kind}" d="${part[name]}"/>` : "");
  let out = `<defs><clipPath id="${id}c"><rect x="${GUTTER}" y="0" width="${tidy(right - GUTTER)}" height="${HEIGHT}"/></clipPath>`;
  out += `<pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  out += `<rect class="cc-closed" fill="url(#${id}h)" x="${tidy(closed[0])}" y="${TOP - 22}" width="${tidy(closed[1])}" height="${BOTTOM - TOP + 38}"/>`;
  out += `<g clip-path="url(#${id}c)">` + wires("wire", "idle") + wires("pastWire", "past") + wires("leakWire", "leak");
  out += dots("idle", Math.max(0.9, radius * 0.5)) + dots("past", radius) + dots("leak", radius) + (part.skip ? `<path class="cc-skip" d="${part.skip}"/>` : "") + "</g>";
  out += `<path class="cc-now" d="M${tidy(x(now))} ${TOP - 22}V${BOTTOM + 16}"/>`;
  out += `<path class="cc-dot cc-present" stroke-width="${tidy(2 * radius + 3)}" d="${dot(output ? s.layers : 0, s.at)}"/>`;
  return out + labels(s, { width, a, b, x, y, dx, now, output, right });
}

function labels(s, { width, a, b, x, y, dx, now, output, right }) {
  const wide = width >= 560, at = x(now), f = field(s);
  let out = `<text class="cc-here" x="${tidy(Math.min(Math.max(at, GUTTER + 14), right - 14))}" y="24" text-anchor="middle">now</text>`;
  const before = output ? (wide ? "past: may be used" : "past") : wide ? "before: cannot know it" : "before";
  const after = output ? (wide ? "future: not allowed" : "future") : wide ? "after: may remember it" : "after";
  if (at - GUTTER > (wide ? 180 : 60)) out += `<text class="${output ? "cc-said-past" : "cc-quiet"}" x="${GUTTER}" y="24">${before}</text>`;
  if (right - at > (wide ? 180 : 70)) out += `<text class="${output ? "cc-quiet" : "cc-said-past"}" x="${tidy(right)}" y="24" text-anchor="end">${after}</text>`;
  for (let layer = 0; layer <= s.layers; layer++) {
    const name = layer === 0 ? "input" : layer === s.layers ? "output" : `layer ${layer}`;
    out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${tidy(y(layer) + 4)}" text-anchor="end">${name}</text>`;
  }
  if (output) {
    const first = now - (timeOf(s, s.layers, 0) + f.past), last = first + f.size - 1, level = BOTTOM + 24;
    const from = Math.max(x(first) - dx / 2, GUTTER), to = Math.min(x(last) + dx / 2, right), split = Math.min(Math.max(at + dx / 2, from), to);
    const end = (t, inside) => (inside ? `M${tidy(t)} ${level - 5}v10` : "");
    out += `<path class="cc-span cc-past" d="M${tidy(from)} ${level}H${tidy(split)}${end(from, first >= a)}${end(split, true)}"/>`;
    if (last > now) out += `<path class="cc-span cc-leak" d="M${tidy(split)} ${level}H${tidy(to)}${end(to, last <= b)}"/>`;
    if (first < a) out += `<path class="cc-span cc-past" d="M${GUTTER + 7} ${level - 5}l-6 5l6 5"/>`;
  }
  return out + timeAxis({ a, b, x, dx, now, right, left: GUTTER, y: BOTTOM + 30, rateHz: s.rate_hz });
}

// --- what is said

export function sentence(s) {
  const f = field(s);
  if (s.pick === "input") {
    const outputs = walkUp(s, s.at).at(-1), early = outputs.filter((u) => timeOf(s, s.layers, u) < s.at).length;
    if (!outputs.length) return "No output reads the chosen input: the stride steps over it.";
    const knows = early ? ` ${plural(early, "output")} before it read${early === 1 ? "s" : ""} it: a leak of the future.` : " None of them comes before it.";
    return `The chosen input is read by ${plural(outputs.length, "output")}.` + knows;
  }
  const late = timeOf(s, s.layers, 0), back = f.past + late, ahead = f.lookahead - late;
  if (f.num_inputs === 1 && back === 0 && ahead <= 0) return "The chosen output reads the present input and nothing else.";
  const reads = `The chosen output reads ${plural(f.num_inputs, "input")}, back to ${plural(back, "frame")} (${duration(back, s.rate_hz)}) ago`;
  return ahead > 0 ? `${reads} and ${plural(ahead, "frame")} (${duration(ahead, s.rate_hz)}) into the future: a leak.` : `${reads}, and none from the future.`;
}

export function readouts(s) {
  const f = field(s), ms = (frames) => duration(frames, s.rate_hz);
  return [
    { key: "size", label: "Receptive field", value: f.size, text: plural(f.size, "frame"), note: ms(f.size) },
    { key: "num_inputs", label: "Inputs touched", value: f.num_inputs, text: count(f.num_inputs) },
    { key: "holes", label: "Skipped", value: f.holes, text: count(f.holes) },
    { key: "lookahead", label: "Look-ahead", value: f.lookahead, text: plural(f.lookahead, "frame"), note: ms(f.lookahead), leak: f.lookahead > timeOf(s, s.layers, 0) },
    { key: "stride", label: "One output every", value: f.stride, text: plural(f.stride, "frame"), note: ms(f.stride) },
    { key: "parameters", label: "Parameters", value: f.parameters, text: count(f.parameters), note: `${s.channels} channels` },
  ];
}

const KEYS = ["kernel_size", "dilation", "doubling", "layers", "stride", "convention", "rate_hz", "channels", "pick", "at"];
const upTo = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const NAMES = { strict: "causal", block: "block-causal", regular: "regular" };

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { kernel_size: [1, 7], dilation: [1, 4], layers: [1, 6], stride: [1, 3], channels: [1, 1e6], at: [-1e6, 1e6] });
  if (!(s.convention in NAMES)) s.convention = "strict";
  if (!(s.rate_hz > 0)) s.rate_hz = 100;
  return s;
}

export const view = (s, width, id) => ({ picture: drawPicture(s, width, id), height: HEIGHT, sentence: sentence(s), readouts: readouts(s) });

function render({ model, el }) {
  const id = newId();
  let hover = null;
  const state = () => ({ ...settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)]))), ...hover });
  const rates = [...new Set([10, 20, 25, 50, 80, 100, 200, 16000, model.get("rate_hz")])].sort((p, q) => p - q);
  let width = 720;
  const move = (by) => {
    const s = state(), [min, max] = choosable(s, width, s.pick), at = s.at + by;
    return { at: at > max ? min : at < min ? max : at };
  };
  const controls = [
    { type: "slider", key: "kernel_size", label: "Kernel size", stops: upTo(1, 7), say: (v) => plural(v, "tap") },
    { type: "slider", key: "dilation", label: "Dilation", stops: upTo(1, 4), say: (v) => (model.get("doubling") ? `from ${v}` : String(v)) },
    { type: "slider", key: "layers", label: "Layers", stops: upTo(1, 6), say: String },
    { type: "slider", key: "stride", label: "Stride of each layer", stops: upTo(1, 3), say: String },
    { type: "slider", key: "rate_hz", label: "Frame rate", stops: rates, say: (v) => `${count(v)} a second` },
    { type: "choice", key: "convention", label: "Padding", options: model.get("conventions").map((c) => [c, NAMES[c]]) },
    { type: "toggle", key: "doubling", label: "Dilation doubles with each layer" },
    { type: "clock", key: "play", label: "Let time run", everyMs: 420, step: () => { hover = null; const next = move(1); model.set("at", next.at); model.save_changes(); } },
  ];
  const draw = (w) => {
    width = w;
    const s = state(), [min, max] = choosable(s, w, s.pick);
    if (s.at < min || s.at > max) s.at = Math.min(max, Math.max(min, 0));
    return {
      ...view(s, w, id), range: [min, s.at, max],
      spoken: `${s.pick} ${s.at}. ${sentence(s)}`
    };
  };
  const react = ({ stage, svg, schedule, keep }) => {
    const under = (event) => {
      const s = state(), box = svg.getBoundingClientRect(), unit = width / box.width, [a, b] = frameWindow(s, width);
      const dx = (width - GUTTER - EDGE) / (b - a + 1), t = Math.floor(((event.clientX - box.left) * unit - GUTTER) / dx) + a;
      const pick = (event.clientY - box.top) * unit > BOTTOM - (BOTTOM - TOP) / s.layers / 2 ? "input" : "output";
      const [min, max] = choosable(s, width, pick), late = timeOf(s, s.layers, 0);
      const at = pick === "input" ? t : Math.round((t - late) / s.stride ** s.layers);
      return { pick, at: Math.min(max, Math.max(min, at)) };
    };
    stage.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") hover = under(event);
      else if (event.buttons) keep(under(event));
      schedule();
    });
    stage.addEventListener("pointerleave", () => { hover = null; schedule(); });
    stage.addEventListener("click", (event) => { hover = null; keep(under(event)); });
    stage.addEventListener("keydown", (event) => {
      const s = state(), [min, max] = choosable(s, width, s.pick);
      const moves = {
        ArrowLeft: () => ({ at: Math.max(min, s.at - 1) }), ArrowRight: () => ({ at: Math.min(max, s.at + 1) }),
        Home: () => ({ at: min }), End: () => ({ at: max }),
        ArrowDown: () => ({ pick: "input", at: s.pick === "input" ? s.at : timeOf(s, s.layers, s.at) }),
        ArrowUp: () => ({ pick: "output", at: s.pick === "output" ? s.at : Math.floor(s.at / s.stride ** s.layers) }),
      };
      if (!moves[event.key]) return;
      event.preventDefault();
      hover = null;
      keep(moves[event.key]());
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
