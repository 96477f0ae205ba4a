// The bins explorer: a spectrogram as it is and in 2^b bins, one frame as 80 categories, and its sound.
import { assemble, count, duration, niceStep, settle, tidy } from "../explorer.js";
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import { playerOf } from "../player.js";

const LEFT = 58, MARGIN = 10, HEAD = 26, PANEL = 96, GAP = 34, FRAME = 190, FOOT = 46;
const RATE = 100, MELS = 80, MOST = 8;

// --- what is computed. Proved equal to causalcnn for every setting.

/** The bin among 256 as one of fewer bins. */
export const coarser = (index, bits) => index >> (MOST - bits);

const raised = (n) => String(n).replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);

/** 2 to the power of `bits` with three digits. */
export function states(bits) {
  const digits = String(2n ** BigInt(bits));
  let power = digits.length - 1, head = Math.floor((+digits.slice(0, 4).padEnd(4, "0") + 5) / 10);
  if (head === 1000) { head = 100; power += 1; }
  return `${Math.floor(head / 100)}.${String(head % 100).padStart(2, "0")} × 10${raised(power)}`;
}

const hundredths = (value) => {
  const n = Math.floor(value * 100 + 0.5);
  return `${Math.floor(n / 100)}.${String(n % 100).padStart(2, "0")}`;
};

export const readState = (s) => ({
  bins: 2 ** s.bits, step_db: (s.high_db - s.low_db) / 2 ** s.bits, error_db: s.errors[s.bits - 1] / 100,
  frame_bits: MELS * s.bits, rate: MELS * s.bits * RATE, states: states(MELS * s.bits),
});

// --- what is drawn: one string of SVG.

// A move of the frame redraws neither picture, and a bin's is drawn once.
let kept = { indices: null, frames: 0, table: [], drawn: {} };
function drawn(s, bits) {
  if (kept.indices !== s.indices || kept.frames !== s.frames) {
    kept = { indices: s.indices, frames: s.frames, table: bytesOf(s.indices), drawn: {} };
  }
  return (kept.drawn[bits] ??= spectrogramBmp(kept.table, s.frames, bits));
}

export const HEIGHT = HEAD + PANEL + GAP + PANEL + GAP + GAP + FRAME + FOOT;

export function drawPicture(s, width) {
  const right = width - MARGIN, wide = width >= 560, second = HEAD + PANEL + GAP, dx = (right - LEFT) / s.frames;
  let out = "";
  for (const [bits, y] of [[MOST, HEAD], [s.bits, second]]) {
    out += `<text class="cc-title" x="${LEFT}" y="${y - 8}">${y === HEAD ? "as it is" : `in ${count(2 ** bits)} bins`}</text>`;
    out += `<image x="${LEFT}" y="${y}" width="${tidy(right - LEFT)}" height="${PANEL}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${drawn(s, bits)}"/>`;
    out += `<text class="cc-quiet" x="${LEFT - 8}" y="${y + PANEL / 2 + 4}" text-anchor="end">bands</text>`;
    out += `<path class="cc-now cc-bright" d="M${tidy(LEFT + (s.frame + 0.5) * dx)} ${y}v${PANEL}"/>`;
  }
  for (let t = 0; t < s.frames; t += niceStep(dx, 60)) {
    const x = tidy(LEFT + t * dx);
    out += `<path class="cc-tick" d="M${x} ${second + PANEL}v5"/>`;
    out += `<text class="cc-digits cc-quiet" x="${x}" y="${second + PANEL + 19}" text-anchor="middle">${duration(t, RATE)}</text>`;
  }
  return out + framePicture(s, right, second + PANEL + GAP + GAP, wide);
}

function framePicture(s, right, top, wide) {
  const each = (right - LEFT) / MELS, high = FRAME / 2 ** s.bits, indices = kept.table.slice(s.frame * MELS, (s.frame + 1) * MELS);
  let out = `<text class="cc-title" x="${LEFT}" y="${top - 10}">the frame at ${duration(s.frame, RATE)}${wide ? ": a bin for each band" : ""}</text>`;
  for (let n = 0; n < (s.bits <= 5 ? 2 ** s.bits + 1 : 0); n++) {
    out += `<path class="cc-tick" style="stroke:var(--cc-grid)" d="M${LEFT} ${tidy(top + n * high)}H${tidy(right)}"/>`;
  }
  const path = indices.map((index, band) => `M${tidy(LEFT + band * each + 0.4)} ${tidy(top + FRAME - (coarser(index, s.bits) + 0.5) * high)}h${tidy(Math.max(1, each - 0.8))}`).join("");
  out += `<path class="cc-span cc-past" style="stroke-width:${tidy(Math.max(2, high))};opacity:.55" d="${path}"/>`;
  const line = indices.map((index, band) => `${tidy(LEFT + (band + 0.5) * each)} ${tidy(top + FRAME * (1 - (index + 0.5) / 256))}`).join("L");
  out += `<path class="cc-now" d="M${line}"/>`;
  for (let db = Math.ceil(s.low_db / 20) * 20; db <= Math.floor(s.high_db); db += 20) {
    const y = tidy(top + FRAME * (1 - (db - s.low_db) / (s.high_db - s.low_db)));
    out += `<path class="cc-tick" d="M${LEFT - 5} ${y}h5"/>`;
    out += `<text class="cc-digits cc-quiet" x="${LEFT - 9}" y="${y}" dy="4" text-anchor="end">${count(db)}</text>`;
  }
  for (const band of [1, 20, 40, 60, 80]) {
    out += `<text class="cc-digits cc-quiet" x="${tidy(LEFT + (band - 0.5) * each)}" y="${top + FRAME + 18}" text-anchor="middle">${band}</text>`;
  }
  out += `<text class="cc-quiet" x="${LEFT - 9}" y="${top - 10}" text-anchor="end">dB</text>`;
  return out + `<text class="cc-quiet" x="${tidy((LEFT + right) / 2)}" y="${top + FRAME + 37}" text-anchor="middle">mel band, from low to high</text>`;
}

// --- what is said

export function sentence(s) {
  const now = readState(s);
  return `With ${s.bits} bit${s.bits === 1 ? "" : "s"} a value is one of ${now.bins} bins, each ${hundredths(now.step_db)} dB wide. What comes back is off by ${hundredths(now.error_db)} dB.`;
}

export function readouts(s) {
  const now = readState(s);
  return [
    { key: "width", label: "A bin", value: now.step_db, text: `${hundredths(now.step_db)} dB`, note: "" },
    { key: "error", label: "Error, rms", value: now.error_db, text: `${hundredths(now.error_db)} dB`, note: "" },
    { key: "frame", label: "A frame", value: now.frame_bits, text: `${count(now.frame_bits)} bits`, note: "" },
    { key: "rate", label: "A second", value: now.rate, text: `${count(now.rate)} bits`, note: "" },
    { key: "states", label: "States of a frame", value: now.states, text: now.states, note: `2${raised(now.frame_bits)}` },
  ];
}

const KEYS = ["bits", "frame", "frames", "indices", "low_db", "high_db", "errors"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { bits: [1, MOST], frame: [0, s.frames - 1] });
  return s;
}

export const view = (s, width) => (
  { picture: drawPicture(s, width), height: HEIGHT, sentence: sentence(s), readouts: readouts(s) }
);

function render({ model, el }) {
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const stops = (first, length) => Array.from({ length }, (_, i) => first + i);
  const controls = [
    { type: "slider", key: "bits", label: "Bits a value", stops: stops(1, MOST), say: (b) => `${b} bit${b === 1 ? "" : "s"}, ${2 ** b} bins` },
    { type: "slider", key: "frame", label: "Frame", stops: stops(0, model.get("frames")), say: (t) => `frame ${t}, ${duration(t, RATE)}` },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state();
    return { ...view(s, w), range: [0, s.frame, s.frames - 1], spoken: `frame ${s.frame}, ${duration(s.frame, RATE)}` };
  };
  const react = ({ stage, svg, keep }) => {
    if (model.get("controls").includes("sound") && model.get("sounds").length === MOST) {
      const now = () => ({ title: `Its sound in ${2 ** state().bits} bins`, mp3: model.get("sounds")[state().bits - 1] });
      stage.parentNode.querySelector(".cc-controls").prepend(playerOf(model, "bits", now));
    }
    const go = (frame) => keep({ frame: Math.min(model.get("frames") - 1, Math.max(0, Math.floor(frame) || 0)) });
    const under = (event) => {
      const box = svg.getBoundingClientRect(), px = ((event.clientX - box.left) / box.width) * width;
      if (((event.clientY - box.top) / box.width) * width < HEAD + PANEL + GAP + PANEL + 24) go(((px - LEFT) / (width - MARGIN - LEFT)) * model.get("frames"));
    };
    stage.addEventListener("pointerdown", under);
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("keydown", (event) => {
      const t = state().frame, to = { ArrowLeft: t - 1, ArrowRight: t + 1, Home: 0, End: Infinity, PageUp: t + 10, PageDown: t - 10 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(Math.min(to, model.get("frames") - 1));
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
