// The hierarchy explorer: what one code of the causal VQ-VAE-2 reads, by itself and through the level above it.
import {
  choice,
  duration,
  explorer,
  hatch,
  image,
  isWide,
  nowAbove,
  plural,
  rect,
  settle,
  slider,
  text,
  tidy,
  timeAxis,
  toggle,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/** @typedef {"top" | "bottom" | "output"} Level */
/**
 * @typedef {{ level: Level, band: number, frame: number, blocks: number, kernel: number, weights: boolean,
 *   frames: number, image: string, influence: Partial<Record<Level, { table: string, within: number }[]>>,
 *   trained: [number, number] }} State
 * @typedef {[number, number]} Span the first and the last
 * @typedef {{ back: number, bands: Span }} Reads
 */

const GUTTER = 54;
const TOP = 34;
const BAND = 3;
const MELS = 80;
const CELLS = 14;
const EDGE = 12;
const FLOOR = TOP + MELS * BAND;
const RATE_HZ = 100;
const BANDS = { top: 8, bottom: 4, output: 1 };
const NAMES = { top: "Top code", bottom: "Bottom code", output: "Output band" };
// On a spectrogram, which is dark on a light page too, the colours of a dark page are seen best.
const LIT = { top: "#f2c36b", bottom: "#a478f9", now: "#72f2b2" };
const NIGHT = "#0b0d16";
/** @type {string[]} */
const ENERGY = [/*ENERGY*/];

// --- what is computed: index walks, backwards through the layers. Proved equal to the declared fields of
// CausalVQVAE2 for every size, level and cell, and to its gradient.

/** @param {Span} cells @param {number} half @returns {Span} */
const same = ([a, b], half) => [a - half, b + half];
/** @param {Span} cells @returns {Span} */
const down = ([a, b]) => [2 * a - 1, 2 * b + 2];
/** @param {Span} cells @returns {Span} */
const up = ([a, b]) => [Math.floor((a - 1) / 2), Math.floor((b + 1) / 2)];
/** @param {Span} cells @param {number} limit @returns {Span} */
const clip = ([a, b], limit) => [Math.max(0, a), Math.min(limit, b)];
/** @param {Reads | null} reads */
const area = (reads) => (reads ? (reads.back + 1) * (reads.bands[1] - reads.bands[0] + 1) : 0);

/** The code that lies over the chosen band. @param {State} s */
export const cellOf = (s) => Math.floor(s.band / BANDS[s.level]);

/** What the code (or output band) reads: frames back and first and last band, by itself and through the tops. */
/** @param {State} s */
function readState(s) {
  const c = cellOf(s);
  const once = (s.kernel - 1) * (s.blocks + 1);
  const wide = (/** @type {Span} */ cells) => same(cells, once / 2);
  const bands = (/** @type {Span} */ cells) => clip(down(down(wide(cells))), MELS - 1);
  const stacks = { top: 2, bottom: 3, output: 4 }[s.level];
  /** @type {Span | null} */
  const bottoms = s.level === "top" ? null : s.level === "bottom" ? [c, c] : wide(up(up([c, c])));
  const tops = bottoms ? wide(up(bottoms)) : /** @type {Span} */ ([c, c]);
  const through = { back: stacks * once, bands: clip(down(down(wide(down(wide(tops))))), MELS - 1) };
  const direct = bottoms && { back: (stacks - 2) * once, bands: bands(bottoms) };
  return {
    direct,
    through,
    tops: clip(tops, 9),
    bottoms: bottoms && clip(bottoms, 19),
    past: through.back,
    size: through.back + 1,
    bands: through.bands[1] - through.bands[0] + 1,
    cells: area(through),
    only: area(through) - area(direct),
  };
}

/** What the trained weights look at, where that is known. @param {State} s */
const influence = (s) =>
  s.blocks === s.trained[0] && s.kernel === s.trained[1] ? s.influence[s.level]?.[cellOf(s)] : undefined;

// --- what is drawn: one string of SVG

/** Where the spectrogram and its frames lie. @param {State} s @param {number} width */
function places(s, width) {
  const right = width - (isWide(width) ? 132 : 92);
  const dx = (right - GUTTER) / s.frames;
  return { right, dx, x: (/** @type {number} */ t) => GUTTER + t * dx };
}

/** @param {number} band */
const y = (band) => FLOOR - band * BAND;

/** What the trained weights read, brighter where they read more. @param {State} s @param {number} width */
function lights(s, width) {
  const found = s.weights ? influence(s) : undefined;
  const { x, dx } = places(s, width);
  /** @type {Map<string, string>} */
  const paths = new Map();
  if (!found) return "";
  for (let age = 0; age * MELS < found.table.length && age <= s.frame; age++) {
    for (let band = 0, run = 1; band < MELS; band += run) {
      const at = age * MELS + band;
      const level = found.table[at];
      for (run = 1; band + run < MELS && found.table[at + run] === level;) run++;
      if (level === "0") continue;
      const piece = `M${tidy(x(s.frame - age))} ${y(band + run)}h${tidy(dx)}v${run * BAND}h${tidy(-dx)}z`;
      paths.set(level, (paths.get(level) ?? "") + piece);
    }
  }
  const levels = [...paths.keys()].sort();
  return levels.map((level) => `<path fill="${ENERGY[5 + 3 * +level]}" d="${paths.get(level)}"/>`).join("");
}

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const f = readState(s);
  const { right, x } = places(s, width);
  const line = x(s.frame + 1);
  const lit = lights(s, width);
  /** @param {Reads} reads @returns {[number, number, number, number]} */
  const box = ({ back, bands: [low, high] }) => {
    const from = x(Math.max(0, s.frame - back));
    return [from, y(high + 1), line - from, (high - low + 1) * BAND];
  };
  /** @param {Reads} reads @param {string} look */
  const frame = (reads, look) => rect(look, ...box(reads));
  /** @param {Reads} reads */
  const hole = (reads) => {
    const [a, b, w, h] = box(reads);
    return `M${tidy(a)} ${b}h${tidy(w)}v${h}h${tidy(-w)}z`;
  };
  /** @param {number} opacity @param {string} d */
  const dark = (opacity, d) => `<path fill="${NIGHT}" fill-rule="evenodd" opacity="${opacity}" d="${d}"/>`;
  let out = hatch(id, 'stroke="#b9bdc6" stroke-width="1.6" opacity=".5"');
  out += image(GUTTER, TOP, right - GUTTER, MELS * BAND, s.image);
  out += dark(0.62, `M${GUTTER} ${TOP}H${tidy(line)}V${FLOOR}H${GUTTER}z${hole(f.through)}`);
  if (f.direct) out += dark(0.34, hole(f.through) + hole(f.direct));
  if (lit) out += frame(f.through, `fill="${NIGHT}"`) + lit;
  for (const look of [`fill="${NIGHT}" opacity=".8"`, `fill="url(#${id}h)"`])
    out += rect(look, line, TOP, right - line, MELS * BAND);
  out += frame(f.through, `fill="none" stroke="${LIT.top}" stroke-width="2"`);
  if (f.direct) out += frame(f.direct, `fill="none" stroke="${LIT.bottom}" stroke-width="2.5"`);
  out += `<path d="M${tidy(line)} ${TOP - 4}V${FLOOR + 4}" stroke="${LIT.now}" stroke-width="2"/>`;
  out += columns(s, width, right) + nowAbove(line, GUTTER, right, TOP - 10);
  out += text("cc-quiet", GUTTER - 8, TOP + 10, "8 kHz", "end") + text("cc-quiet", GUTTER - 8, FLOOR, "50 Hz", "end");
  return out + axis(s, width);
}

/** @param {State} s @param {number} width */
function axis(s, width) {
  const { right, dx, x } = places(s, width);
  const centred = (/** @type {number} */ t) => x(t + 0.5);
  const across = { a: 0, b: s.frames - 1, x: centred, dx, now: s.frame, left: GUTTER, right };
  return timeAxis({ ...across, y: FLOOR + 4, rateHz: RATE_HZ });
}

/** The codes of the chosen frame as two columns of cells: which one is asked, which it reads. */
/** @param {State} s @param {number} width @param {number} right */
function columns(s, width, right) {
  const f = readState(s);
  const chosen = cellOf(s);
  let out = "";
  for (const level of /** @type {const} */ (["top", "bottom"])) {
    const at = right + EDGE + 10 + (level === "top" ? 0 : isWide(width) ? 54 : 38);
    const tall = BANDS[level] * BAND;
    const read = level === "top" ? f.tops : f.bottoms;
    const part = { off: "", on: "", one: "" };
    for (let c = 0; c < MELS / BANDS[level]; c++) {
      const kind = s.level === level && c === chosen ? "one" : read && c >= read[0] && c <= read[1] ? "on" : "off";
      part[kind] += `M${at} ${FLOOR - (c + 1) * tall + 1}h${CELLS}v${tall - 2}h${-CELLS}z`;
    }
    if (part.off) out += `<path fill="var(--cc-muted)" opacity=".25" d="${part.off}"/>`;
    if (part.on) out += `<path fill="var(--cc-${level})" opacity=".6" d="${part.on}"/>`;
    if (part.one) out += `<path fill="var(--cc-${level})" d="${part.one}"/>`;
    const look = `text-anchor="middle" style="fill:var(--cc-${level})"`;
    out += `<text x="${at + CELLS / 2}" y="${TOP - 10}" ${look}>${level}</text>`;
  }
  const marker = `M${right + 4} ${tidy(FLOOR - (chosen + 0.5) * BAND)}l10 -5v10z`;
  return s.level === "output" ? `${out}<path fill="var(--cc-present)" d="${marker}"/>` : out;
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const { past, through, direct } = readState(s);
  const zeros = Math.max(0, past - s.frame);
  /** @param {Reads} reads */
  const bands = ({ bands: [low, high] }) => `bands ${low} to ${high}`;
  const before = `${plural(past, "frame")} before it, ${bands(through)}`;
  const own = direct && `; by itself only ${plural(direct.back, "frame")} back, ${bands(direct)}`;
  const rest = own ? `${own}. The rest comes through the tops` : "";
  const edge = zeros ? ` The first ${plural(zeros, "frame")} of these came before the recording: zeros.` : "";
  return `${NAMES[s.level]} ${cellOf(s)} reads the present and ${before}${rest}.${edge}`;
}

/** @param {State} s */
function readouts(s) {
  const { past, bands, cells, only } = readState(s);
  /** @param {number} frames */
  const long = (frames) => ({ value: frames, text: plural(frames, "frame"), note: duration(frames, RATE_HZ) });
  const known = influence(s);
  return [
    { key: "past", label: "Past", ...long(past) },
    { key: "bands", label: "Bands", value: bands, text: `${bands} of ${MELS}` },
    { key: "cells", label: "Values that it can read", value: cells, text: plural(cells, "value") },
    { key: "only", label: "Only through the tops", value: only, text: plural(only, "value") },
    { key: "ahead", label: "Look-ahead", ...long(0) },
    {
      key: "half",
      label: "Trained: 99 % within",
      ...(known ? long(known.within) : { value: -1, text: "not measured" }),
    },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["level", "band", "frame", "blocks", "kernel", "weights", "frames", "image", "influence", "trained"],
  settled(s) {
    settle(s, { band: [0, MELS - 1], frame: [0, s.frames - 1], blocks: [1, 3] });
    s.kernel = s.kernel >= 4 ? 5 : 3;
    if (!(s.level in BANDS)) s.level = "bottom";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: FLOOR + 48,
  sentence,
  readouts,
  controls: () => [
    choice("level", "What reads", [
      ["top", "top code"],
      ["bottom", "bottom code"],
      ["output", "output"],
    ]),
    slider("band", "Height", upTo(0, MELS - 1), (band, s) => {
      return `band ${band}${s.level === "output" ? "" : `, code ${cellOf(s)}`}`;
    }),
    slider("frame", "Frame", (s) => upTo(0, s.frames - 1)),
    slider("blocks", "Residual blocks", [1, 2, 3]),
    choice("kernel", "Kernel", [
      [3, "3"],
      [5, "5"],
    ]),
    toggle("weights", "What the trained weights do read"),
  ],
  range: (s) => [0, s.frame, s.frames - 1],
  move: "frame",
  press: (s) => ({ ArrowDown: { band: s.band - BANDS[s.level] }, ArrowUp: { band: s.band + BANDS[s.level] } }),
  at(s, px, py, width) {
    return { frame: Math.floor((px - GUTTER) / places(s, width).dx), band: Math.floor((FLOOR - py) / BAND) };
  },
};

export default explorer(declaration);
