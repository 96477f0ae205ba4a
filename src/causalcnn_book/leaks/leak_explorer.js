// The leak figure: an impulse in the future, six layers, and what moves before it. Faults are planted or hidden.
import {
  closed,
  explorer,
  hatch,
  isWide,
  path,
  plural,
  settle,
  slider,
  text,
  tidy,
  toggle,
  upTo,
} from "../explorer.js";

const FRAMES = 24,
  EDGE = 14,
  TOP = 40,
  ROW = 42,
  HEIGHT = 372;
/** @type {["front_end" | "padding" | "dilation" | "reflect" | "norm" | "mask", string, string][]} */
const LAYERS = [
  ["front_end", "front end", "centred window"],
  ["padding", "convolution", "padding off by one"],
  ["dilation", "dilated convolution", "dilation forgotten"],
  ["reflect", "convolution", "reflect padding"],
  ["norm", "normalisation", "statistics over all time"],
  ["mask", "attention", "mask off by one"],
];
const CASES = [[2], [5], [0], [3], [1], [4], [], [1, 5]];

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ at: number, hunt: boolean, case: number, probe: number, reveal: boolean, front_end: boolean,
 *   padding: boolean, dilation: boolean, reflect: boolean, norm: boolean, mask: boolean }} State
 */

// --- what is computed. Proved equal to torch over the whole grid of faults and impulses.

/** Which of the six faults are there, hidden or planted. @param {State} s */
export const faults = (s) => LAYERS.map(([key], i) => (s.hunt ? CASES[s.case - 1].includes(i) : s[key]));

/** Whether output `t` of a layer reads its input `u`. */
/** @param {number} layer @param {boolean} wrong @param {number} t @param {number} u */
export function reads(layer, wrong, t, u) {
  const d = u - t;
  if (layer === 0) return wrong ? Math.abs(d) <= 2 : d <= 0 && d >= -4;
  if (layer === 1) return wrong ? Math.abs(d) <= 1 : d <= 0 && d >= -2;
  if (layer === 2) return (wrong ? [-2, 1, 4] : [-6, -3, 0]).includes(d);
  if (layer === 3) return (d <= 0 && d >= -4) || (wrong && u > 0 && -u - t >= -4);
  if (layer === 4) return wrong || d === 0;
  return d <= (wrong ? 1 : 0);
}

/** For the input and each layer: the frames that an impulse at `s.at` moves. @param {State} s */
export function moved(s) {
  const wrong = faults(s),
    rows = [[s.at]];
  for (let layer = 0; layer < 6; layer++) {
    const row = [];
    for (let t = 0; t < FRAMES; t++) if (rows[layer].some((u) => reads(layer, wrong[layer], t, u))) row.push(t);
    rows.push(row);
  }
  return rows;
}

/** @param {State} s */
export const readState = (s) => ({ faults: faults(s), moved: moved(s) });

/** @param {State} s @param {number[]} row */
const early = (s, row) => row.filter((t) => t < s.at);
/** @param {State} s @param {number} row */
const open = (s, row) => !s.hunt || s.reveal || row === 0 || row === s.probe;

// --- what is drawn: one string of SVG

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const dx = (width - 2 * EDGE) / FRAMES,
    now = EDGE + s.at * dx,
    bottom = TOP + 7 * ROW,
    wrong = faults(s);
  const shown = !s.hunt || s.reveal,
    late = s.at > 16;
  let out = hatch(id) + closed(id, now, TOP - 12, width - EDGE - now, bottom - TOP + 12);
  moved(s).forEach((row, i) => {
    const y = bottom - i * ROW - 12,
      name = i ? LAYERS[i - 1][1] : "input";
    const fault = i && shown && wrong[i - 1] ? `: ${LAYERS[i - 1][2]}` : "";
    const words = `${name}${fault}${open(s, i) ? "" : " (not probed)"}`;
    out += text(fault ? "cc-said-leak" : "cc-quiet", EDGE, y - 14, words);
    const dots = { idle: "", past: "", leak: "", present: "" };
    for (let t = 0; t < FRAMES; t++) {
      const hit = open(s, i) && row.includes(t);
      dots[!hit ? "idle" : i === 0 ? "present" : t < s.at ? "leak" : "past"] +=
        `M${tidy(EDGE + (t + 0.5) * dx)} ${y}h.01`;
    }
    for (const [name, d] of Object.entries(dots)) {
      out += path(`cc-dot cc-${name}`, d, `stroke-width="${tidy(name === "idle" ? 3 : Math.min(11, dx * 0.72))}"`);
    }
  });
  const words = isWide(width) ? "the impulse is still to come" : "still to come";
  out += path("cc-now", `M${tidy(now)} ${TOP - 12}V${bottom}`);
  out += text("cc-here", now + (late ? -8 : 8), 20, words, late ? "end" : "start");
  return out + text("cc-quiet", EDGE, bottom + 20, `24 frames, ${s.at} of them before the impulse`);
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const rows = moved(s),
    first = rows.findIndex((row) => early(s, row).length) - 1;
  const many = (/** @type {number} */ n) => (n ? `${plural(n, "frame")} ${n === 1 ? "moves" : "move"}` : "");
  if (s.hunt && !s.reveal) {
    const found = many(early(s, rows[s.probe]).length) || "nothing moves",
      name = LAYERS[s.probe - 1][1];
    return `Case ${s.case}, layer ${s.probe} (${name}): ${found} before the impulse.`;
  }
  if (first >= 0) {
    const [, name, fault] = LAYERS[first],
      where = `It begins in layer ${first + 1}, the ${name}: ${fault}.`;
    return `${many(early(s, rows[6]).length) || "Nothing moves"} before the impulse in the output. ${where}`;
  }
  if (faults(s).some(Boolean)) return "Nothing moves before this impulse, although a fault is there. Move the impulse.";
  return "Nothing moves before the impulse: no layer reads the future.";
}

/** @param {State} s */
function readouts(s) {
  const rows = moved(s),
    top = early(s, rows[6]).length,
    first = rows.findIndex((row) => early(s, row).length);
  const known = !s.hunt || s.reveal,
    shown = known || s.probe === 6,
    ahead = top ? s.at - early(s, rows[6])[0] : 0;
  const moves = shown ? plural(top, "frame") : "?",
    most = shown ? plural(ahead, "frame") : "?";
  const where = known ? (first > 0 ? String(first) : "none") : "?";
  return [
    { key: "moved", label: "Output moves too early", value: top, text: moves, leak: shown && top > 0 },
    { key: "ahead", label: "By at most", value: ahead, text: most },
    { key: "first", label: "First leaking layer", value: first, text: where },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["at", "hunt", "case", "probe", "reveal", ...LAYERS.map(([key]) => key)],
  settled: (s) => settle(s, { at: [0, FRAMES - 1], case: [1, CASES.length], probe: [1, 6] }),
  read: readState,
  picture: drawPicture,
  height: HEIGHT,
  sentence,
  readouts,
  controls: () => [
    slider("case", "Case", upTo(1, CASES.length)),
    slider("at", "Impulse at frame", upTo(0, FRAMES - 1)),
    slider("probe", "Probe layer", upTo(1, 6), (v) => `${v}, ${LAYERS[v - 1][1]}`),
    ...LAYERS.map(([key, , fault], i) => toggle(key, `${i + 1}: ${fault}`)),
    toggle("reveal", "Reveal the fault"),
  ],
  range: (s) => [0, s.at, FRAMES - 1],
  move: "at",
  at: (_, x, __, width) => ({ at: Math.floor((x - EDGE) / ((width - 2 * EDGE) / FRAMES)) }),
};

export default explorer(declaration);
