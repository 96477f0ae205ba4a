// The condition explorer: which mel frame stands beside a sample, and how late the sample must be for it.
import {
  closed,
  count,
  explorer,
  hatch,
  isWide,
  path,
  plural,
  settle,
  slider,
  styled,
  text,
  tidy,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/** @typedef {{ lookahead: number, sample: number }} State */

const RATE = 16000;
const WINDOW = 640;
const HOP = 160;
const HOPS = 9; // on the stage
const [FIRST, LAST] = [480, 959]; // samples to choose: their frames lie on the stage with every look-ahead
const GUTTER = 66;
const EDGE = 10;
const WAVE = 92; // its middle, and how far it swings
const SWING = 34;
const TOP = 140; // of the windows
const BOTTOM = 212;
const SHARES = 237;
const FRAMES = 273;
const BESIDE = 311;
const AXIS = 339;
const HEIGHT = 370;

// --- what is computed. Proved equal to causalcnn.models.MelCondition and to the window of causalcnn.speech.LogMel.

/** The weight of a window's sample, from 0: a periodic Hann window. @param {number} n */
const weight = (n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW);

/** The share of the weight that a window's samples have from one to another. @param {number} from @param {number} to */
const share = (from, to) => upTo(from, to).reduce((sum, n) => sum + weight(n), 0) / (WINDOW / 2);

/** The first sample under the window of a frame. @param {number} frame */
const begins = (frame) => (frame + 1) * HOP - WINDOW;

/** @param {State} s */
function readState(s) {
  const hop = Math.floor(s.sample / HOP);
  const frame = hop + s.lookahead;
  const first = begins(frame);
  const last = first + WINDOW - 1;
  return {
    hop,
    frame,
    first,
    last,
    latency: last - s.sample,
    declared: HOP * (s.lookahead + 1) - 1,
    middle: first + WINDOW / 2 - s.sample,
    before: share(0, s.sample - first - 1),
    after: share(s.sample - first + 1, WINDOW - 1),
  };
}

/** Pulses of a voice, in ms, and how loud: a word fades, and another one begins. */
const PULSES = [
  [1, 0.75],
  [9.5, 0.5],
  [18, 0.27],
  [27, 0.1],
  ...[46.5, 54.5, 62.3, 70, 77.6, 85.1].map((ms, i) => [ms, 0.8 + 0.04 * i]),
];

/** The sound, about −1 … 1: after each pulse two resonances fade. @param {number} sample */
function sound(sample) {
  let value = 0;
  for (const [at, loud] of PULSES) {
    const ms = (sample * 1000) / RATE - at;
    if (ms > 0) value += loud * Math.exp(-ms / 2.4) * (Math.sin(3.6 * ms) + 0.45 * Math.sin(8.2 * ms));
  }
  return value;
}

// --- what is drawn: one string of SVG

/** Pixels of a sample. @param {number} width */
const scaleOf = (width) => (width - EDGE - GUTTER) / (HOPS * HOP);

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { frame, last } = readState(s);
  const right = width - EDGE;
  /** @param {number} sample */
  const x = (sample) => GUTTER + sample * scaleOf(width);
  const [here, ready] = [x(s.sample), x(last + 1)];
  /** The sound at a sample. @param {number} n */
  const point = (n) => `${tidy(x(n))} ${tidy(WAVE - SWING * sound(n))}`;
  /** The sound from one sample to another. @param {number} from @param {number} to */
  const wave = (from, to) => `M${[...upTo(from, to - 1, isWide(width) ? 2 : 4), to].map(point).join("L")}`;
  let borders = "";
  for (const hop of upTo(0, HOPS)) borders += `M${tidy(x(hop * HOP))} 54V${BOTTOM}`;
  let out = hatch(id) + closed(id, ready, 54, right - ready, BOTTOM - 54);
  out += path("cc-tick", borders, 'style="stroke:var(--cc-grid)"');
  out += path("cc-span cc-past", wave(0, s.sample), 'style="stroke-width:1.6"');
  out += path("cc-span cc-leak", wave(s.sample, last), 'style="stroke-width:1.6"');
  out += path("cc-tick", wave(last, HOPS * HOP));
  out += windows(s, x);
  out += path("cc-tick", `M${tidy(ready)} 40V${BOTTOM}`, 'style="stroke:var(--cc-ink)"');
  out += path("cc-span cc-leak", `M${tidy(here)} 46H${tidy(ready)}`);
  out += path("cc-now", `M${tidy(here)} 40V${BOTTOM}`);
  out += path("cc-dot cc-present", `M${point(s.sample)}h0`, 'stroke-width="9"');
  return out + links(s, frame, x) + labels(s, width, x);
}

/** The windows of all frames; that of the frame beside the sample filled. */
/** @param {State} s @param {(n: number) => number} x */
function windows(s, x) {
  const { frame, first, last } = readState(s);
  /** A window from one of its samples to another. @param {number} k @param {number} from @param {number} to */
  const hump = (k, from, to) =>
    [...upTo(from, to - 1, 16), to]
      .map((n) => `${tidy(x(begins(k) + n))} ${tidy(BOTTOM - (BOTTOM - TOP) * weight(n))}`)
      .join("L");
  const others = upTo(0, HOPS - 1).filter((k) => k !== frame);
  let out = path("cc-tick", others.map((k) => `M${hump(k, Math.max(0, -begins(k)), WINDOW)}`).join(""));
  const split = s.sample - first;
  for (const [color, from, to] of /** @type {const} */ ([
    ["past", 0, split],
    ["leak", split, WINDOW],
  ])) {
    const [a, b] = [tidy(x(first + from)), tidy(x(first + to))];
    out += styled(`fill:var(--cc-${color});opacity:.24`, `M${a} ${BOTTOM}L${hump(frame, from, to)}L${b} ${BOTTOM}Z`);
    out += path(`cc-span cc-${color}`, `M${hump(frame, from, to)}`);
  }
  return out + path("cc-tick", `M${tidy(x(last + 1 - WINDOW / 2))} ${BOTTOM + 4}l-4 8h8z`);
}

/** From each frame to the hop that it stands beside. */
/** @param {State} s @param {number} frame @param {(n: number) => number} x */
function links(s, frame, x) {
  /** @param {number} k @param {number} y */
  const bar = (k, y) => `M${tidy(x(k * HOP) + 1)} ${y}H${tidy(x((k + 1) * HOP) - 1)}`;
  const middle = (/** @type {number} */ k) => x((k + 0.5) * HOP);
  /** @param {number} k */
  const link = (k) => `M${tidy(middle(k))} ${FRAMES + 6}L${tidy(middle(k - s.lookahead))} ${BESIDE - 6}`;
  const hop = frame - s.lookahead;
  const every = upTo(0, HOPS - 1);
  const butt = (/** @type {string} */ more) => `stroke-width="7" style="stroke-linecap:butt;${more}"`;
  let out = path(
    "cc-dot cc-idle",
    every.map((k) => (k === frame ? "" : bar(k, FRAMES)) + (k === hop ? "" : bar(k, BESIDE))).join(""),
    butt(""),
  );
  const linked = every.filter((k) => k >= s.lookahead && k !== frame);
  out += path("cc-tick", linked.map(link).join(""), 'style="opacity:.5"');
  out += path("cc-dot", bar(frame, FRAMES), butt("stroke:var(--cc-ink)"));
  out += path("cc-dot cc-present", bar(hop, BESIDE), butt(""));
  out += path("cc-tick", link(frame), 'style="stroke:var(--cc-ink);stroke-width:2"');
  for (const k of every) {
    out += text(`cc-digits ${k === frame ? "cc-title" : "cc-quiet"}`, middle(k), FRAMES - 9, k, "middle");
    out += text(`cc-digits ${k === hop ? "cc-here" : "cc-quiet"}`, middle(k), BESIDE + 20, k, "middle");
  }
  return out;
}

/** @param {State} s @param {number} width @param {(n: number) => number} x */
function labels(s, width, x) {
  const { last, latency, before, after } = readState(s);
  const wide = isWide(width);
  const right = width - EDGE;
  const [here, ready] = [x(s.sample), x(last + 1)];
  let out = text("cc-here", here, 14, wide ? "the sample" : "sample", "middle");
  out += text("cc-said-past", GUTTER, 14, wide ? "drawn before" : "drawn");
  const middle = Math.min((here + ready) / 2, right - 48); // of words that end on the stage
  out += text("cc-digits cc-said-leak", middle, 35, `waits ${ms(latency)}`, "middle");
  const room = right - Math.max(ready, here + (wide ? 42 : 28)); // beside the sample's own label
  if (room > 94) out += text("cc-quiet", right, 14, "not heard yet", "end");
  const [earlier, later] = wide ? [" before the sample", " after it"] : ["", ""];
  out += text("cc-digits cc-said-past", here - 8, SHARES, `${percent(before)}${earlier}`, "end");
  out += text("cc-digits cc-said-leak", here + 8, SHARES, `${percent(after)}${later}`);
  for (const [y, words] of /** @type {const} */ ([
    [WAVE + 4, "sound"],
    [BOTTOM - 6, "window"],
    [SHARES, "weight"],
    [FRAMES + 4, "frame"],
    [BESIDE + 4, "hop"],
    [AXIS + 20, "ms"],
  ]))
    out += text("cc-quiet", GUTTER - 12, y, words, "end");
  for (const hop of upTo(0, HOPS, wide ? 1 : 2)) {
    const at = x(hop * HOP);
    out += path("cc-tick", `M${tidy(at)} ${AXIS}v5`) + text("cc-digits", at, AXIS + 20, hop * 10, "middle");
  }
  return out;
}

// --- what is said

/** @param {number} samples */
const ms = (samples) => `${tidy((samples * 1000) / RATE)} ms`;

/** @param {number} part */
const percent = (part) => `${(100 * part).toFixed(1)}\u00a0%`;

/** @param {State} s */
function sentence(s) {
  const { hop, frame, latency, after } = readState(s);
  const waits = latency
    ? `It must wait ${plural(latency, "sample")} (${ms(latency)}) until that frame is complete.`
    : "It need not wait: that frame is complete with it.";
  const heard = `By weight, ${percent(after)} of the frame's window lies after the sample.`;
  return `Sample ${count(s.sample)}, of hop ${hop}, gets frame ${frame}. ${waits} ${heard}`;
}

/** @param {State} s */
function readouts(s) {
  const { frame, latency, declared, middle, after } = readState(s);
  /** @param {string} key @param {string} label @param {number} value */
  const late = (key, label, value) => ({ key, label, value, text: ms(value), note: plural(value, "sample") });
  const ahead = { text: ms(s.lookahead * HOP), note: plural(s.lookahead, "frame") };
  const side = middle < 0 ? "before it" : middle > 0 ? "after it" : "";
  return [
    { key: "frame", label: "Frame beside it", value: frame, text: String(frame) },
    { key: "lookahead", label: "Look-ahead", value: s.lookahead, ...ahead },
    late("latency", "Latency of the sample", latency),
    late("declared", "Declared latency", declared),
    { key: "middle", label: "Middle of the window", value: middle, text: ms(Math.abs(middle)), note: side },
    { key: "after", label: "Weight after the sample", value: after, text: percent(after), leak: true },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["lookahead", "sample"],
  settled: (s) => settle(s, { lookahead: [0, 3], sample: [FIRST, LAST] }),
  read: readState,
  picture: drawPicture,
  height: HEIGHT,
  sentence,
  readouts,
  controls: () => [
    slider("lookahead", "Look-ahead", upTo(0, 3), (frames) => `${plural(frames, "frame")}, ${frames * 10} ms`),
    slider("sample", "Sample", upTo(FIRST, LAST), (n) => `${count(n)}, at ${ms(n)}`),
  ],
  range: (s) => [FIRST, s.sample, LAST],
  move: "sample",
  at: (_, x, __, width) => ({ sample: Math.floor((x - GUTTER) / scaleOf(width)) }),
};

export default explorer(declaration);
