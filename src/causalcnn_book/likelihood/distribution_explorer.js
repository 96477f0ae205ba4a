import { assemble, settle, tidy } from "../explorer.js";

// A histogram over 256 bins, and three distributions fitted to it: what does each pay for a value, and what can it not say?

const LEVELS = 256, BARS = 32, TALL = 20, STEPS = 80, LEAST = 0.25, EDGE = 10, HIGH = 190, FOOT = 40;
const SHAPES = ["two", "one", "cut"], CELLS = 8;
const LIMITS = { components: [1, 6], bits: [1, 8], chosen: [0, BARS - 1], before: [1, CELLS], below: [1, CELLS] };
export const DRAWN = {
  two: "000000014aeeb6210000002bgkgb3100", one: "0000000000000137dikihd7310000000",
  cut: "kcb98765433221111000000000000000",
};

/** Heights of the bars: those that a reader drew, else those of the shape. */
export function bars(s) {
  if (s.contexts.length) return s.contexts[(s.before - 1) * CELLS + s.below - 1];
  const text = /^[0-9a-k]{32}$/.test(s.bars) ? s.bars : DRAWN[s.shape].padEnd(BARS, "0");
  return [...text].map((letter) => parseInt(letter, 36));
}

/** The probability of every bin: a bar spreads evenly over its bins; where there is nothing, all are alike. */
export function histogram(s) {
  const heights = bars(s), each = LEVELS / heights.length, total = heights.reduce((a, b) => a + b, 0);
  return Array.from({ length: LEVELS }, (_, k) => (total ? heights[Math.floor(k / each)] / total / each : 1 / LEVELS));
}

// --- the distributions, with means and deviations in bins; bin k reaches from k to k + 1

/** The logarithm of the normal CDF: an approximation of erfc with a relative error of 1e-7 (Numerical Recipes). */
export function logPhi(x) {
  if (x > 0) return Math.log1p(-Math.exp(logPhi(-x)));
  const z = -x / Math.SQRT2, t = 1 / (1 + 0.5 * z);
  const series = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return Math.log(t) - z * z + series - Math.LN2;
}

/** The logarithm of what a normal distribution puts on a bin; the first and the last reach to infinity. */
function logMass(k, mean, deviation) {
  let low = k === 0 ? -Infinity : (k - mean) / deviation, high = k === LEVELS - 1 ? Infinity : (k + 1 - mean) / deviation;
  if (low + high > 0) [low, high] = [-high, -low];
  const top = logPhi(high);
  return low === -Infinity ? top : top + Math.log1p(-Math.exp(logPhi(low) - top));
}

/** The Gaussian of most likelihood: the mean and the variance of what was counted. */
export function gaussianFit(h) {
  const mean = h.reduce((a, p, k) => a + p * (k + 0.5), 0);
  return [[1, mean, Math.sqrt(h.reduce((a, p, k) => a + p * (k + 0.5 - mean) * (k + 0.5 - mean), 1 / 12))]];
}

/**
 * A mixture of Gaussians by 80 rounds of expectation and maximisation, begun at even shares of what was counted, each
 * wider than the last: two that began alike would stay alike.
 * A bar of `each` bins counts as a point at its centre, with its own width added to the variance.
 */
export function mixtureFit(h, components, each) {
  const [[, , all]] = gaussianFit(h), p = [], x = [], own = (each * each) / 12;
  for (let k = 0; k < LEVELS; k += each) {
    let sum = 0;
    for (let i = 0; i < each; i++) sum += h[k + i];
    p.push(sum);
    x.push(k + each / 2);
  }
  let fit = [], sum = 0;
  p.forEach((part, k) => {
    sum += part;
    while (fit.length < components && sum > (fit.length + 0.5) / components + 1e-9) fit.push([1 / components, x[k], (all * (fit.length + 1)) / components]);
  });
  const shares = Array(components).fill(0);
  for (let step = 0; step < STEPS; step++) {
    const moments = fit.map(() => [0, 0, 0]), start = fit.map(([weight, , deviation]) => Math.log(weight) - Math.log(deviation));
    for (let k = 0; k < p.length; k++) {
      if (p[k] === 0) continue;
      let largest = -Infinity, total = 0;
      for (let i = 0; i < components; i++) {
        const z = (x[k] - fit[i][1]) / fit[i][2];
        shares[i] = start[i] - (z * z) / 2;
        if (shares[i] > largest) largest = shares[i];
      }
      for (let i = 0; i < components; i++) total += shares[i] = Math.exp(shares[i] - largest);
      for (let i = 0; i < components; i++) {
        const part = (p[k] * shares[i]) / total;
        moments[i][0] += part;
        moments[i][1] += part * x[k];
        moments[i][2] += part * x[k] * x[k];
      }
    }
    fit = fit.map((old, i) => {
      const [weight, first, second] = moments[i];
      if (weight < 1e-6) return [1e-6, old[1], old[2]];
      const mean = first / weight;
      return [weight, mean, Math.sqrt(Math.max(LEAST, second / weight - mean * mean + own))];
    });
  }
  const total = fit.reduce((a, [weight]) => a + weight, 0);
  return fit.map(([weight, mean, deviation]) => [weight / total, mean, deviation]);
}

/** The log-probability of every bin under a mixture of Gaussians. */
export function logMixture(fit) {
  return Array.from({ length: LEVELS }, (_, k) => {
    const logs = fit.map(([weight, mean, deviation]) => Math.log(weight) + logMass(k, mean, deviation)), largest = Math.max(...logs);
    return largest + Math.log(logs.reduce((a, l) => a + Math.exp(l - largest), 0));
  });
}

/** The log-probability of every bin under a categorical distribution: each coarse bin's share, spread evenly. */
export function logCounts(h, bits) {
  const each = 2 ** (8 - bits);
  return h.map((_, k) => Math.log(h.slice(k - (k % each), k - (k % each) + each).reduce((a, b) => a + b, 0) / each));
}

/** What a distribution pays for a value, in bits. */
export const price = (h, logs) => -h.reduce((a, p, k) => (p > 0 ? a + p * logs[k] : a), 0) / Math.LN2;

let memory = ["", null];
/** All that the figure shows of a state. */
export function readState(s) {
  const key = JSON.stringify([bars(s), s.components, s.bits]);
  if (memory[0] === key) return memory[1];
  const h = histogram(s), gaussian = gaussianFit(h), mixture = mixtureFit(h, s.components, LEVELS / bars(s).length);
  const logs = { gaussian: logMixture(gaussian), mixture: logMixture(mixture), categorical: logCounts(h, s.bits) };
  const bits = Object.fromEntries(Object.entries(logs).map(([name, l]) => [name, price(h, l)]));
  const value = { h, gaussian, mixture, logs, bits: { ...bits, entropy: price(h, h.map(Math.log)) }, empty: !bars(s).some((n) => n) };
  memory = [key, value];
  return value;
}

// --- what is drawn: one string of SVG

const COLOURS = { gaussian: "speaker-b", mixture: "top", categorical: "speaker-a" };

export function layout(width) {
  const beside = width >= 560, top = beside ? 34 : 70;
  return { beside, top, bottom: top + HIGH, dx: (width - 2 * EDGE) / LEVELS, height: top + HIGH + FOOT };
}

/** The probability at the upper edge: fixed while bars are drawn, so that a bar stays under the finger. */
function scale(s) {
  const heights = bars(s), total = heights.reduce((a, b) => a + b, 0);
  return s.contexts.length || !total ? Math.max(...histogram(s)) * 1.1 : ((TALL * 1.05) / total) * (BARS / LEVELS);
}

const names = (s) => ({ gaussian: "one Gaussian", mixture: s.components === 1 ? "mixture of one" : `mixture of ${s.components}`, categorical: `${2 ** s.bits} bins` });

export function drawPicture(s, width) {
  const f = readState(s), { beside, top, bottom, dx } = layout(width), highest = scale(s);
  const x = (level) => tidy(EDGE + level * dx), y = (p) => tidy(bottom - Math.min(1.04, p / highest) * HIGH);
  const each = LEVELS / bars(s).length;
  let data = "", out = "";
  for (let k = 0; k < LEVELS; k += each) if (f.h[k] > 0) data += `M${x(k)} ${bottom}V${y(f.h[k])}H${x(k + each)}V${bottom}z`;
  out += `<path style="fill:var(--cc-future);opacity:.42" d="${data}"/>`;
  if (!s.contexts.length) out += `<rect x="${x(s.chosen * each)}" y="${bottom}" width="${tidy(each * dx)}" height="5" style="fill:var(--cc-accent)"/>`;
  for (const [name, logs] of Object.entries(f.logs)) {
    let line = "";
    if (name === "categorical") {
      const step = 2 ** (8 - s.bits);
      for (let k = 0; k < LEVELS; k += step) line += `${k ? "V" : `M${x(0)} `}${y(Math.exp(logs[k]))}H${x(k + step)}`;
    } else logs.forEach((l, k) => (line += `${k ? "L" : "M"}${x(k + 0.5)} ${y(Math.exp(l))}`));
    out += `<path style="fill:none;stroke:var(--cc-${COLOURS[name]});stroke-width:${name === "categorical" ? 1.4 : 2.2}" d="${line}"/>`;
  }
  const mean = x(f.gaussian[0][1]);
  out += `<path style="fill:none;stroke:var(--cc-${COLOURS.gaussian});stroke-width:1.4;stroke-dasharray:5 4" d="M${mean} ${top}V${bottom}"/>`;
  out += `<path class="cc-tick" d="M${EDGE} ${bottom}H${tidy(width - EDGE)}"/>`;
  for (let level = 0; level <= LEVELS; level += 64) out += `<text class="cc-digits cc-quiet" x="${x(level)}" y="${bottom + 20}" text-anchor="${level === 0 ? "start" : level === LEVELS ? "end" : "middle"}">${level === LEVELS ? "255" : level}</text>`;
  out += `<text class="cc-quiet" x="${tidy(width / 2)}" y="${bottom + 36}" text-anchor="middle">bin</text>`;
  Object.entries(names(s)).forEach(([name, label], i) => {
    const left = beside ? EDGE + (i * (width - 2 * EDGE)) / 3 : EDGE, up = beside ? 14 : 14 + 20 * i;
    out += `<path style="fill:none;stroke:var(--cc-${COLOURS[name]});stroke-width:3" d="M${tidy(left)} ${up - 4}h18"/>`;
    out += `<text class="cc-digits" x="${tidy(left + 25)}" y="${up}">${label}: ${f.bits[name].toFixed(2)} bits</text>`;
  });
  return out;
}

// --- what is said

/** What the keys have hold of. */
export function chosen(s) {
  if (s.contexts.length) return `The frame before in bins ${span(s.before)}, the band below in ${span(s.below)}.`;
  const each = LEVELS / BARS;
  return `Bar ${s.chosen + 1}, bins ${s.chosen * each} to ${(s.chosen + 1) * each - 1}: height ${bars(s)[s.chosen]} of ${TALL}.`;
}

const span = (cell) => `${(cell - 1) * 32}–${cell * 32 - 1}`;

export function sentence(s) {
  const f = readState(s), mean = f.gaussian[0][1];
  if (f.empty) return "There is nothing here. All distributions say that all bins are alike, and pay 8 bits.";
  const more = Math.max(0, f.bits.gaussian - f.bits.entropy), none = f.h[Math.min(LEVELS - 1, Math.floor(mean))] === 0;
  const where = `The mean is ${mean.toFixed(0)}${none ? ", where nothing lies" : ""}.`;
  return `No distribution can pay less than ${f.bits.entropy.toFixed(2)} bits. The Gaussian pays ${more.toFixed(2)} more. ${where}`;
}

export function readouts(s) {
  const f = readState(s), over = (name) => `${Math.max(0, f.bits[name] - f.bits.entropy).toFixed(2)} more`;
  const label = names(s);
  return [
    { key: "entropy", label: "Entropy", value: f.bits.entropy, text: `${f.bits.entropy.toFixed(2)} bits`, note: "" },
    ...["gaussian", "mixture", "categorical"].map((name) => ({ key: name, label: label[name][0].toUpperCase() + label[name].slice(1), value: f.bits[name], text: `${f.bits[name].toFixed(2)} bits`, note: over(name) })),
  ];
}

const KEYS = ["shape", "bars", "components", "bits", "chosen", "before", "below", "contexts"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, LIMITS);
  if (!SHAPES.includes(s.shape)) s.shape = "two";
  return s;
}

export const view = (s, width) => ({
  picture: drawPicture(s, width), height: layout(width).height, sentence: sentence(s), readouts: readouts(s),
});

/** The bars as text, with the chosen one at another height. */
export function redrawn(s, bar, height) {
  const heights = bars(s).slice();
  heights[bar] = Math.min(TALL, Math.max(0, Math.round(height)));
  return heights.map((n) => n.toString(36)).join("");
}

function render({ model, el }) {
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const upto = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i), given = model.get("contexts").length > 0;
  const controls = [
    { type: "choice", key: "shape", label: "Lumps", options: [["two", "two"], ["one", "one"], ["cut", "cut off"]] },
    { type: "slider", key: "before", label: "Frame before", stops: upto(1, CELLS), say: span },
    { type: "slider", key: "below", label: "Band below", stops: upto(1, CELLS), say: span },
    { type: "slider", key: "components", label: "Components", stops: upto(1, 6), say: String },
    { type: "slider", key: "bits", label: "Bins", stops: upto(1, 8), say: (v) => `${2 ** v}` },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state(), shown = view(s, w);
    return {
      ...shown, picture: shown.picture + handle(), spoken: `${chosen(s)} ${shown.sentence}`,
      range: given ? [1, s.before, CELLS] : [1, s.chosen + 1, BARS],
    };
  };
  /** Where a finger draws: the page does not scroll from there. */
  const handle = () => {
    const { top } = layout(width);
    return given ? "" : `<rect x="${EDGE}" y="${top}" width="${width - 2 * EDGE}" height="${HIGH + 8}" style="fill:transparent;touch-action:none;cursor:ns-resize"/>`;
  };
  const react = ({ stage, svg, keep }) => {
    let held = false;
    const put = (event) => {
      const place = svg.getBoundingClientRect(), scale = width / place.width, { dx, bottom, top } = layout(width), s = state();
      const bar = Math.floor(((event.clientX - place.left) * scale - EDGE) / dx / (LEVELS / BARS)), up = bottom - (event.clientY - place.top) * scale;
      if (bar < 0 || bar >= BARS || up > bottom - top + 8) return false;
      keep({ chosen: bar, bars: redrawn(s, bar, (up / HIGH) * TALL * 1.05) });
      return true;
    };
    stage.addEventListener("pointerdown", (event) => {
      if (given || !put(event)) return;
      held = true;
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => { if (held) put(event); });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (held = false));
    stage.addEventListener("keydown", (event) => {
      const s = state(), by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!by) return;
      event.preventDefault();
      if (given) return keep({ before: settled({ ...s, before: s.before + by[0] }).before, below: settled({ ...s, below: s.below + by[1] }).below });
      const bar = settled({ ...s, chosen: s.chosen + by[0] }).chosen;
      keep(by[1] ? { bars: redrawn(s, bar, bars(s)[bar] + by[1]) } : { chosen: bar });
    });
  };
  const again = () => { model.set("bars", ""); model.save_changes(); };
  model.on("change:shape", again);
  const done = assemble({ model, el }, { controls, draw, react });
  return () => { model.off("change:shape", again); done(); };
}

export default { render };
