// The stack explorer: what stacks of causal convolutions read together, and by how many paths.
import { assemble, clamp, count, duration, newId, plural, settle, tidy, timeAxis } from "../explorer.js";

const GUTTER = 68, EDGE = 10, TOP = 44, CELL = 20, GAP = 12, BARS = 66;
const LIMITS = { stacks: [1, 4], blocks: [0, 5], second: [0, 4] };
for (const i of [1, 2, 3, 4]) { LIMITS[`kernel_${i}`] = [2, 7]; LIMITS[`dilation_${i}`] = [1, 4]; }

// --- what is computed: paths by their age in frames, as polynomials. With all weights one and no activation they
// are the gradient of one output at every input. Proved equal to torch and to MultiStackEncoder.

const sum = (a, b) => (a.length < b.length ? sum(b, a) : a.map((v, i) => v + (b[i] ?? 0)));

function product(a, b) {
  const out = new Array(a.length + b.length - 1).fill(0);
  for (let i = 0; i < a.length; i++) if (a[i]) for (let j = 0; j < b.length; j++) if (b[j]) out[i + j] += a[i] * b[j];
  return out;
}

/** The taps of one convolution: a path of age j·d for each tap j. */
const taps = (kernel, dilation) => Array.from({ length: (kernel - 1) * dilation + 1 }, (_, age) => (age % dilation ? 0 : 1));

/** The layers of stack `i`: pre-layer, blocks around their skips, output layer. */
function levels(s, i) {
  const k = s[`kernel_${i}`], d = s[`dilation_${i}`], end = s.ends ? [taps(k, d)] : [];
  const body = product(taps(k, d), taps(k, s.second || d));
  return [...end, ...new Array(s.blocks).fill(s.residual ? sum(body, [1]) : body), ...end];
}

/** Paths by age of each stack alone, and of all together; the declared field and the parameters. */
export function readState(s) {
  const all = Array.from({ length: s.stacks }, (_, i) => levels(s, i + 1)), one = (stack) => stack.reduce(product, [1]);
  const each = all.map(one), added = each.reduce(sum);
  const together = s.combine === "every_layer" ? one(all[0].map((_, n) => all.map((stack) => stack[n]).reduce(sum))) : added;
  const size = together.length, touched = together.filter((n) => n).length, c = s.channels;
  const convolutions = (s.ends ? 2 : 0) + 2 * s.blocks;
  let parameters = s.combine === "concat" ? s.stacks * c * c + c : 0;
  for (let i = 1; i <= s.stacks; i++) parameters += convolutions * (c * c * s[`kernel_${i}`] + c);
  const paths = together.reduce((a, b) => a + b);
  return { each, together, past: size - 1, size, num_inputs: touched, holes: size - touched, parameters, paths, present: together[0] };
}

let memory = ["", null];
function reading(s) {
  const key = KEYS.filter((k) => k !== "at" && k !== "rate_hz").map((k) => s[k]).join();
  if (memory[0] !== key) memory = [key, readState(s)];
  return memory[1];
}

/** First and last frame on the stage; the present of output 0 is frame 0. */
export function stackWindow(s, width) {
  const maxFrames = Math.floor((width - GUTTER - EDGE) / 2);
  const frames = Math.min(maxFrames, Math.max(24, Math.ceil(reading(s).size * 1.18) + 2));
  const after = Math.ceil(frames * 0.12);
  return [after + 1 - frames, after];
}

/** Height of the picture: a strip for each stack, one for all together, the paths, the axis. */
export const stackHeight = (s) => TOP + (s.stacks > 1 ? s.stacks + 1 : 1) * (CELL + GAP) + BARS + 56;

// --- what is drawn: one string of SVG

export function drawPicture(s, width, id) {
  const f = reading(s), [a, b] = stackWindow(s, width), dx = (width - GUTTER - EDGE) / (b - a + 1);
  const x = (t) => GUTTER + (t - a + 0.5) * dx, now = s.at, right = GUTTER + (b - a + 1) * dx;
  const line = Math.min(right, x(now) + dx / 2), half = (dx - (dx >= 6 ? 1.5 : dx >= 4 ? 0.8 : 0)) / 2;
  const rows = s.stacks > 1 ? [...f.each.map((paths, i) => [`stack ${i + 1}`, paths]), ["together", f.together]] : [["reads", f.together]];
  const bottom = TOP + rows.length * (CELL + GAP) + BARS;
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  out += `<rect class="cc-closed" fill="url(#${id}h)" x="${tidy(line)}" y="${TOP - 8}" width="${tidy(right - line)}" height="${bottom - TOP + 12}"/>`;
  rows.forEach(([name, paths], n) => {
    const y = TOP + n * (CELL + GAP) + CELL / 2, part = { idle: "", past: "", skip: "" }, q = Math.min(4.5, half * 0.8);
    for (let t = a; t <= b; t++) {
      const age = now - t;
      if (paths[age]) part.past += `M${tidy(x(t) - half)} ${y}H${tidy(x(t) + half)}`;
      else if (age > 0 && age < paths.length) part.skip += half >= 2 ? `M${tidy(x(t) - q)} ${tidy(y - q)}L${tidy(x(t) + q)} ${tidy(y + q)}M${tidy(x(t) - q)} ${tidy(y + q)}L${tidy(x(t) + q)} ${tidy(y - q)}` : `M${tidy(x(t))} ${y - 2}V${y + 2}`;
      else if (age > 0) part.idle += `M${tidy(x(t) - half)} ${y}H${tidy(x(t) + half)}`;
    }
    out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${y + 4}" text-anchor="end">${name}</text>`;
    if (part.idle) out += `<path class="cc-dot cc-idle" style="stroke-linecap:butt" stroke-width="4" d="${part.idle}"/>`;
    if (part.past) out += `<path class="cc-dot cc-past" style="stroke-linecap:butt" stroke-width="${CELL}" d="${part.past}"/>`;
    if (part.skip) out += `<path class="cc-skip" d="${part.skip}"/>`;
    if (now - paths.length + 1 < a) out += `<path class="cc-span cc-past" d="M${GUTTER - 1} ${y - 5}l-5 5l5 5"/>`;
  });
  const largest = f.together.reduce((m, n) => Math.max(m, n));
  let bars = "", here = "";
  for (let t = a; t <= b; t++) {
    const n = f.together[now - t];
    if (!n) continue;
    const bar = `M${tidy(x(t))} ${bottom}V${tidy(bottom - Math.max(2, ((BARS - 6) * n) / largest))}`;
    if (t === now) here = bar;
    else bars += bar;
  }
  if (bars) out += `<path class="cc-dot cc-past" style="stroke-linecap:butt" stroke-width="${tidy(2 * half)}" d="${bars}"/>`;
  if (here) out += `<path class="cc-dot cc-present" style="stroke-linecap:butt" stroke-width="${tidy(2 * half)}" d="${here}"/>`;
  out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${bottom - BARS / 2 + 6}" text-anchor="end">gradient</text>`;
  out += `<path class="cc-tick" d="M${GUTTER} ${bottom}H${tidy(right)}"/><path class="cc-now" d="M${tidy(line)} ${TOP - 8}V${bottom + 4}"/>`;
  out += `<text class="cc-here" x="${tidy(Math.min(Math.max(x(now), GUTTER + 14), right - 14))}" y="24" text-anchor="middle">now</text>`;
  if (x(now) - GUTTER > (width >= 560 ? 180 : 60)) out += `<text class="cc-said-past" x="${GUTTER}" y="24">${width >= 560 ? "past: may be used" : "past"}</text>`;
  return out + timeAxis({ a, b, x, dx, now, right, left: GUTTER, y: bottom, rateHz: s.rate_hz });
}

export function sentence(s) {
  const f = reading(s);
  if (f.size === 1) return "The chosen output reads the present frame and nothing else.";
  const skips = f.holes ? `and skips ${count(f.holes)} of them` : "and skips none";
  const reads = `The chosen output reads ${count(f.num_inputs)} of the last ${plural(f.size, "frame")} (${duration(f.size, s.rate_hz)}) ${skips}.`;
  return `${reads} Of ${plural(f.paths, "path")} through the network, ${count(f.present)} ${f.present === 1 ? "starts" : "start"} in the present frame.`;
}

export function readouts(s) {
  const f = reading(s);
  return [
    { key: "size", label: "Receptive field", value: f.size, text: plural(f.size, "frame"), note: duration(f.size, s.rate_hz) },
    { key: "num_inputs", label: "Frames read", value: f.num_inputs, text: count(f.num_inputs), note: "" },
    { key: "holes", label: "Skipped", value: f.holes, text: count(f.holes), note: "" },
    { key: "parameters", label: "Parameters", value: f.parameters, text: count(f.parameters), note: `${s.channels} channels` },
    { key: "paths", label: "Paths", value: f.paths, text: count(f.paths), note: "" },
    { key: "present", label: "From the present", value: f.present, text: count(f.present), note: `1 in ${count(Math.floor(f.paths / f.present + 0.5))}` },
  ];
}

const KEYS = [...Object.keys(LIMITS), "combine", "residual", "ends", "at", "rate_hz", "channels"];

/** A state that can be drawn, whatever an address or a notebook asks for; with a width, its output is on the stage. */
export function settled(s, width) {
  settle(s, LIMITS);
  if (!["add", "concat", "every_layer"].includes(s.combine)) s.combine = "add";
  if (!(s.rate_hz > 0)) s.rate_hz = 100;
  if (width) s.at = clamp(s.at, ...stackWindow(s, width));
  return s;
}

export function view(given, width, id) {
  const s = settled({ ...given }, width);
  return { picture: drawPicture(s, width, id), height: stackHeight(s), sentence: sentence(s), readouts: readouts(s) };
}

function render({ model, el }) {
  const id = newId();
  let width = 720;
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])), width);
  const stops = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const many = model.get("controls").includes("stacks"), both = model.get("controls").includes("second");
  const controls = [
    { type: "choice", key: "stacks", label: "Stacks", options: stops(1, 4).map((n) => [String(n), String(n)]), number: true },
    { type: "choice", key: "combine", label: "Combined by", options: [["add", "add"], ["concat", "concat"], ["every_layer", "every layer"]] },
  ];
  for (const i of stops(1, 4)) {
    controls.push({ type: "slider", key: `kernel_${i}`, label: many ? `Stack ${i}: kernel` : "Kernel size", stops: stops(2, 7), say: String });
    controls.push({ type: "slider", key: `dilation_${i}`, label: many ? `Stack ${i}: dilation` : both ? "First dilation" : "Dilation", stops: stops(1, 4), say: String });
  }
  controls.push({ type: "slider", key: "second", label: "Second dilation", stops: stops(1, 4), say: (v) => String(v || state().dilation_1) });
  controls.push({ type: "slider", key: "blocks", label: "Blocks", stops: stops(0, 5), say: (v) => `${v} (${plural(2 * v + (state().ends ? 2 : 0), "layer")})` });
  controls.push({ type: "toggle", key: "residual", label: "Skip connections" });
  const draw = (w) => {
    width = w;
    const s = state(), [a, b] = stackWindow(s, w);
    for (const i of [2, 3, 4]) for (const what of ["kernel", "dilation"]) {
      const row = el.querySelector(`input[data-key="${what}_${i}"]`)?.closest(".cc-slider");
      if (row) row.style.display = i > s.stacks ? "none" : "";
    }
    return { ...view(s, w, id), range: [a, s.at, b] };
  };
  const react = ({ stage, svg, keep }) => {
    const go = (at) => keep({ at: clamp(at, ...stackWindow(state(), width)) });
    const under = (event) => {
      const [a, b] = stackWindow(state(), width), box = svg.getBoundingClientRect(), dx = (width - GUTTER - EDGE) / (b - a + 1);
      go(a + Math.floor((((event.clientX - box.left) * width) / box.width - GUTTER) / dx));
    };
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("click", under);
    stage.addEventListener("keydown", (event) => {
      const at = state().at, moves = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: -1e9, End: 1e9 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      go(moves[event.key]);
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
