// The window explorer: which samples a frame of the front end reads, and when it is ready.
import {
  choice,
  clamp,
  clock,
  closed,
  count,
  duration,
  explorer,
  hatch,
  isWide,
  nearestStop,
  nowAbove,
  pastAndFuture,
  path,
  plural,
  slider,
  text,
  tidy,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ frame: number, convention: "causal" | "centered", window_samples: number, hop_samples: number,
 *   wave: [number, number][] }} State
 */

const GUTTER = 54;
const EDGE = 10;
const TOP = 56;
const MIDDLE = 132;
const BOTTOM = 208;
const RATE = 16000;
const FIRST_MS = -60;
const LAST_MS = 200;
const LAST_HOP_MS = 160;
const WINDOWS = [160, 320, 400, 512, 640, 1024];
const HOPS = [80, 160, 320];

// --- what is computed. Proved equal to causalcnn.Field and to the front end over the whole grid of controls.

/** What frame `s.frame` reads: samples, instants in samples; its rate and resolution in Hz. @param {State} s */
export function readState(s) {
  const zeros = s.convention === "causal" ? s.window_samples - s.hop_samples : s.window_samples / 2;
  const first = s.frame * s.hop_samples - zeros;
  const last = first + s.window_samples - 1;
  const due = (s.frame + 1) * s.hop_samples;
  const ready = Math.max(due, last + 1);
  const centre = first + s.window_samples / 2;
  const lookahead = Math.max(0, last + 1 - due);
  const rate = RATE / s.hop_samples;
  return {
    first,
    last,
    due,
    ready,
    centre,
    age: ready - centre,
    lookahead,
    rate,
    resolution: (2 * RATE) / s.window_samples,
  };
}

/** @param {State} s */
export const lastFrame = (s) => (LAST_HOP_MS * RATE) / 1000 / s.hop_samples - 1;

// --- what is drawn: one string of SVG

/** Pixels of a millisecond. @param {number} width */
const scaleOf = (width) => (width - EDGE - GUTTER) / (LAST_MS - FIRST_MS);

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const f = readState(s);
  const right = width - EDGE;
  const scale = scaleOf(width);
  const half = MIDDLE - TOP - 14;
  /** @param {number} sample */
  const x = (sample) => GUTTER + ((sample * 1000) / RATE - FIRST_MS) * scale;
  const bars = { idle: "", past: "", leak: "" };
  s.wave.forEach(([low, high], ms) => {
    const at = (ms * RATE) / 1000;
    const kind = at < f.first || at > f.last ? "idle" : at >= f.due ? "leak" : "past";
    bars[kind] += `M${tidy(x(at))} ${tidy(MIDDLE - high * half - 0.5)}V${tidy(MIDDLE - low * half + 0.5)}`;
  });
  /** The window between two samples. @param {number} from @param {number} to */
  const hump = (from, to) => {
    const points = upTo(0, 32).map((i) => {
      const at = from + ((to - from) * i) / 32;
      const turn = (2 * Math.PI * (at - f.first)) / s.window_samples;
      return `${tidy(x(at))} ${tidy(BOTTOM - (BOTTOM - TOP) * 0.5 * (1 - Math.cos(turn)))}`;
    });
    return `M${points.join("L")}`;
  };
  /** A frame's hop. @param {number} t */
  const hop = (t) => `M${tidy(x(t * s.hop_samples) + 1)} ${BOTTOM + 24}H${tidy(x((t + 1) * s.hop_samples) - 1)}`;
  const split = Math.min(f.last + 1, f.due);
  const now = x(f.due);
  let out = hatch(id) + closed(id, now, TOP - 22, right - now, BOTTOM - TOP + 38);
  for (const [kind, d] of Object.entries(bars))
    out += path(`cc-dot cc-${kind}`, d, `stroke-width="${tidy(Math.max(1, scale * 0.7))}"`);
  out += path("cc-span cc-past", hump(f.first, split));
  if (f.last >= f.due) out += path("cc-span cc-leak", hump(split, f.last + 1));
  const others = upTo(0, lastFrame(s)).filter((t) => t !== s.frame);
  out += path("cc-dot cc-idle", others.map(hop).join(""), 'stroke-width="7" style="stroke-linecap:butt"');
  out += path("cc-dot cc-present", hop(s.frame), 'stroke-width="9" style="stroke-linecap:butt"');
  out += path("cc-now", `M${tidy(now)} ${TOP - 22}V${BOTTOM + 30}`);
  out += path("cc-tick", `M${tidy(x(f.centre))} ${BOTTOM + 4}l-4 8h8z`);
  return out + labels(width, x, now, right);
}

/** @param {number} width @param {(sample: number) => number} x @param {number} now @param {number} right */
function labels(width, x, now, right) {
  const wide = isWide(width);
  const step = scaleOf(width) * 20 >= 44 ? 20 : 50;
  let out = nowAbove(now, GUTTER, right) + pastAndFuture(now, GUTTER, right, wide);
  out += text("cc-quiet", GUTTER - 8, MIDDLE + 4, "sound", "end");
  out += text("cc-quiet", GUTTER - 8, BOTTOM + 4, "window", "end");
  out += text("cc-quiet", GUTTER - 8, BOTTOM + 28, "frames", "end");
  out += text("cc-quiet", GUTTER - 8, BOTTOM + 58, "ms", "end");
  if (wide) out += text("cc-quiet", GUTTER - 8, BOTTOM + 75, "sample", "end");
  for (const ms of upTo(Math.ceil(FIRST_MS / step) * step, LAST_MS, step)) {
    const sample = (ms * RATE) / 1000;
    const at = x(sample);
    if (at > right - 14 || at < GUTTER + 14) continue;
    out += path("cc-tick", `M${tidy(at)} ${BOTTOM + 38}v5`) + text("cc-digits", at, BOTTOM + 58, count(ms), "middle");
    if (wide) out += text("cc-digits cc-quiet", at, BOTTOM + 75, count(sample), "middle");
  }
  return out;
}

// --- what is said

/** @param {number} samples */
const ms = (samples) => duration(samples, RATE);

/** @param {State} s */
function sentence(s) {
  const f = readState(s);
  const zeros = Math.min(s.window_samples, Math.max(0, -f.first));
  const made = zeros ? ` ${plural(zeros, "sample")} of them are zeros that nobody spoke.` : "";
  const span = `from ${ms(f.first)} to ${ms(f.last + 1)}`;
  const reads = `Frame ${s.frame} reads ${plural(s.window_samples, "sample")}, ${span}`;
  const late = `${plural(f.lookahead, "sample")} (${ms(f.lookahead)}) past the end of its own hop, a leak`;
  if (f.lookahead) return `${reads}: ${late}.${made}`;
  return `${reads}, and none after its own hop, which ends at ${ms(f.due)}.${made}`;
}

/** @param {State} s */
function readouts(s) {
  const { first, last, lookahead, ready, age, rate, resolution } = readState(s);
  const past = plural(lookahead, "sample");
  return [
    { key: "reads", label: "Reads the samples", value: first, text: `${count(first)} … ${count(last)}` },
    { key: "lookahead", label: "Past its own hop", value: lookahead, text: past, note: ms(lookahead) },
    { key: "ready", label: "Ready at", value: ready, text: ms(ready) },
    { key: "age", label: "Its middle is then old", value: age, text: ms(age) },
    { key: "rate", label: "Frames a second", value: rate, text: count(rate) },
    { key: "resolution", label: "Tells waves apart from", value: resolution, text: `${tidy(resolution)} Hz` },
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["frame", "convention", "window_samples", "hop_samples", "wave"],
  settled(s) {
    s.window_samples = WINDOWS[nearestStop(WINDOWS, s.window_samples)];
    s.hop_samples = HOPS[nearestStop(HOPS, s.hop_samples)];
    if (s.convention !== "centered") s.convention = "causal";
    s.frame = clamp(s.frame, 0, lastFrame(s));
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: 292,
  sentence,
  readouts,
  controls: () => [
    slider("frame", "Frame", (s) => upTo(0, lastFrame(s))),
    choice("convention", "Front end", [
      ["causal", "causal"],
      ["centered", "centred"],
    ]),
    slider("window_samples", "Window", WINDOWS, ms),
    slider("hop_samples", "Hop", HOPS, ms),
    clock("Let time run", 420, (s) => ({ frame: s.frame >= lastFrame(s) ? 0 : s.frame + 1 })),
  ],
  range: (s) => [0, s.frame, lastFrame(s)],
  move: "frame",
  at: (s, x, _, width) => ({
    frame: Math.floor((((x - GUTTER) / scaleOf(width) + FIRST_MS) * RATE) / 1000 / s.hop_samples),
  }),
  after: { hop_samples: ({ frame }) => ({ frame }) }, // a longer hop leaves room for fewer frames
};

export default explorer(declaration);
