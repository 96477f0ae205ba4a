// The memory explorer: a spectrogram, and what stands for the frame k frames later still tells of it.
import { assemble, count, duration, newId, plural, settle, tidy } from "../explorer.js";
import { COLOURS, encodeBmp, LETTERS } from "../bitmap.js";

const LEFT = 58, MARGIN = 10, HEAD = 30, PANEL = 104, TITLE = 26, GAP = 46, CURVE = 150, FOOT = 92;
const FURTHEST = 18, NOW = 45, RATE = 100;
const NAMES = { codes: "trained codes", untrained: "untrained codes", fixed: "fixed code" };

// --- what is looked up. Proved equal to the measured table for every setting.

/** The error of the chosen code at the chosen frame, and half of its interval, in thousandths of the variance. */
export const errorAt = (s) => [s.errors[s.source][s.back], s.half_widths[s.source][s.back]];

/** Which codes read the frame so far back: "top and bottom", "bottom only" or "none". */
export const readBy = (s) => (s.back < s.top ? "top and bottom" : s.back < s.bottom ? "bottom only" : "none");

export const readState = (s) => ({ error: errorAt(s)[0], half_width: errorAt(s)[1], read_by: readBy(s) });

const thousandths = (n) => `${Math.floor(n / 1000)}.${String(n % 1000).padStart(3, "0")}`;

// --- what is drawn: one string of SVG

/** A picture written as letters, column by column, as the address of a bitmap: rows from the low bands up. */
export const lettersAsBitmap = (text, frames, bands) =>
  encodeBmp(COLOURS, frames, bands, (band, t) => Math.floor((LETTERS.indexOf(text[t * bands + band]) * (COLOURS.length - 1)) / 63 + 0.5));

const places = (width) => {
  const right = width - MARGIN, dx = (right - LEFT) / 60, step = (right - LEFT - 24) / FURTHEST;
  const second = HEAD + TITLE + PANEL + TITLE, top = second + PANEL + GAP + TITLE;
  return { right, dx, x: (t) => LEFT + t * dx, at: (k) => right - 12 - k * step, step, second, top, height: top + CURVE + FOOT };
};

export function drawPicture(s, width, id) {
  const { right, dx, x, at, step, second, top, height } = places(width), wide = width >= 560, k = s.back;
  const first = HEAD + TITLE, y = (n) => top + CURVE * (1 - Math.min(1100, n) / 1100), image = (text, from) =>
    `<image x="${LEFT}" y="${from}" width="${tidy(right - LEFT)}" height="${PANEL}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${lettersAsBitmap(text, s.frames, s.bands)}"/>`;
  const who = `${wide ? "told by the " : ""}${NAMES[s.source]}`, later = k ? `${who} ${plural(k, "frame")} later` : `${who} of each frame`;
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  out += `<text class="cc-title" x="${LEFT}" y="${first - 8}">what was said</text>`;
  out += image(s.truth, first) + image(s.readings[s.source][k], second);
  for (const from of [first, second]) out += `<text class="cc-quiet" x="${LEFT - 8}" y="${from + PANEL / 2 + 4}" text-anchor="end">bands</text>`;
  const now = x(NOW + 0.5), earlier = x(NOW - k + 0.5);
  out += `<text class="cc-here" x="${tidy(now)}" y="${HEAD - 8}" text-anchor="middle">now</text>`;
  out += `<path class="cc-now cc-bright" d="M${tidy(now)} ${first}v${PANEL}"/><path class="cc-now" d="M${tidy(now)} ${HEAD - 4}V${first}"/>`;
  out += `<path class="cc-now cc-bright" d="M${tidy(earlier - dx / 2)} ${second}v${PANEL}h${tidy(dx)}v-${PANEL}z"/>`;
  out += `<path class="cc-now" d="M${tidy(now)} ${first + PANEL}L${tidy(earlier)} ${second}"/>`;
  out += `<text class="cc-title" style="paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px" x="${LEFT}" y="${second - 8}">${later}</text>`;
  for (let t = 0; t < s.frames; t += wide ? 10 : 20) {
    out += `<path class="cc-tick" d="M${tidy(x(t))} ${second + PANEL}v5"/>`;
    out += `<text class="cc-digits cc-quiet" x="${tidy(x(t))}" y="${second + PANEL + 19}" text-anchor="middle">${duration(t, RATE)}</text>`;
  }
  out += `<text class="cc-title" x="${LEFT}" y="${top - 8}">${wide ? "error of a frame so far back, as a share of the variance" : "error, share of the variance"}</text>`;
  const edge = at(s.bottom - 0.5);
  out += `<rect class="cc-closed" fill="url(#${id}h)" x="${LEFT}" y="${top}" width="${tidy(edge - LEFT)}" height="${CURVE}"/>`;
  for (const n of [0, 500, 1000]) {
    out += `<path class="cc-tick" style="stroke:var(--cc-grid)" d="M${LEFT} ${tidy(y(n))}H${tidy(right)}"/>`;
    out += `<text class="cc-digits cc-quiet" x="${LEFT - 8}" y="${tidy(y(n) + 4)}" text-anchor="end">${thousandths(n).slice(0, 3)}</text>`;
  }
  for (const name of [...Object.keys(NAMES).filter((name) => name !== s.source), s.source]) {
    const line = s.errors[name].map((n, i) => `${tidy(at(i))} ${tidy(y(n))}`).join("L");
    out += name === s.source ? `<path class="cc-span cc-past" d="M${line}"/>` : `<path class="cc-tick" d="M${line}"/>`;
  }
  const [error, half] = errorAt(s), px = tidy(at(k));
  out += `<path class="cc-now" d="M${px} ${top}v${CURVE}"/><path class="cc-span cc-past" style="stroke-width:5" d="M${px} ${tidy(y(error + half))}V${tidy(y(Math.max(0, error - half)))}"/>`;
  out += `<path class="cc-dot cc-present" stroke-width="11" d="M${px} ${tidy(y(error))}h.01"/>`;
  for (const [i, name, reach] of [[0, "top", s.top], [1, "bottom", s.bottom]]) {
    const row = top + CURVE + 12 + 16 * i;
    out += `<path class="cc-span" style="stroke:var(--cc-${name});stroke-width:7" d="M${tidy(at(reach - 0.5))} ${row}H${tidy(at(-0.5))}"/>`;
    out += `<text style="fill:var(--cc-${name})" x="${tidy(at(reach - 0.5) - 7)}" y="${row + 4}" text-anchor="end">${wide ? `${name} codes read ${reach} frames` : `${name} reads ${reach}`}</text>`;
  }
  for (let i = 0; i <= FURTHEST; i += wide ? 2 : 6) {
    out += `<text class="cc-digits" x="${tidy(at(i))}" y="${top + CURVE + 60}" text-anchor="middle">${count(-i)}</text>`;
    if (step * (wide ? 2 : 6) >= 72 || i % 4 === 0) out += `<text class="cc-digits cc-quiet" x="${tidy(at(i))}" y="${top + CURVE + 77}" text-anchor="middle">${duration(-i, RATE)}</text>`;
  }
  return out + `<text class="cc-quiet" x="${LEFT - 8}" y="${top + CURVE + 60}" text-anchor="end">frames</text>`;
}

// --- what is said

export function sentence(s) {
  const [error] = errorAt(s), when = s.back ? `${plural(s.back, "frame")} (${duration(s.back, RATE)}) back` : "that they stand for", who = readBy(s);
  const tells = s.back ? `the frame ${when}` : "the frame";
  const reads = who === "top and bottom" ? "Both levels read it." : who === "bottom only" ? "Only the bottom codes read it." : "No code reads it: speech tells this much by itself.";
  const held = who === "none" ? "It is outside the window: speech tells this much by itself." : `It is one of the ${s.bottom} frames of the window.`;
  return s.source === "fixed"
    ? `From the fixed code, ${tells} is told with an error of ${thousandths(error)}. ${held}`
    : `From the ${NAMES[s.source]} of one frame, ${tells} is told with an error of ${thousandths(error)}. ${reads}`;
}

export function readouts(s) {
  const [error, half] = errorAt(s);
  return [
    { key: "error", label: "Error", value: error, text: thousandths(error), note: `± ${thousandths(half)}` },
    { key: "age", label: "Looking back", value: s.back, text: duration(s.back, RATE), note: plural(s.back, "frame") },
    { key: "read", label: "Codes that read it", value: readBy(s), text: readBy(s), note: "" },
  ];
}

const KEYS = ["back", "source", "frames", "bands", "truth", "readings", "errors", "half_widths", "top", "bottom"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { back: [0, FURTHEST] });
  if (!(s.source in NAMES)) s.source = "codes";
  return s;
}

export const view = (s, width, id) => ({
  picture: drawPicture(s, width, id), height: places(width).height, sentence: sentence(s), readouts: readouts(s),
});

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const stops = Array.from({ length: FURTHEST + 1 }, (_, k) => k);
  const controls = [
    { type: "slider", key: "back", label: "Frames back", stops, say: (k) => plural(k, "frame") },
    { type: "choice", key: "source", label: "Told by", options: [["codes", "trained"], ["untrained", "untrained"], ["fixed", "fixed code"]] },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state();
    return { ...view(s, w, id), range: [0, s.back, FURTHEST] };
  };
  const react = ({ stage, svg, keep }) => {
    const clip = (k) => Math.min(FURTHEST, Math.max(0, Math.round(k) || 0));
    const under = (event) => {
      const box = svg.getBoundingClientRect(), { at, step, dx, top } = places(width);
      const px = ((event.clientX - box.left) / box.width) * width, py = ((event.clientY - box.top) / box.width) * width;
      keep({ back: clip(py > top - TITLE ? (at(0) - px) / step : NOW + 0.5 - (px - LEFT) / dx) });
    };
    stage.addEventListener("pointerdown", under);
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("keydown", (event) => {
      const k = state().back, to = { ArrowLeft: k + 1, ArrowRight: k - 1, Home: FURTHEST, End: 0 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      keep({ back: clip(to) });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
