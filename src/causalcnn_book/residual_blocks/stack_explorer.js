// The stack explorer: what stacks of causal convolutions read together, and by how many paths.
import {
  choice,
  clamp,
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

/** @import { Control, Declaration } from "../types" */
/**
 * @typedef {{ stacks: number, blocks: number, second: number, combine: string, residual: boolean, ends: boolean,
 *   at: number, rate_hz: number, channels: number }} Common
 * @typedef {Common & { [key: `kernel_${number}` | `dilation_${number}`]: number }} State
 */

const GUTTER = 68;
const EDGE = 10;
const TOP = 44;
const CELL = 20;
const GAP = 12;
const BARS = 66;
/** @type {Record<string, number[]>} */
const LIMITS = { stacks: [1, 4], blocks: [0, 5], second: [0, 4] };
/** @type {Declaration<State>["traits"]} */
const TRAITS = ["stacks", "blocks", "second", "combine", "residual", "ends", "at", "rate_hz", "channels"];
for (const i of [1, 2, 3, 4]) {
  LIMITS[`kernel_${i}`] = [2, 7];
  LIMITS[`dilation_${i}`] = [1, 4];
  TRAITS.push(`kernel_${i}`, `dilation_${i}`);
}

// --- what is computed: paths by their age in frames, as polynomials. With all weights one and no activation they
// are the gradient of one output at every input. Proved equal to torch and to MultiStackEncoder.

/** @param {number[]} a @param {number[]} b @returns {number[]} */
const sum = (a, b) => (a.length < b.length ? sum(b, a) : a.map((v, i) => v + (b[i] ?? 0)));

/** @param {number[]} a @param {number[]} b @returns {number[]} */
function product(a, b) {
  const out = new Array(a.length + b.length - 1).fill(0);
  a.forEach((p, i) => p && b.forEach((q, j) => (out[i + j] += p * q)));
  return out;
}

/** The taps of one convolution: a path of age j·d for each tap j. @param {number} kernel @param {number} dilation */
const taps = (kernel, dilation) => upTo(0, (kernel - 1) * dilation).map((age) => (age % dilation ? 0 : 1));

/** The layers of stack `i`: pre-layer, blocks around their skips, output layer. @param {State} s @param {number} i */
function levels(s, i) {
  const [kernel, dilation] = [s[`kernel_${i}`], s[`dilation_${i}`]];
  const end = s.ends ? [taps(kernel, dilation)] : [];
  const body = product(taps(kernel, dilation), taps(kernel, s.second || dilation));
  return [...end, ...new Array(s.blocks).fill(s.residual ? sum(body, [1]) : body), ...end];
}

/** Paths by age of each stack alone, and of all together; the declared field and the parameters. @param {State} s */
function readState(s) {
  const all = upTo(1, s.stacks).map((i) => levels(s, i));
  /** @param {number[][]} stack */
  const one = (stack) => stack.reduce(product, [1]);
  const each = all.map(one);
  const layerwise = () => one(all[0].map((_, n) => all.map((stack) => stack[n]).reduce(sum)));
  const together = s.combine === "every_layer" ? layerwise() : each.reduce(sum);
  const size = together.length;
  const touched = together.filter((n) => n).length;
  const c = s.channels;
  const convolutions = (s.ends ? 2 : 0) + 2 * s.blocks;
  const parameters = upTo(1, s.stacks).reduce(
    (a, i) => a + convolutions * (c * c * s[`kernel_${i}`] + c),
    s.combine === "concat" ? s.stacks * c * c + c : 0,
  );
  const paths = together.reduce((a, b) => a + b);
  return {
    each,
    together,
    past: size - 1,
    size,
    num_inputs: touched,
    holes: size - touched,
    parameters,
    paths,
    present: together[0],
  };
}

const reading = remembered(
  (/** @type {State} */ s) => TRAITS.map((key) => (key === "at" || key === "rate_hz" ? "" : s[key])).join(),
  readState,
);

/** First and last frame on the stage; the present of output 0 is frame 0. @param {State} s @param {number} width */
export function stackWindow(s, width) {
  const maxFrames = Math.floor((width - GUTTER - EDGE) / 2);
  const frames = Math.min(maxFrames, Math.max(24, Math.ceil(reading(s).size * 1.18) + 2));
  const after = Math.ceil(frames * 0.12);
  return [after + 1 - frames, after];
}

// --- what is drawn: one string of SVG

/** Where the frames lie. @param {State} s @param {number} width */
function places(s, width) {
  const [a, b] = stackWindow(s, width);
  const dx = (width - GUTTER - EDGE) / (b - a + 1);
  return { a, b, dx, x: (/** @type {number} */ t) => GUTTER + (t - a + 0.5) * dx, right: GUTTER + (b - a + 1) * dx };
}

/** A strip for each stack, and one for all together. @param {State} s @returns {[string, number[]][]} */
function strips(s) {
  const { each, together } = reading(s);
  if (s.stacks === 1) return [["reads", together]];
  return [
    ...each.map((paths, i) => /** @type {[string, number[]]} */ ([`stack ${i + 1}`, paths])),
    ["together", together],
  ];
}

/** Where the strips and the bars end. @param {State} s */
const bottomOf = (s) => TOP + strips(s).length * (CELL + GAP) + BARS;

const BUTT = 'style="stroke-linecap:butt" stroke-width=';

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { together } = reading(s);
  const { a, b, dx, x, right } = places(s, width);
  const now = s.at;
  const line = Math.min(right, x(now) + dx / 2);
  const half = (dx - (dx >= 6 ? 1.5 : dx >= 4 ? 0.8 : 0)) / 2;
  const bottom = bottomOf(s);
  const largest = Math.max(...together);
  let out = hatch(id) + closed(id, line, TOP - 8, right - line, bottom - TOP + 12);
  strips(s).forEach(
    ([name, paths], n) => (out += strip(s, width, name, paths, TOP + n * (CELL + GAP) + CELL / 2, half)),
  );
  /** @param {number} t */
  const bar = (t) => {
    const many = together[now - t];
    return many ? `M${tidy(x(t))} ${bottom}V${tidy(bottom - Math.max(2, ((BARS - 6) * many) / largest))}` : "";
  };
  const before = upTo(a, Math.min(b, now - 1)).map(bar);
  out += path("cc-dot cc-past", before.join(""), `${BUTT}"${tidy(2 * half)}"`);
  out += path("cc-dot cc-present", now <= b ? bar(now) : "", `${BUTT}"${tidy(2 * half)}"`);
  out += text("cc-quiet", GUTTER - 8, bottom - BARS / 2 + 6, "gradient", "end");
  out +=
    path("cc-tick", `M${GUTTER} ${bottom}H${tidy(right)}`) + path("cc-now", `M${tidy(line)} ${TOP - 8}V${bottom + 4}`);
  out += nowAbove(x(now), GUTTER, right) + pastAndFuture(x(now), GUTTER, right, isWide(width));
  return out + timeAxis({ a, b, x, dx, now, right, left: GUTTER, y: bottom, rateHz: s.rate_hz });
}

/**
 * One strip: frames that are read, and those that are skipped between them.
 * @param {State} s
 * @param {number} width
 * @param {string} name
 * @param {number[]} paths
 * @param {number} y
 * @param {number} half of a cell's width
 */
function strip(s, width, name, paths, y, half) {
  const { a, b, x } = places(s, width);
  const q = Math.min(4.5, half * 0.8);
  const part = { idle: "", past: "", skip: "" };
  for (let t = a; t <= b; t++) {
    const age = s.at - t;
    const at = x(t);
    const [low, high, up, down] = [tidy(at - q), tidy(at + q), tidy(y - q), tidy(y + q)];
    const cross =
      half >= 2 ? `M${low} ${up}L${high} ${down}M${low} ${down}L${high} ${up}` : `M${tidy(at)} ${y - 2}V${y + 2}`;
    const cell = `M${tidy(at - half)} ${y}H${tidy(at + half)}`;
    if (paths[age]) part.past += cell;
    else if (age > 0 && age < paths.length) part.skip += cross;
    else if (age > 0) part.idle += cell;
  }
  let out = text("cc-quiet", GUTTER - 8, y + 4, name, "end") + path("cc-dot cc-idle", part.idle, `${BUTT}"4"`);
  out += path("cc-dot cc-past", part.past, `${BUTT}"${CELL}"`) + path("cc-skip", part.skip);
  return s.at - paths.length + 1 < a ? out + path("cc-span cc-past", `M${GUTTER - 1} ${y - 5}l-5 5l5 5`) : out;
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const f = reading(s);
  if (f.size === 1) return "The chosen output reads the present frame and nothing else.";
  const last = `the last ${plural(f.size, "frame")} (${duration(f.size, s.rate_hz)})`;
  const skips = f.holes ? `skips ${count(f.holes)} of them` : "skips none";
  const start = `${count(f.present)} ${f.present === 1 ? "starts" : "start"} in the present frame`;
  const paths = `Of ${plural(f.paths, "path")} through the network, ${start}.`;
  return `The chosen output reads ${count(f.num_inputs)} of ${last} and ${skips}. ${paths}`;
}

/** @param {State} s */
function readouts(s) {
  const { size, num_inputs, holes, parameters, paths, present } = reading(s);
  /** @param {string} key @param {string} label @param {number} value @param {string} [note] */
  const many = (key, label, value, note) => ({ key, label, value, text: count(value), note });
  return [
    { ...many("size", "Receptive field", size, duration(size, s.rate_hz)), text: plural(size, "frame") },
    many("num_inputs", "Frames read", num_inputs),
    many("holes", "Skipped", holes),
    many("parameters", "Parameters", parameters, `${s.channels} channels`),
    many("paths", "Paths", paths),
    many("present", "From the present", present, `1 in ${count(Math.floor(paths / present + 0.5))}`),
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: TRAITS,
  settled(s, width) {
    settle(s, LIMITS);
    if (!["add", "concat", "every_layer"].includes(s.combine)) s.combine = "add";
    if (!(s.rate_hz > 0)) s.rate_hz = 100;
    if (width) {
      const [first, last] = stackWindow(s, width);
      s.at = clamp(s.at, first, last);
    }
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (s) => bottomOf(s) + 56,
  sentence,
  readouts,
  controls: (model) => {
    const [many, both] = ["stacks", "second"].map((key) => model.get("controls").includes(key));
    /** @param {number} i @returns {Control<State>[]} */
    const pair = (i) => [
      slider(`kernel_${i}`, many ? `Stack ${i}: kernel` : "Kernel size", upTo(2, 7), String, (s) => i <= s.stacks),
      slider(
        `dilation_${i}`,
        many ? `Stack ${i}: dilation` : both ? "First dilation" : "Dilation",
        upTo(1, 4),
        String,
        (s) => i <= s.stacks,
      ),
    ];
    return [
      choice(
        "stacks",
        "Stacks",
        upTo(1, 4).map((n) => [n, String(n)]),
      ),
      choice("combine", "Combined by", [
        ["add", "add"],
        ["concat", "concat"],
        ["every_layer", "every layer"],
      ]),
      ...upTo(1, 4).flatMap(pair),
      slider("second", "Second dilation", upTo(1, 4), (v, s) => String(v || s.dilation_1)),
      slider("blocks", "Blocks", upTo(0, 5), (v, s) => `${v} (${plural(2 * v + (s.ends ? 2 : 0), "layer")})`),
      toggle("residual", "Skip connections"),
    ];
  },
  range(s, width) {
    const [first, last] = stackWindow(s, width);
    return [first, s.at, last];
  },
  move: "at",
  at: (s, x, _, width) => ({ at: places(s, width).a + Math.floor((x - GUTTER) / places(s, width).dx) }),
};

export default explorer(declaration);
