// The bins explorer: a spectrogram as it is and in 2^b bins, one frame as 80 categories, and its sound.
import {
  count,
  duration,
  explorer,
  image,
  isWide,
  path,
  plural,
  remembered,
  secondsAxis,
  settle,
  slider,
  text,
  tidy,
  upTo,
  valueAxis,
} from "../explorer.js";
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import { player } from "../player.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ bits: number, frame: number, frames: number, indices: string, low_db: number, high_db: number,
 *   errors: number[] }} State
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 26;
const PANEL = 96;
const GAP = 34;
const FRAME = 190;
const FOOT = 46;
const SECOND = HEAD + PANEL + GAP;
const RATE = 100;
const MELS = 80;
const MOST = 8;

// --- what is computed. Proved equal to causalcnn for every setting.

/** The bin among 256 as one of fewer bins. @param {number} index @param {number} bits */
export const coarser = (index, bits) => index >> (MOST - bits);

/** @param {number} n */
const raised = (n) => String(n).replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[+d]);

/** 2 to the power of `bits` with three digits. @param {number} bits */
export function states(bits) {
  const digits = String(2n ** BigInt(bits));
  const power = digits.length - 1;
  const head = Math.floor((+digits.slice(0, 4).padEnd(4, "0") + 5) / 10);
  if (head === 1000) return `1.00 × 10${raised(power + 1)}`;
  return `${hundredths(head / 100)} × 10${raised(power)}`;
}

/** @param {number} value */
const hundredths = (value) => {
  const n = Math.floor(value * 100 + 0.5);
  return `${Math.floor(n / 100)}.${String(n % 100).padStart(2, "0")}`;
};

/** @param {State} s */
const readState = (s) => ({
  bins: 2 ** s.bits,
  step_db: (s.high_db - s.low_db) / 2 ** s.bits,
  error_db: s.errors[s.bits - 1] / 100,
  frame_bits: MELS * s.bits,
  rate: MELS * s.bits * RATE,
  states: states(MELS * s.bits),
});

// --- what is drawn: one string of SVG.

// A move of the frame redraws neither picture, and a bin's is drawn once.
const decoded = remembered(
  (/** @type {State} */ s) => `${s.frames} ${s.indices}`,
  (s) => ({ table: bytesOf(s.indices), drawn: /** @type {string[]} */ ([]) }),
);

/** @param {State} s @param {number} bits */
function spectrogram(s, bits) {
  const { table, drawn } = decoded(s);
  return (drawn[bits] ??= spectrogramBmp(table, s.frames, bits));
}

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const right = width - MARGIN;
  const dx = (right - LEFT) / s.frames;
  const now = tidy(LEFT + (s.frame + 0.5) * dx);
  /** @param {number} bits @param {number} y @param {string} title */
  const panel = (bits, y, title) =>
    text("cc-title", LEFT, y - 8, title) +
    image(LEFT, y, right - LEFT, PANEL, spectrogram(s, bits)) +
    text("cc-quiet", LEFT - 8, y + PANEL / 2 + 4, "bands", "end") +
    path("cc-now cc-bright", `M${now} ${y}v${PANEL}`);
  const out = panel(MOST, HEAD, "as it is") + panel(s.bits, SECOND, `in ${count(2 ** s.bits)} bins`);
  return out + secondsAxis(s.frames, LEFT, dx, SECOND + PANEL, RATE) + framePicture(s, right, isWide(width));
}

/** @param {State} s @param {number} right @param {boolean} wide */
function framePicture(s, right, wide) {
  const top = SECOND + PANEL + GAP + GAP;
  const each = (right - LEFT) / MELS;
  const high = FRAME / 2 ** s.bits;
  const indices = decoded(s).table.slice(s.frame * MELS, (s.frame + 1) * MELS);
  const bins = indices.map((index, band) => {
    const y = top + FRAME - (coarser(index, s.bits) + 0.5) * high;
    return `M${tidy(LEFT + band * each + 0.4)} ${tidy(y)}h${tidy(Math.max(1, each - 0.8))}`;
  });
  const line = indices.map(
    (index, band) => `${tidy(LEFT + (band + 0.5) * each)} ${tidy(top + FRAME * (1 - (index + 0.5) / 256))}`,
  );
  let out = text(
    "cc-title",
    LEFT,
    top - 10,
    `the frame at ${duration(s.frame, RATE)}${wide ? ": a bin for each band" : ""}`,
  );
  for (const n of s.bits <= 5 ? upTo(0, 2 ** s.bits) : [])
    out += path("cc-tick", `M${LEFT} ${tidy(top + n * high)}H${tidy(right)}`, 'style="stroke:var(--cc-grid)"');
  out += path("cc-span cc-past", bins.join(""), `style="stroke-width:${tidy(Math.max(2, high))};opacity:.55"`);
  out += path("cc-now", `M${line.join("L")}`);
  const decibels = upTo(Math.ceil(s.low_db / 20) * 20, Math.floor(s.high_db), 20);
  out += valueAxis(LEFT, decibels, (db) => top + FRAME * (1 - (db - s.low_db) / (s.high_db - s.low_db)));
  for (const band of [1, 20, 40, 60, 80])
    out += text("cc-digits cc-quiet", LEFT + (band - 0.5) * each, top + FRAME + 18, band, "middle");
  out += text("cc-quiet", LEFT - 9, top - 10, "dB", "end");
  return out + text("cc-quiet", (LEFT + right) / 2, top + FRAME + 37, "mel band, from low to high", "middle");
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const { bins, step_db, error_db } = readState(s);
  const value = `With ${plural(s.bits, "bit")} a value is one of ${bins} bins, each ${hundredths(step_db)} dB wide.`;
  return `${value} What comes back is off by ${hundredths(error_db)} dB.`;
}

/** @param {State} s */
function readouts(s) {
  const { step_db, error_db, frame_bits, rate, states } = readState(s);
  return [
    { key: "width", label: "A bin", value: step_db, text: `${hundredths(step_db)} dB` },
    { key: "error", label: "Error, rms", value: error_db, text: `${hundredths(error_db)} dB` },
    { key: "frame", label: "A frame", value: frame_bits, text: `${count(frame_bits)} bits` },
    { key: "rate", label: "A second", value: rate, text: `${count(rate)} bits` },
    { key: "states", label: "States of a frame", value: states, text: states, note: `2${raised(frame_bits)}` },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["bits", "frame", "frames", "indices", "low_db", "high_db", "errors"],
  settled: (s) => settle(s, { bits: [1, MOST], frame: [0, s.frames - 1] }),
  read: readState,
  picture: drawPicture,
  height: SECOND + PANEL + GAP + GAP + FRAME + FOOT,
  sentence,
  readouts,
  controls: (model) => {
    /** @type {string[]} */
    const sounds = model.get("sounds");
    const now = (/** @type {State} */ s) => ({ title: `Its sound in ${2 ** s.bits} bins`, mp3: sounds[s.bits - 1] });
    return [
      ...(sounds.length === MOST ? [player(now)] : []),
      slider("bits", "Bits a value", upTo(1, MOST), (b) => `${plural(b, "bit")}, ${2 ** b} bins`),
      slider(
        "frame",
        "Frame",
        (s) => upTo(0, s.frames - 1),
        (t) => `frame ${t}, ${duration(t, RATE)}`,
      ),
    ];
  },
  range: (s) => [0, s.frame, s.frames - 1],
  spoken: (s) => `frame ${s.frame}, ${duration(s.frame, RATE)}`,
  move: "frame",
  at(s, x, y, width) {
    if (y >= SECOND + PANEL + 24) return undefined;
    return { frame: Math.floor(((x - LEFT) / (width - MARGIN - LEFT)) * s.frames) };
  },
};

export default explorer(declaration);
