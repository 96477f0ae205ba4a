// The memory explorer: a spectrogram, and what stands for the frame k frames later still tells of it.
import {
  choice,
  closed,
  count,
  duration,
  explorer,
  hatch,
  image,
  isWide,
  path,
  plural,
  secondsAxis,
  settle,
  slider,
  text,
  tidy,
  titleOver,
  upTo,
} from "../explorer.js";
import { COLOURS, encodeBmp, LETTERS } from "../bitmap.js";

/** @import { Declaration } from "../types" */
/** @typedef {"codes" | "untrained" | "fixed"} Source */
/**
 * @typedef {{ back: number, source: Source, frames: number, bands: number, truth: string,
 *   readings: Record<Source, string[]>, errors: Record<Source, number[]>, half_widths: Record<Source, number[]>,
 *   top: number, bottom: number }} State
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 30;
const PANEL = 104;
const TITLE = 26;
const GAP = 46;
const CURVE = 150;
const FOOT = 92;
const FIRST = HEAD + TITLE;
const SECOND = FIRST + PANEL + TITLE;
const LOWER = SECOND + PANEL + GAP + TITLE;
const FURTHEST = 18;
const NOW = 45;
const RATE = 100;
const NAMES = { codes: "trained codes", untrained: "untrained codes", fixed: "fixed code" };
const SOURCES = /** @type {Source[]} */ (Object.keys(NAMES));

// --- what is looked up. Proved equal to the measured table for every setting.

/** The error of the chosen code at the chosen frame, and half of its interval, in thousandths of the variance. */
/** @param {State} s */
const errorAt = (s) => [s.errors[s.source][s.back], s.half_widths[s.source][s.back]];

/** Which codes read the frame so far back. @param {State} s */
const readBy = (s) => (s.back < s.top ? "top and bottom" : s.back < s.bottom ? "bottom only" : "none");

/** @param {State} s */
const readState = (s) => ({ error: errorAt(s)[0], half_width: errorAt(s)[1], read_by: readBy(s) });

/** @param {number} n */
const thousandths = (n) => `${Math.floor(n / 1000)}.${String(n % 1000).padStart(3, "0")}`;

// --- what is drawn: one string of SVG

/** A picture written as letters, column by column, as the address of a bitmap: rows from the low bands up. */
/** @param {string} letters @param {number} frames @param {number} bands */
export const lettersAsBitmap = (letters, frames, bands) => {
  const most = COLOURS.length - 1;
  /** @param {number} band @param {number} t */
  const at = (band, t) => Math.floor((LETTERS.indexOf(letters[t * bands + band]) * most) / 63 + 0.5);
  return encodeBmp(COLOURS, frames, bands, at);
};

/** @param {number} width */
function places(width) {
  const right = width - MARGIN;
  const dx = (right - LEFT) / 60;
  const step = (right - LEFT - 24) / FURTHEST;
  const x = (/** @type {number} */ t) => LEFT + t * dx;
  return { right, dx, x, step, at: (/** @type {number} */ k) => right - 12 - k * step };
}

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { right, dx, x } = places(width);
  const k = s.back;
  const now = x(NOW + 0.5);
  const earlier = x(NOW - k + 0.5);
  /** @param {string} letters @param {number} y */
  const panel = (letters, y) => image(LEFT, y, right - LEFT, PANEL, lettersAsBitmap(letters, s.frames, s.bands));
  const who = `${isWide(width) ? "told by the " : ""}${NAMES[s.source]}`;
  let out = hatch(id) + text("cc-title", LEFT, FIRST - 8, "what was said");
  out += panel(s.truth, FIRST) + panel(s.readings[s.source][k], SECOND);
  for (const y of [FIRST, SECOND]) out += text("cc-quiet", LEFT - 8, y + PANEL / 2 + 4, "bands", "end");
  out += text("cc-here", now, HEAD - 8, "now", "middle") + path("cc-now cc-bright", `M${tidy(now)} ${FIRST}v${PANEL}`);
  out += path("cc-now", `M${tidy(now)} ${HEAD - 4}V${FIRST}`);
  out += path("cc-now cc-bright", `M${tidy(earlier - dx / 2)} ${SECOND}v${PANEL}h${tidy(dx)}v-${PANEL}z`);
  out += path("cc-now", `M${tidy(now)} ${FIRST + PANEL}L${tidy(earlier)} ${SECOND}`);
  out += titleOver(LEFT, SECOND - 8, `${who} ${k ? `${plural(k, "frame")} later` : "of each frame"}`);
  return out + secondsAxis(s.frames, LEFT, dx, SECOND + PANEL, RATE) + curves(s, width, id);
}

/** The errors over the frames back. @param {State} s @param {number} width @param {string} id */
function curves(s, width, id) {
  const { right, at, step } = places(width);
  const wide = isWide(width);
  const y = (/** @type {number} */ n) => LOWER + CURVE * (1 - Math.min(1100, n) / 1100);
  const title = wide ? "error of a frame so far back, as a share of the variance" : "error, share of the variance";
  let out = text("cc-title", LEFT, LOWER - 8, title) + closed(id, LEFT, LOWER, at(s.bottom - 0.5) - LEFT, CURVE);
  for (const n of [0, 500, 1000]) {
    out += path("cc-tick", `M${LEFT} ${tidy(y(n))}H${tidy(right)}`, 'style="stroke:var(--cc-grid)"');
    out += text("cc-digits cc-quiet", LEFT - 8, y(n) + 4, thousandths(n).slice(0, 3), "end");
  }
  for (const name of [...SOURCES.filter((name) => name !== s.source), s.source]) {
    const line = s.errors[name].map((n, i) => `${tidy(at(i))} ${tidy(y(n))}`).join("L");
    out += path(name === s.source ? "cc-span cc-past" : "cc-tick", `M${line}`);
  }
  const [error, half] = errorAt(s);
  const px = tidy(at(s.back));
  const interval = `M${px} ${tidy(y(error + half))}V${tidy(y(Math.max(0, error - half)))}`;
  out += path("cc-now", `M${px} ${LOWER}v${CURVE}`) + path("cc-span cc-past", interval, 'style="stroke-width:5"');
  out += path("cc-dot cc-present", `M${px} ${tidy(y(error))}h.01`, 'stroke-width="11"');
  for (const name of /** @type {const} */ (["top", "bottom"])) {
    const row = LOWER + CURVE + (name === "top" ? 12 : 28);
    const edge = at(s[name] - 0.5);
    const words = wide ? `${name} codes read ${s[name]} frames` : `${name} reads ${s[name]}`;
    const style = `style="stroke:var(--cc-${name});stroke-width:7"`;
    out += path("cc-span", `M${tidy(edge)} ${row}H${tidy(at(-0.5))}`, style);
    const where = `x="${tidy(edge - 7)}" y="${row + 4}" text-anchor="end"`;
    out += `<text style="fill:var(--cc-${name})" ${where}>${words}</text>`;
  }
  const every = wide ? 2 : 6;
  for (const i of upTo(0, FURTHEST, every)) {
    out += text("cc-digits", at(i), LOWER + CURVE + 60, count(-i), "middle");
    if (step * every >= 72 || i % 4 === 0)
      out += text("cc-digits cc-quiet", at(i), LOWER + CURVE + 77, duration(-i, RATE), "middle");
  }
  return out + text("cc-quiet", LEFT - 8, LOWER + CURVE + 60, "frames", "end");
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const [error] = errorAt(s);
  const frame = s.back ? `the frame ${plural(s.back, "frame")} (${duration(s.back, RATE)}) back` : "the frame";
  const told = `${frame} is told with an error of ${thousandths(error)}`;
  const alone = "speech tells this much by itself.";
  if (s.source === "fixed") {
    const inside = `It is one of the ${s.bottom} frames of the window.`;
    return `From the fixed code, ${told}. ${readBy(s) === "none" ? `It is outside the window: ${alone}` : inside}`;
  }
  const read = {
    "top and bottom": "Both levels read it.",
    "bottom only": "Only the bottom codes read it.",
    none: `No code reads it: ${alone}`,
  };
  return `From the ${NAMES[s.source]} of one frame, ${told}. ${read[readBy(s)]}`;
}

/** @param {State} s */
function readouts(s) {
  const [error, half] = errorAt(s);
  const back = { value: s.back, text: duration(s.back, RATE), note: plural(s.back, "frame") };
  return [
    { key: "error", label: "Error", value: error, text: thousandths(error), note: `± ${thousandths(half)}` },
    { key: "age", label: "Looking back", ...back },
    { key: "read", label: "Codes that read it", value: readBy(s), text: readBy(s) },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["back", "source", "frames", "bands", "truth", "readings", "errors", "half_widths", "top", "bottom"],
  settled(s) {
    settle(s, { back: [0, FURTHEST] });
    if (!(s.source in NAMES)) s.source = "codes";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: LOWER + CURVE + FOOT,
  sentence,
  readouts,
  controls: () => [
    slider("back", "Frames back", upTo(0, FURTHEST), (k) => plural(k, "frame")),
    choice("source", "Told by", [
      ["codes", "trained"],
      ["untrained", "untrained"],
      ["fixed", "fixed code"],
    ]),
  ],
  range: (s) => [0, s.back, FURTHEST],
  move: "back",
  press: ({ back }) => ({
    ArrowLeft: { back: back + 1 }, // time runs to the right
    ArrowRight: { back: back - 1 },
    Home: { back: FURTHEST },
    End: { back: 0 },
  }),
  at(_, x, y, width) {
    const { at, step, dx } = places(width);
    return { back: y > LOWER - TITLE ? (at(0) - x) / step : NOW + 0.5 - (x - LEFT) / dx };
  },
};

export default explorer(declaration);
