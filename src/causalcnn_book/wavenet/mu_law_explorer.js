// The μ-law explorer: a sound in 2^b bins, equally wide or narrow around silence, by eye and by ear.
import {
  choice,
  count,
  duration,
  explorer,
  isWide,
  path,
  plural,
  settle,
  slider,
  text,
  tidy,
  titleOver,
  upTo,
  valueAxis,
} from "../explorer.js";
import { player } from "../player.js";

/** @import { Declaration } from "../types" */
/** @typedef {"mu" | "uniform"} Law */
/**
 * @typedef {{ bits: number, law: Law, loud: number[], quiet: number[], snr_db: Record<Law, number[]>,
 *   quiet_snr_db: Record<Law, number[]> }} State
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 28;
const PANEL = 150;
const GAP = 44;
const HEIGHT = HEAD + 2 * PANEL + GAP + 44;
const RATE = 16000;
const FULL = 32768;
const [LEAST, MOST] = [2, 8];
const NAMES = { mu: "μ-law", uniform: "equal bins" };

// --- what is computed. Proved equal to causalcnn.speech.mu_law_encode and mu_law_decode.

/** @param {number} x @param {number} bits */
const compressed = (x, bits) => (Math.sign(x) * Math.log1p((2 ** bits - 1) * Math.abs(x))) / Math.log1p(2 ** bits - 1);

/** @param {number} y @param {number} bits */
const expanded = (y, bits) => (Math.sign(y) * Math.expm1(Math.abs(y) * Math.log1p(2 ** bits - 1))) / (2 ** bits - 1);

/** The bin of a sample in −1 … 1. @param {number} x @param {number} bits @param {Law} law */
export function encode(x, bits, law) {
  const y = law === "mu" ? compressed(x, bits) : x;
  return Math.max(0, Math.min(2 ** bits - 1, Math.floor((y + 1) * 2 ** (bits - 1))));
}

/** The sample that stands for a bin, or for a place between bins. */
/** @param {number} bin @param {number} bits @param {Law} law */
export function decode(bin, bits, law) {
  const y = (bin + 0.5) / 2 ** (bits - 1) - 1;
  return law === "mu" ? expanded(y, bits) : y;
}

/** Where a bin begins, from 0 to 2^bits. @param {number} bin @param {number} bits @param {Law} law */
export const edge = (bin, bits, law) => decode(bin - 0.5, bits, law);

/** @param {State} s */
const readState = (s) => ({
  bins: 2 ** s.bits,
  narrowest: edge(2 ** (s.bits - 1) + 1, s.bits, s.law),
  widest: 1 - edge(2 ** s.bits - 1, s.bits, s.law),
  snr_db: s.snr_db[s.law][s.bits - LEAST],
  quiet_snr_db: s.quiet_snr_db[s.law][s.bits - LEAST],
  rate: s.bits * RATE,
});

// --- what is drawn: one string of SVG

/** One piece of sound, its bins, and what is left of it. */
/** @param {State} s @param {number[]} samples @param {number} top @param {number} width @param {string} title */
function panel(s, samples, top, width, title) {
  const right = width - MARGIN;
  const high = Math.max(1, ...samples.map(Math.abs)) / FULL;
  const dx = (right - LEFT) / samples.length;
  /** @param {number} value */
  const y = (value) => top + (PANEL * (1 - Math.max(-1, Math.min(1, value / (1.15 * high))))) / 2;
  let edges = "";
  for (let bin = 0; bin <= 2 ** s.bits; bin++) {
    const value = edge(bin, s.bits, s.law);
    // Where lines would lie closer than they are wide, they would be a wall of paint.
    const far = Math.abs(y(edge(bin + 1, s.bits, s.law)) - y(value));
    if (Math.abs(value) <= 1.15 * high && far > 3) edges += `M${LEFT} ${tidy(y(value))}H${tidy(right)}`;
  }
  /** @param {(n: number) => number} to */
  const line = (to) => samples.map((n, t) => `${tidy(LEFT + (t + 0.5) * dx)} ${tidy(y(to(n / FULL)))}`).join("L");
  let out = path("cc-tick", edges, 'style="stroke:var(--cc-grid)"');
  out += path("cc-skip", `M${line((x) => x)}`);
  const kept = line((x) => decode(encode(x, s.bits, s.law), s.bits, s.law));
  out += path("cc-span cc-past", `M${kept}`, 'style="stroke-width:1.8"');
  const round = Number((0.8 * high).toPrecision(1));
  out += valueAxis(LEFT, [-round, 0, round], y);
  return out + titleOver(LEFT, top - 10, title);
}

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const wide = isWide(width);
  const second = HEAD + PANEL + GAP;
  let out = panel(s, s.loud, HEAD, width, wide ? "a vowel: as it is, and what its bins keep" : "a vowel, and its bins");
  out += panel(
    s,
    s.quiet,
    second,
    width,
    wide ? "a quiet moment of the same sentence, enlarged" : "a quiet moment, enlarged",
  );
  for (const share of [0, 0.5, 1]) {
    const x = LEFT + share * (width - MARGIN - LEFT);
    const anchor = share === 1 ? "end" : share ? "middle" : "start";
    out += path("cc-tick", `M${tidy(x)} ${second + PANEL}v5`);
    out += text("cc-digits cc-quiet", x, second + PANEL + 20, duration(share * s.quiet.length, RATE), anchor);
  }
  return out;
}

// --- what is said

/** @param {number} value */
const decibels = (value) => `${value.toFixed(1).replace("-", "−")} dB`;

/** @param {State} s */
function sentence(s) {
  const { bins, snr_db, quiet_snr_db } = readState(s);
  const kind = s.law === "mu" ? "narrow around silence" : "equally wide";
  const where = `Speech lies ${decibels(snr_db)} above the error, its quiet half ${decibels(quiet_snr_db)}.`;
  return `A sample is in one of ${bins} bins, ${kind}. ${where}`;
}

/** A width as a share of full scale. @param {number} value */
const share = (value) => `1/${count(Math.round(1 / value))}`;

/** @param {State} s */
function readouts(s) {
  const { narrowest, widest, snr_db, quiet_snr_db, rate } = readState(s);
  return [
    { key: "narrowest", label: "Bin at silence", value: narrowest, text: share(narrowest) },
    { key: "widest", label: "Bin at full scale", value: widest, text: share(widest) },
    { key: "rate", label: "A second", value: rate, text: `${count(rate)} bits` },
    { key: "snr", label: "Signal to error", value: snr_db, text: decibels(snr_db) },
    { key: "quiet_snr", label: "In the quiet half", value: quiet_snr_db, text: decibels(quiet_snr_db) },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["bits", "law", "loud", "quiet", "snr_db", "quiet_snr_db"],
  settled(s) {
    settle(s, { bits: [LEAST, MOST] });
    if (!(s.law in NAMES)) s.law = "mu";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: HEIGHT,
  sentence,
  readouts,
  controls: (model) => {
    /** @type {Record<Law, string[]>} */
    const sounds = model.get("sounds");
    const now = (/** @type {State} */ s) => {
      return { title: `${plural(s.bits, "bit")}, ${NAMES[s.law]}`, mp3: sounds[s.law][s.bits - LEAST] };
    };
    return [
      ...(sounds.mu.length ? [player(now)] : []),
      slider("bits", "Bits a sample", upTo(LEAST, MOST), (b) => `${plural(b, "bit")}, ${2 ** b} bins`),
      choice("law", "Bins", [
        ["mu", "μ-law"],
        ["uniform", "all equal"],
      ]),
    ];
  },
  range: (s) => [LEAST, s.bits, MOST],
  spoken: (s) => `${plural(s.bits, "bit")}. ${sentence(s)}`,
  move: "bits",
};

export default explorer(declaration);
