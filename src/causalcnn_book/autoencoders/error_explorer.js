// The error explorer: one spectrogram, damaged in several ways that are equally wrong, by eye and by ear.
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import {
  choice,
  explorer,
  image,
  isWide,
  nearestStop,
  path,
  remembered,
  secondsAxis,
  slider,
  text,
  tidy,
  titleOver,
} from "../explorer.js";
import { noise } from "../noise.js";
import { player } from "../player.js";

/** @import { Declaration } from "../types" */
/** @typedef {"none" | "pauses" | "formants" | "later" | "higher" | "everywhere" | "blurred" | "quieter"} Kind */
/**
 * @typedef {{ kind: Kind, error: number, errors: number[], cells: string, strengths: Partial<Record<Kind, number[]>>,
 *   masked_db: Partial<Record<Kind, number[]>> }} State
 * @typedef {{ of: string, frames: number, values: number[] }} Spectrogram values at t · 80 + band, in dB
 */

const MELS = 80;
const SHARE = 5;
const FLOOR = -70;
const WIDEST = 4;
const LEFT = 58;
const MARGIN = 10;
const HEAD = 28;
const TALL = 160;
const GAP = 34;
const SECOND = HEAD + TALL + GAP;
const RATE = 100;
const MOST = 30;
/** @type {Record<Kind, string>} */
const NAMES = {
  none: "as it is",
  pauses: "noise in pauses",
  formants: "noise in formants",
  later: "later",
  higher: "higher",
  everywhere: "noise everywhere",
  blurred: "blurred",
  quieter: "quieter",
};

// --- what is computed. Proved equal to causalcnn_book.autoencoders.distorted for every kind and error.

/** @type {(s: State) => Spectrogram} */
const original = remembered(
  (/** @type {State} */ s) => s.cells,
  (s) => {
    const values = bytesOf(s.cells).map((b) => b / 2 + FLOOR);
    return { of: s.cells, frames: values.length / MELS, values };
  },
);

/** @param {number[]} numbers */
const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

/** Whether a cell is in the quietest fifth of the frames. @param {Spectrogram} x */
function pauses({ frames, values }) {
  const loudness = Array.from({ length: frames }, (_, t) =>
    values.slice(t * MELS, (t + 1) * MELS).reduce((a, b) => a + b),
  );
  const most = ascending(loudness)[Math.ceil(frames / SHARE) - 1];
  return (/** @type {number} */ cell) => loudness[Math.floor(cell / MELS)] <= most;
}

/** Whether a cell is in the loudest fifth of the cells. @param {Spectrogram} x */
function formants({ values }) {
  const least = ascending(values)[values.length - Math.ceil(values.length / SHARE)];
  return (/** @type {number} */ cell) => values[cell] >= least;
}

/** The value at a place that may lie between cells or beyond them. */
/** @param {Spectrogram} x @param {number} t @param {number} band */
function at({ frames, values }, t, band) {
  t = Math.max(0, Math.min(frames - 1, t));
  return values[t * MELS + Math.max(0, Math.min(MELS - 1, band))];
}

/** Each value from some places before. @param {Spectrogram} x @param {number} dt @param {number} db */
function moved(x, dt, db) {
  return x.values.map((_, cell) => {
    const t = Math.floor(cell / MELS) - dt;
    const band = (cell % MELS) - db;
    const [t0, b0] = [Math.floor(t), Math.floor(band)];
    const weight = t - t0 + (band - b0); // only one of the two is not whole
    return (1 - weight) * at(x, t0, b0) + weight * at(x, t0 + (dt ? 1 : 0), b0 + (db ? 1 : 0));
  });
}

/** Averages weighted by a Gaussian, first over bands, then over frames. @param {Spectrogram} x @param {number} width */
function blurred(x, width) {
  const reach = Math.ceil(WIDEST * width);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / width) ** 2));
  const all = weights.reduce((a, b) => a + b);
  for (const [dt, db] of [
    [0, 1],
    [1, 0],
  ]) {
    const from = x;
    const mean = (/** @type {number} */ t, /** @type {number} */ band) =>
      weights.reduce((sum, w, i) => sum + (w / all) * at(from, t + dt * (i - reach), band + db * (i - reach)), 0);
    x = { ...x, values: x.values.map((_, cell) => mean(Math.floor(cell / MELS), cell % MELS)) };
  }
  return x.values;
}

/** The values after a damage. @param {Spectrogram} x @param {Kind} kind @param {number} strength */
export function distorted(x, kind, strength) {
  /** @param {(cell: number) => boolean} hit */
  const noisy = (hit) => x.values.map((v, cell) => (hit(cell) ? v + strength * noise(cell) : v));
  /** @type {Record<Kind, () => number[]>} */
  const ways = {
    none: () => x.values,
    pauses: () => noisy(pauses(x)),
    formants: () => noisy(formants(x)),
    everywhere: () => noisy(() => true),
    later: () => moved(x, strength, 0),
    higher: () => moved(x, 0, strength),
    blurred: () => blurred(x, strength),
    quieter: () => x.values.map((v) => v - strength),
  };
  return ways[kind]().map((v) => Math.max(FLOOR, v));
}

/** @param {State} s @param {Partial<Record<Kind, number[]>>} of */
const found = (s, of) => of[s.kind]?.[s.errors.indexOf(s.error)] ?? 0;

const damaged = remembered(
  (/** @type {State} */ s) => `${s.kind} ${s.error} ${s.cells}`,
  (s) => {
    const x = original(s);
    const values = distorted(x, s.kind, found(s, s.strengths));
    return { values, gaps: values.map((v, i) => Math.abs(v - x.values[i])) };
  },
);

/** @param {State} s */
function readState(s) {
  const { gaps } = damaged(s);
  return {
    error_db: Math.sqrt(gaps.reduce((sum, gap) => sum + gap * gap, 0) / gaps.length),
    largest_db: gaps.reduce((a, b) => Math.max(a, b), 0),
    strength: found(s, s.strengths),
    masked_db: found(s, s.masked_db),
  };
}

// --- what is drawn: one string of SVG

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const { frames, values: before } = original(s);
  const { values, gaps } = damaged(s);
  const right = width - MARGIN;
  const wide = isWide(width);
  const loudest = before.reduce((a, b) => Math.max(a, b), FLOOR + 1);
  /** @param {number} share */
  const level = (share) => Math.round(255 * Math.max(0, Math.min(1, share)));
  const sounding = values.map((v) => level((v - FLOOR) / (loudest - FLOOR)));
  const wrong = gaps.map((gap) => level(gap / MOST));
  let out = image(LEFT, HEAD, right - LEFT, TALL, spectrogramBmp(sounding, frames, 8));
  out += image(LEFT, SECOND, right - LEFT, TALL, spectrogramBmp(wrong, frames, 8));
  out += titleOver(LEFT, HEAD - 10, wide ? `the spectrogram, ${NAMES[s.kind]}` : NAMES[s.kind]);
  out += titleOver(LEFT, SECOND - 10, wide ? `where it is wrong: bright is ${MOST} dB and more` : "where it is wrong");
  for (const top of [HEAD, SECOND]) {
    out += text("cc-quiet", LEFT - 8, top + 12, "8 kHz", "end");
    out += text("cc-quiet", LEFT - 8, top + TALL - 2, "50 Hz", "end");
    out += path("cc-tick", `M${LEFT} ${top + TALL}H${tidy(right)}`);
  }
  return out + secondsAxis(frames, LEFT, (right - LEFT) / frames, SECOND + TALL, RATE);
}

// --- what is said

/** @param {number} value */
const decibels = (value) => `${value.toFixed(1).replace("-", "−")} dB`;

/** How strong the damage is, in its own unit. @param {State} s @param {number} strength */
function amount(s, strength) {
  if (s.kind === "none") return "none";
  if (s.kind === "later") return `${(10 * strength).toFixed(1)} ms`;
  if (s.kind === "higher") return `${strength.toFixed(2)} bands`;
  return s.kind === "blurred" ? `${strength.toFixed(2)} cells` : decibels(strength);
}

/** @type {Record<Kind, (how: string) => string>} */
const TELLS = {
  none: () => "Nothing is changed, but the sound is made of the spectrogram alone.",
  pauses: (how) => `Noise of ${how} lies in the quietest fifth of the frames.`,
  formants: (how) => `Noise of ${how} lies in the loudest fifth of the cells.`,
  later: (how) => `All comes ${how} later.`,
  higher: (how) => `All lies ${how} higher.`,
  everywhere: (how) => `Noise of ${how} lies everywhere.`,
  blurred: (how) => `All is blurred, by ${how} on either side.`,
  quieter: (how) => `All is ${how} quieter.`,
};

/** @param {State} s */
function sentence(s) {
  const { error_db, strength, masked_db } = readState(s);
  const does = TELLS[s.kind](amount(s, strength));
  if (s.kind === "none") return does;
  return `${does} The error is ${decibels(error_db)}, of which louder neighbors leave ${decibels(masked_db)}.`;
}

/** @param {State} s */
function readouts(s) {
  const { error_db, largest_db, strength, masked_db } = readState(s);
  return [
    { key: "error", label: "Error", value: error_db, text: decibels(error_db) },
    { key: "masked", label: "Not covered", value: masked_db, text: decibels(masked_db) },
    { key: "strength", label: "Damage", value: strength, text: amount(s, strength) },
    { key: "largest", label: "Largest in a cell", value: largest_db, text: decibels(largest_db) },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["kind", "error", "errors", "cells", "strengths", "masked_db"],
  settled(s) {
    if (!(s.kind in NAMES) || (s.kind !== "none" && !s.strengths[s.kind])) s.kind = "none";
    s.error = s.errors[nearestStop(s.errors, s.error)];
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: SECOND + TALL + 30,
  sentence,
  readouts,
  controls: (model) => {
    /** @type {Partial<Record<Kind, string[]>>} */
    const sounds = model.get("sounds");
    const kinds = /** @type {Kind[]} */ (["none", ...Object.keys(model.get("strengths"))]);
    const now = (/** @type {State} */ s) => {
      const mp3 = s.kind === "none" ? sounds.none?.[0] : sounds[s.kind]?.[s.errors.indexOf(s.error)];
      return { title: s.kind === "none" ? NAMES.none : `${NAMES[s.kind]}, ${s.error} dB`, mp3: mp3 ?? "" };
    };
    return [
      ...(sounds.none ? [player(now)] : []),
      choice(
        "kind",
        "Damage",
        kinds.map((kind) => [kind, NAMES[kind]]),
      ),
      slider(
        "error",
        "Error",
        (s) => s.errors,
        (db) => `${db} dB`,
        (s) => s.kind !== "none",
      ),
    ];
  },
  range: (s) => [0, s.errors.indexOf(s.error), s.errors.length - 1],
  spoken: (s) => `${NAMES[s.kind]}, ${s.error} dB. ${sentence(s)}`,
  move: (place, s) => ({ error: s.errors[place] }),
};

export default explorer(declaration);
