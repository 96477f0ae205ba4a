// The ranges explorer: a bang, and what it does to the bins before and after it under three kinds of range.
import {
  choice,
  closed,
  count,
  duration,
  explorer,
  hatch,
  isWide,
  path,
  plural,
  secondsAxis,
  settle,
  slider,
  styled,
  text,
  tidy,
  titleOver,
  upTo,
  valueAxis,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ way: "recording" | "fixed" | "running", bang_db: number, at: number, values: number[], low_db: number,
 *   high_db: number, rise_db: number, fall_db_per_second: number }} State
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 44;
const VALUES = 170;
const GAP = 44;
const BINS = 130;
const FOOT = 30;
const SECOND = HEAD + VALUES + GAP;
const RATE = 100;
const LENGTH = 5;
const GRID = 2 ** 20;
const LEAST = -100;
const MOST = 60;
const WAYS = { recording: "The recording's own range", fixed: "The fixed range", running: "The running range" };

// --- what is computed. Proved equal to causalcnn.speech for every setting.

/** The values with the bang in them. @param {State} s */
export const heard = (s) => s.values.map((v, t) => (t >= s.at && t < s.at + LENGTH ? s.bang_db : v));

/** Where a running range is at every frame, in parts of the range. @param {State} s @param {number[]} places */
function moves(s, places) {
  const span = s.high_db - s.low_db;
  const rise = Math.max(1, Math.floor((s.rise_db / span) * GRID + 0.5));
  const fall = Math.floor((s.fall_db_per_second / RATE / span) * GRID + 0.5);
  const highest = Math.floor((100 / span) * GRID + 0.5);
  let offset = 0;
  return places.map((place) => {
    const here = offset;
    if (place - offset >= GRID - GRID / 256) offset = Math.min(offset + rise, highest);
    else if (place - offset >= GRID / 2) offset -= fall;
    return here;
  });
}

/** Bin indices of 8 bits, and for every frame the two ends of its range. @param {State} s @param {number[]} values */
export function coded(s, values) {
  const own = s.way === "recording";
  const low = own ? Math.min(...values) : s.low_db;
  const high = own ? Math.max(...values) : s.high_db;
  const span = high - low;
  const places = values.map((v) => Math.floor(((v - low) / (span || 1)) * GRID));
  const offsets = s.way === "running" ? moves(s, places) : places.map(() => 0);
  return {
    indices: places.map((p, t) => Math.max(0, Math.min(255, Math.floor((p - offsets[t]) / (GRID / 256))))),
    low: offsets.map((o) => low + (o / GRID) * span),
    high: offsets.map((o) => high + (o / GRID) * span),
  };
}

/** How many bins before the bang moved and how far at most, and how many after it moved. @param {State} s */
function readState(s) {
  const quiet = coded(s, s.values).indices;
  const far = coded(s, heard(s)).indices.map((n, t) => Math.abs(n - quiet[t]));
  const before = far.slice(0, s.at);
  /** @param {number[]} list */
  const some = (list) => list.filter((d) => d > 0).length;
  return { before: some(before), furthest: Math.max(0, ...before), after: some(far.slice(s.at + LENGTH)) };
}

// --- what is drawn: one string of SVG.

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const right = width - MARGIN;
  const wide = isWide(width);
  const dx = (right - LEFT) / s.values.length;
  const now = LEFT + s.at * dx;
  const values = heard(s);
  const { indices, low, high } = coded(s, values);
  const quiet = coded(s, s.values).indices;
  /** @param {number} db */
  const y = (db) => HEAD + VALUES * (1 - (Math.max(LEAST, Math.min(MOST, db)) - LEAST) / (MOST - LEAST));
  /** @param {number} n */
  const binY = (n) => SECOND + BINS * (1 - n / 255);
  /** @param {number[]} list @param {(value: number) => number} to */
  const points = (list, to) => list.map((v, t) => `${tidy(LEFT + (t + 0.5) * dx)} ${tidy(to(v))}`);
  const above = points(high, y);
  const below = points(low, y).reverse();
  let out = hatch(id);
  for (const [top, tall] of [
    [HEAD, VALUES],
    [SECOND, BINS],
  ])
    out += closed(id, now, top, right - now, tall);
  out += styled("fill:var(--cc-past);opacity:.16", `M${[...above, ...below].join("L")}z`);
  for (const edge of [above, below]) out += path("cc-wire cc-past", `M${edge.join("L")}`, 'style="opacity:1"');
  out += path("cc-skip", `M${points(values, y).join("L")}`);
  out += path("cc-wire cc-idle", `M${points(quiet, binY).join("L")}`, 'style="opacity:.8"');
  const kinds = { past: "", leak: "" };
  const dot = `stroke-width="${tidy(Math.max(2.2, Math.min(4, dx)))}"`;
  points(indices, binY).forEach((point, t) => {
    kinds[t >= s.at || indices[t] === quiet[t] ? "past" : "leak"] += `M${point}h.01`;
  });
  for (const [kind, d] of Object.entries(kinds)) out += path(`cc-dot cc-${kind}`, d, dot);
  out += path("cc-now", `M${tidy(now)} ${HEAD - 8}V${SECOND + BINS}`);
  out += valueAxis(LEFT, [-80, -40, 0, 40], y) + valueAxis(LEFT, [0, 128, 255], binY);
  out += secondsAxis(s.values.length, LEFT, dx, SECOND + BINS, RATE);
  out += text("cc-title", LEFT, 16, wide ? "loudest band, and the range of the bins" : "loudest band, and the range");
  out += text("cc-quiet", LEFT - 9, 16, "dB", "end") + text("cc-here", now, HEAD - 12, "now", "middle");
  return out + titleOver(LEFT, SECOND - 12, `its bins${wide ? "; grey: without the bang" : ""}`);
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const { before, furthest, after } = readState(s);
  const bang = `${count(s.bang_db)} dB`;
  const who = WAYS[s.way];
  const moved = `${before} of ${s.at} bins before it move, by up to ${furthest}`;
  if (before) return `${who} stretches to the bang of ${bang}: ${moved}. They read the future.`;
  const cut = `The bang itself is cut off at ${count(Math.round(s.high_db))} dB.`;
  const fits = s.bang_db > s.high_db ? cut : "The bang fits into it.";
  if (s.way === "fixed") return `${who} does not move: no bin before or after the bang does. ${fits}`;
  if (s.way === "recording")
    return `The bang of ${bang} is not louder than the rest of the recording: no bin before it moves.`;
  if (!after) return `${who} moves neither before nor after the bang of ${bang}: it fits.`;
  const later = `It changes ${plural(after, "bin")} after it, and a decoder knows why.`;
  return `${who} moves after the bang of ${bang}, not before. ${later}`;
}

/** @param {State} s */
function readouts(s) {
  const { before, furthest, after } = readState(s);
  /** @param {string} key @param {string} label @param {number} value */
  const row = (key, label, value) => ({ key, label, value, text: plural(value, "bin") });
  return [
    { ...row("before", "Moved before the bang", before), note: `of ${s.at}`, leak: before > 0 },
    row("distance", "By at most", furthest),
    row("after", "Moved after it", after),
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["way", "bang_db", "at", "values", "low_db", "high_db", "rise_db", "fall_db_per_second"],
  settled(s) {
    settle(s, { bang_db: [0, MOST], at: [LENGTH, s.values.length - LENGTH] });
    if (!(s.way in WAYS)) s.way = "recording";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: SECOND + BINS + FOOT,
  sentence,
  readouts,
  controls: () => [
    choice("way", "Range", [
      ["recording", "recording"],
      ["fixed", "fixed"],
      ["running", "running"],
    ]),
    slider("bang_db", "Loudness of the bang", upTo(0, MOST, 5), (db) => `${db} dB`),
    slider(
      "at",
      "Time of the bang",
      (s) => upTo(LENGTH, s.values.length - LENGTH, 5),
      (t) => duration(t, RATE),
    ),
  ],
  range: (s) => [LENGTH, s.at, s.values.length - LENGTH],
  spoken: (s) => `bang at ${duration(s.at, RATE)}`,
  move: "at",
  at: (s, x, _, width) => ({ at: ((x - LEFT) / (width - MARGIN - LEFT)) * s.values.length }),
};

export default explorer(declaration);
