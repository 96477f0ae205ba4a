// The hierarchy explorer: what one code of the causal VQ-VAE-2 reads, by itself and through the level above it.
import { assemble, duration, newId, plural, settle, tidy, timeAxis } from "../explorer.js";

const GUTTER = 54, TOP = 34, BAND = 3, MELS = 80, CELLS = 14, EDGE = 12;
const FLOOR = TOP + MELS * BAND, HEIGHT = FLOOR + 48, RATE_HZ = 100;
const LEVELS = ["top", "bottom", "output"], BANDS = { top: 8, bottom: 4, output: 1 };
// On a spectrogram, which is dark on a light page too, the colours of a dark page are seen best.
const LIT = { top: "#f2c36b", bottom: "#a478f9", now: "#72f2b2" }, NIGHT = "#0b0d16";
const ENERGY = [/*ENERGY*/];

// --- what is computed: index walks, backwards through the layers. Proved equal to the declared fields of
// CausalVQVAE2 for every size, level and cell, and to its gradient.

const same = ([a, b], half) => [a - half, b + half];
const down = ([a, b]) => [2 * a - 1, 2 * b + 2];
const up = ([a, b]) => [Math.floor((a - 1) / 2), Math.floor((b + 1) / 2)];

/** The code that lies over the chosen band. */
export const cellOf = (s) => Math.floor(s.band / BANDS[s.level]);

/** What the code (or output band) reads: frames back and first and last band, by itself and through the tops. */
export function readState(s) {
  const c = cellOf(s), half = ((s.kernel - 1) / 2) * (s.blocks + 1), once = (s.kernel - 1) * (s.blocks + 1);
  const wide = (cells) => same(cells, half), bands = (cells) => down(down(wide(cells)));
  const clip = ([a, b], limit) => [Math.max(0, a), Math.min(limit, b)];
  let bottoms = null, tops, direct = null, back;
  if (s.level === "top") [tops, back] = [[c, c], 2 * once];
  if (s.level === "bottom") [bottoms, tops, back] = [[c, c], wide(up([c, c])), 3 * once];
  if (s.level === "output") { bottoms = wide(up(up([c, c]))); tops = wide(up(bottoms)); back = 4 * once; }
  const through = { back, bands: clip(bands(down(wide(tops))), MELS - 1) };
  if (bottoms) direct = { back: s.level === "output" ? 2 * once : once, bands: clip(bands(bottoms), MELS - 1) };
  const area = (r) => (r ? (r.back + 1) * (r.bands[1] - r.bands[0] + 1) : 0);
  return {
    direct, through, tops: clip(tops, 9), bottoms: bottoms && clip(bottoms, 19),
    past: back, size: back + 1, bands: through.bands[1] - through.bands[0] + 1,
    cells: area(through), only: area(through) - area(direct),
  };
}

/** What the trained weights look at, where that is known: { table, half } or null. */
export function influence(s) {
  if (s.blocks !== s.trained[0] || s.kernel !== s.trained[1]) return null;
  return s.influence[s.level]?.[cellOf(s)] ?? null;
}

// --- what is drawn: one string of SVG

const stage = (s, width) => {
  const right = width - (width >= 560 ? 132 : 92), dx = (right - GUTTER) / s.frames;
  return { right, dx, x: (t) => GUTTER + t * dx, y: (band) => FLOOR - band * BAND };
};

function lights(s, x, y, dx) {
  const found = s.weights ? influence(s) : null, paths = new Map();
  if (!found) return "";
  for (let age = 0; age * MELS < found.table.length && age <= s.frame; age++) {
    for (let band = 0, run = 1; band < MELS; band += run) {
      const at = age * MELS + band, level = found.table[at];
      for (run = 1; band + run < MELS && found.table[at + run] === level;) run++;
      if (level === "0") continue;
      const piece = `M${tidy(x(s.frame - age))} ${y(band + run)}h${tidy(dx)}v${run * BAND}h${tidy(-dx)}z`;
      paths.set(level, (paths.get(level) ?? "") + piece);
    }
  }
  return [...paths.keys()].sort().map((level) => `<path fill="${ENERGY[5 + 3 * level]}" d="${paths.get(level)}"/>`).join("");
}

export function drawPicture(s, width, id) {
  const f = readState(s), { right, dx, x, y } = stage(s, width), line = x(s.frame + 1);
  const box = (r) => {
    const from = Math.max(0, s.frame - r.back), [low, high] = r.bands;
    return [tidy(x(from)), y(high + 1), tidy(line - x(from)), (high - low + 1) * BAND];
  };
  const rect = (r, style) => { const [a, b, w, h] = box(r); return `<rect x="${a}" y="${b}" width="${w}" height="${h}" ${style}/>`; };
  const hole = (r) => { const [a, b, w, h] = box(r); return `M${a} ${b}h${w}v${h}h${tidy(x(Math.max(0, s.frame - r.back)) - line)}z`; };
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V7" stroke="#b9bdc6" stroke-width="1.6" opacity=".5"/></pattern></defs>`;
  out += `<image href="${s.image}" x="${GUTTER}" y="${TOP}" width="${tidy(right - GUTTER)}" height="${MELS * BAND}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`;
  out += `<path fill="${NIGHT}" fill-rule="evenodd" opacity=".62" d="M${GUTTER} ${TOP}H${tidy(line)}V${FLOOR}H${GUTTER}z${hole(f.through)}"/>`;
  if (f.direct) out += `<path fill="${NIGHT}" fill-rule="evenodd" opacity=".34" d="${hole(f.through)}${hole(f.direct)}"/>`;
  const lit = lights(s, x, y, dx);
  if (lit) out += rect(f.through, `fill="${NIGHT}"`) + lit;
  out += `<rect fill="${NIGHT}" opacity=".8" x="${tidy(line)}" y="${TOP}" width="${tidy(right - line)}" height="${MELS * BAND}"/><rect fill="url(#${id}h)" x="${tidy(line)}" y="${TOP}" width="${tidy(right - line)}" height="${MELS * BAND}"/>`;
  out += rect(f.through, `fill="none" stroke="${LIT.top}" stroke-width="2"`);
  if (f.direct) out += rect(f.direct, `fill="none" stroke="${LIT.bottom}" stroke-width="2.5"`);
  out += `<path d="M${tidy(line)} ${TOP - 4}V${FLOOR + 4}" stroke="${LIT.now}" stroke-width="2"/>`;
  return out + columns(s, f, width, right) + labels(s, f, width, right, line, x, dx);
}

/** The codes of the chosen frame as two columns of cells: which one is asked, which it reads. */
function columns(s, f, width, right) {
  const chosen = cellOf(s), step = width >= 560 ? 54 : 38;
  let out = "";
  LEVELS.slice(0, 2).forEach((level, i) => {
    const at = right + EDGE + 10 + i * step, tall = BANDS[level] * BAND, read = level === "top" ? f.tops : f.bottoms;
    const part = { off: "", on: "", one: "" };
    for (let c = 0; c < MELS / BANDS[level]; c++) {
      const kind = s.level === level && c === chosen ? "one" : read && c >= read[0] && c <= read[1] ? "on" : "off";
      part[kind] += `M${at} ${FLOOR - (c + 1) * tall + 1}h${CELLS}v${tall - 2}h${-CELLS}z`;
    }
    if (part.off) out += `<path fill="var(--cc-muted)" opacity=".25" d="${part.off}"/>`;
    if (part.on) out += `<path fill="var(--cc-${level})" opacity=".6" d="${part.on}"/>`;
    if (part.one) out += `<path fill="var(--cc-${level})" d="${part.one}"/>`;
    out += `<text x="${at + CELLS / 2}" y="${TOP - 10}" text-anchor="middle" style="fill:var(--cc-${level})">${level}</text>`;
  });
  if (s.level === "output") out += `<path fill="var(--cc-present)" d="M${right + 4} ${tidy(FLOOR - (chosen + 0.5) * BAND)}l10 -5v10z"/>`;
  return out;
}

function labels(s, f, width, right, line, x, dx) {
  const here = Math.min(Math.max(line, GUTTER + 14), right - 14);
  let out = `<text class="cc-here" x="${tidy(here)}" y="${TOP - 10}" text-anchor="middle">now</text>`;
  out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${TOP + 10}" text-anchor="end">8 kHz</text><text class="cc-quiet" x="${GUTTER - 8}" y="${FLOOR}" text-anchor="end">50 Hz</text>`;
  return out + timeAxis({ a: 0, b: s.frames - 1, x: (t) => x(t + 0.5), dx, now: s.frame, right, left: GUTTER, y: FLOOR + 4, rateHz: RATE_HZ });
}

// --- what is said

const NAMES = { top: "Top code", bottom: "Bottom code", output: "Output band" };

export function sentence(s) {
  const f = readState(s), [low, high] = f.through.bands, zeros = Math.max(0, f.past - s.frame);
  const reads = `${NAMES[s.level]} ${cellOf(s)} reads the present and ${plural(f.past, "frame")} before it, bands ${low} to ${high}`;
  const [a, b] = f.direct?.bands ?? [], own = f.direct && `; by itself only ${plural(f.direct.back, "frame")} back, bands ${a} to ${b}`;
  const edge = zeros ? ` The first ${plural(zeros, "frame")} of these came before the recording: zeros.` : "";
  return `${reads}${own ? `${own}. The rest comes through the tops` : ""}.${edge}`;
}

export function readouts(s) {
  const f = readState(s), known = influence(s);
  return [
    { key: "past", label: "Past", value: f.past, text: plural(f.past, "frame"), note: duration(f.past, RATE_HZ) },
    { key: "bands", label: "Bands", value: f.bands, text: `${f.bands} of ${MELS}`, note: "" },
    { key: "cells", label: "Values that it can read", value: f.cells, text: plural(f.cells, "value"), note: "" },
    { key: "only", label: "Only through the tops", value: f.only, text: plural(f.only, "value"), note: "" },
    { key: "ahead", label: "Look-ahead", value: 0, text: "0 frames", note: "0 ms" },
    { key: "half", label: "Trained: 99 % within", value: known ? known.within : -1, text: known ? plural(known.within, "frame") : "not measured", note: known ? duration(known.within, RATE_HZ) : "" },
  ];
}

const KEYS = ["level", "band", "frame", "blocks", "kernel", "weights", "frames", "image", "influence", "trained"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { band: [0, MELS - 1], frame: [0, s.frames - 1], blocks: [1, 3] });
  s.kernel = s.kernel >= 4 ? 5 : 3;
  if (!LEVELS.includes(s.level)) s.level = "bottom";
  return s;
}

export const view = (s, width, id) => ({
  picture: drawPicture(s, width, id), height: HEIGHT, sentence: sentence(s), readouts: readouts(s),
});

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const upto = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const where = (band) => `band ${band}${state().level === "output" ? "" : `, code ${Math.floor(band / BANDS[state().level])}`}`;
  const controls = [
    { type: "choice", key: "level", label: "What reads", options: [["top", "top code"], ["bottom", "bottom code"], ["output", "output"]] },
    { type: "slider", key: "band", label: "Height", stops: upto(0, MELS - 1), say: where },
    { type: "slider", key: "frame", label: "Frame", stops: upto(0, model.get("frames") - 1), say: String },
    { type: "slider", key: "blocks", label: "Residual blocks", stops: [1, 2, 3], say: String },
    { type: "choice", key: "kernel", label: "Kernel", options: [[3, "3"], [5, "5"]], number: true },
    { type: "toggle", key: "weights", label: "What the trained weights do read" },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state(), slide = el.querySelector('input[data-key="band"]');
    if (slide) {
      slide.setAttribute("aria-valuetext", where(s.band));
      slide.parentElement.querySelector(".cc-value").textContent = where(s.band);
    }
    return { ...view(s, w, id), range: [0, s.frame, s.frames - 1] };
  };
  const react = ({ stage: box, svg, keep }) => {
    const under = (event) => {
      const s = state(), { dx } = stage(s, width), place = svg.getBoundingClientRect(), scale = width / place.width;
      const px = (event.clientX - place.left) * scale, py = (event.clientY - place.top) * scale;
      const next = settled({ ...s, frame: Math.floor((px - GUTTER) / dx), band: Math.floor((FLOOR - py) / BAND) });
      keep({ frame: next.frame, band: next.band });
    };
    box.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    box.addEventListener("click", under);
    box.addEventListener("keydown", (event) => {
      const s = state(), tall = BANDS[s.level];
      const moves = { ArrowLeft: { frame: s.frame - 1 }, ArrowRight: { frame: s.frame + 1 }, ArrowDown: { band: s.band - tall }, ArrowUp: { band: s.band + tall }, Home: { frame: 0 }, End: { frame: s.frames - 1 } };
      if (!(event.key in moves)) return;
      event.preventDefault();
      const next = settled({ ...s, ...moves[event.key] });
      keep({ frame: next.frame, band: next.band });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
