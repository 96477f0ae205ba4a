// The distribution explorer: a histogram over 256 bins, and three distributions fitted to it. What does each pay for a
// value, and what can it not say?
import {
  choice,
  explorer,
  isWide,
  path,
  remembered,
  rect,
  settle,
  slider,
  styled,
  text,
  tidy,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ shape: "two" | "one" | "cut", bars: string, components: number, bits: number, chosen: number,
 *   before: number, below: number, contexts: number[][] }} State
 * @typedef {[number, number, number]} Normal weight, mean and deviation, in bins; bin k reaches from k to k + 1
 */

const LEVELS = 256;
const BARS = 32;
const TALL = 20;
const STEPS = 80;
const LEAST = 0.25;
const EDGE = 10;
const HIGH = 190;
const FOOT = 40;
const CELLS = 8;
const BINS = upTo(0, LEVELS - 1);
export const DRAWN = {
  two: "000000014aeeb6210000002bgkgb3100",
  one: "0000000000000137dikihd7310000000",
  cut: "kcb98765433221111000000000000000",
};

/** Heights of the bars: those that a reader drew, else those of the shape. @param {State} s @returns {number[]} */
export function bars(s) {
  if (s.contexts.length) return s.contexts[(s.before - 1) * CELLS + s.below - 1];
  const text = /^[0-9a-k]{32}$/.test(s.bars) ? s.bars : DRAWN[s.shape].padEnd(BARS, "0");
  return [...text].map((letter) => parseInt(letter, 36));
}

/** Bins of a bar. @param {State} s */
const binsOf = (s) => LEVELS / bars(s).length;

/** @param {number[]} list */
const sum = (list) => list.reduce((a, b) => a + b, 0);

/** The probability of every bin: a bar spreads evenly over its bins; where there is nothing, all are alike. */
/** @param {State} s */
function histogram(s) {
  const heights = bars(s);
  const each = binsOf(s);
  const total = sum(heights);
  return BINS.map((k) => (total ? heights[Math.floor(k / each)] / total / each : 1 / LEVELS));
}

// --- the distributions

const ERFC = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
  0.17087277,
];

/** The logarithm of the normal CDF: an approximation of erfc with a relative error of 1e-7 (Numerical Recipes). */
/** @param {number} x @returns {number} */
export function logPhi(x) {
  if (x > 0) return Math.log1p(-Math.exp(logPhi(-x)));
  const z = -x / Math.SQRT2;
  const t = 1 / (1 + 0.5 * z);
  const series = ERFC.reduceRight((rest, coefficient) => coefficient + t * rest);
  return Math.log(t) - z * z + series - Math.LN2;
}

/** The logarithm of what a normal distribution puts on a bin; the first and the last reach to infinity. */
/** @param {number} k @param {number} mean @param {number} deviation */
function logMass(k, mean, deviation) {
  let low = k === 0 ? -Infinity : (k - mean) / deviation;
  let high = k === LEVELS - 1 ? Infinity : (k + 1 - mean) / deviation;
  if (low + high > 0) [low, high] = [-high, -low];
  const top = logPhi(high);
  return low === -Infinity ? top : top + Math.log1p(-Math.exp(logPhi(low) - top));
}

/** The Gaussian of most likelihood: the mean and the variance of what was counted. */
/** @param {number[]} h @returns {Normal[]} */
export function gaussianFit(h) {
  const mean = h.reduce((a, p, k) => a + p * (k + 0.5), 0);
  return [[1, mean, Math.sqrt(h.reduce((a, p, k) => a + p * (k + 0.5 - mean) * (k + 0.5 - mean), 1 / 12))]];
}

/**
 * A mixture of Gaussians by 80 rounds of expectation and maximisation, begun at even shares of what was counted, each
 * wider than the last: two that began alike would stay alike.
 * A bar of `each` bins counts as a point at its centre, with its own width added to the variance.
 * @param {number[]} h
 * @param {number} components
 * @param {number} each
 * @returns {Normal[]}
 */
export function mixtureFit(h, components, each) {
  const [[, , all]] = gaussianFit(h);
  const own = (each * each) / 12;
  const x = upTo(0, LEVELS - each, each).map((k) => k + each / 2);
  const p = upTo(0, LEVELS - each, each).map((k) => sum(h.slice(k, k + each)));
  /** @type {Normal[]} */
  let fit = [];
  let before = 0;
  p.forEach((part, k) => {
    before += part;
    while (fit.length < components && before > (fit.length + 0.5) / components + 1e-9)
      fit.push([1 / components, x[k], (all * (fit.length + 1)) / components]);
  });
  /** @type {number[]} */
  const shares = Array(components).fill(0);
  for (let step = 0; step < STEPS; step++) {
    const moments = fit.map(() => [0, 0, 0]);
    const start = fit.map(([weight, , deviation]) => Math.log(weight) - Math.log(deviation));
    for (let k = 0; k < p.length; k++) {
      if (p[k] === 0) continue;
      let largest = -Infinity;
      let total = 0;
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

/** The log-probability of every bin under a mixture of Gaussians. @param {Normal[]} fit */
const logMixture = (fit) =>
  BINS.map((k) => {
    const logs = fit.map(([weight, mean, deviation]) => Math.log(weight) + logMass(k, mean, deviation));
    const largest = Math.max(...logs);
    return largest + Math.log(logs.reduce((a, l) => a + Math.exp(l - largest), 0));
  });

/** The log-probability of every bin under a categorical distribution: each coarse bin's share, spread evenly. */
/** @param {number[]} h @param {number} bits */
function logCounts(h, bits) {
  const each = 2 ** (8 - bits);
  return h.map((_, k) => Math.log(sum(h.slice(k - (k % each), k - (k % each) + each)) / each));
}

/** What a distribution pays for a value, in bits. @param {number[]} h @param {number[]} logs */
const price = (h, logs) => -h.reduce((a, p, k) => (p > 0 ? a + p * logs[k] : a), 0) / Math.LN2;

/** All that the figure shows of a state. */
const readState = remembered(
  (/** @type {State} */ s) => JSON.stringify([bars(s), s.components, s.bits]),
  (s) => {
    const h = histogram(s);
    const gaussian = gaussianFit(h);
    const mixture = mixtureFit(h, s.components, binsOf(s));
    const logs = { gaussian: logMixture(gaussian), mixture: logMixture(mixture), categorical: logCounts(h, s.bits) };
    const bits = {
      gaussian: price(h, logs.gaussian),
      mixture: price(h, logs.mixture),
      categorical: price(h, logs.categorical),
      entropy: price(h, h.map(Math.log)),
    };
    return { h, gaussian, mixture, logs, bits, empty: !bars(s).some((n) => n) };
  },
);

// --- what is drawn: one string of SVG

const COLOURS = { gaussian: "speaker-b", mixture: "top", categorical: "speaker-a" };
const KINDS = /** @type {const} */ (["gaussian", "mixture", "categorical"]);

/** @param {number} width */
function layout(width) {
  const beside = isWide(width);
  const top = beside ? 34 : 70;
  return { beside, top, bottom: top + HIGH, dx: (width - 2 * EDGE) / LEVELS, height: top + HIGH + FOOT };
}

/** The probability at the upper edge: fixed while bars are drawn, so that a bar stays under the finger. */
/** @param {State} s */
function highestOf(s) {
  const total = sum(bars(s));
  return s.contexts.length || !total ? Math.max(...histogram(s)) * 1.1 : ((TALL * 1.05) / total) * (BARS / LEVELS);
}

/** @param {State} s */
const names = (s) => ({
  gaussian: "one Gaussian",
  mixture: s.components === 1 ? "mixture of one" : `mixture of ${s.components}`,
  categorical: `${2 ** s.bits} bins`,
});

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const f = readState(s);
  const { beside, top, bottom, dx } = layout(width);
  const highest = highestOf(s);
  const each = binsOf(s);
  /** @param {number} level */
  const x = (level) => tidy(EDGE + level * dx);
  /** @param {number} p */
  const y = (p) => tidy(bottom - Math.min(1.04, p / highest) * HIGH);
  /** @param {keyof COLOURS} name @param {string} width */
  const look = (name, width) => `fill:none;stroke:var(--cc-${COLOURS[name]});stroke-width:${width}`;
  const full = upTo(0, LEVELS - each, each).filter((k) => f.h[k] > 0);
  const data = full.map((k) => `M${x(k)} ${bottom}V${y(f.h[k])}H${x(k + each)}V${bottom}z`);
  let out = styled("fill:var(--cc-future);opacity:.42", data.join(""));
  const hold = `<rect x="${x(s.chosen * each)}" y="${bottom}" width="${tidy(each * dx)}" height="5"`;
  if (!s.contexts.length) out += `${hold} style="fill:var(--cc-accent)"/>`;
  /** @param {number[]} logs */
  const curve = (logs) => "M" + logs.map((l, k) => `${x(k + 0.5)} ${y(Math.exp(l))}`).join("L");
  const coarse = 2 ** (8 - s.bits);
  const steps = upTo(0, LEVELS - coarse, coarse).map((k) => `${y(Math.exp(f.logs.categorical[k]))}H${x(k + coarse)}`);
  out +=
    styled(look("gaussian", "2.2"), curve(f.logs.gaussian)) + styled(look("mixture", "2.2"), curve(f.logs.mixture));
  out += styled(look("categorical", "1.4"), `M${x(0)} ${steps.join("V")}`);
  const mean = x(f.gaussian[0][1]);
  out += styled(look("gaussian", "1.4;stroke-dasharray:5 4"), `M${mean} ${top}V${bottom}`);
  out += path("cc-tick", `M${EDGE} ${bottom}H${tidy(width - EDGE)}`);
  for (const level of upTo(0, LEVELS, 64)) {
    const anchor = level === 0 ? "start" : level === LEVELS ? "end" : "middle";
    out += text("cc-digits cc-quiet", EDGE + level * dx, bottom + 20, Math.min(level, LEVELS - 1), anchor);
  }
  out += text("cc-quiet", width / 2, bottom + 36, "bin", "middle");
  KINDS.forEach((name, i) => {
    const left = beside ? EDGE + (i * (width - 2 * EDGE)) / 3 : EDGE;
    const up = beside ? 14 : 14 + 20 * i;
    out += styled(look(name, "3"), `M${tidy(left)} ${up - 4}h18`);
    out += text("cc-digits", left + 25, up, `${names(s)[name]}: ${f.bits[name].toFixed(2)} bits`);
  });
  return out;
}

// --- what is said

/** What the keys have hold of. @param {State} s */
function chosen(s) {
  if (s.contexts.length) return `The frame before in bins ${span(s.before)}, the band below in ${span(s.below)}.`;
  const each = LEVELS / BARS;
  const bins = `bins ${s.chosen * each} to ${(s.chosen + 1) * each - 1}`;
  return `Bar ${s.chosen + 1}, ${bins}: height ${bars(s)[s.chosen]} of ${TALL}.`;
}

/** @param {number} cell */
const span = (cell) => `${(cell - 1) * 32}–${cell * 32 - 1}`;

/** @param {State} s */
function sentence(s) {
  const { gaussian, bits, h, empty } = readState(s);
  const mean = gaussian[0][1];
  if (empty) return "There is nothing here. All distributions say that all bins are alike, and pay 8 bits.";
  const more = Math.max(0, bits.gaussian - bits.entropy);
  const none = h[Math.min(LEVELS - 1, Math.floor(mean))] === 0;
  const least = `No distribution can pay less than ${bits.entropy.toFixed(2)} bits.`;
  const where = `The mean is ${mean.toFixed(0)}${none ? ", where nothing lies" : ""}.`;
  return `${least} The Gaussian pays ${more.toFixed(2)} more. ${where}`;
}

/** @param {State} s */
function readouts(s) {
  const { bits } = readState(s);
  /** @param {"entropy" | keyof COLOURS} key @param {string} label @param {string} [note] */
  const row = (key, label, note) => {
    const name = label[0].toUpperCase() + label.slice(1);
    return { key, label: name, value: bits[key], text: `${bits[key].toFixed(2)} bits`, note };
  };
  /** @param {keyof COLOURS} name */
  const more = (name) => `${Math.max(0, bits[name] - bits.entropy).toFixed(2)} more`;
  return [row("entropy", "Entropy"), ...KINDS.map((name) => row(name, names(s)[name], more(name)))];
}

/** The bars as text, with the chosen one at another height. */
/** @param {State} s @param {number} bar @param {number} height */
export function redrawn(s, bar, height) {
  const heights = bars(s).slice();
  heights[bar] = Math.min(TALL, Math.max(0, Math.round(height)));
  return heights.map((n) => n.toString(36)).join("");
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["shape", "bars", "components", "bits", "chosen", "before", "below", "contexts"],
  settled(s) {
    settle(s, { components: [1, 6], bits: [1, 8], chosen: [0, BARS - 1], before: [1, CELLS], below: [1, CELLS] });
    if (!(s.shape in DRAWN)) s.shape = "two";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (_, width) => layout(width).height,
  sentence,
  readouts,
  controls: () => [
    choice("shape", "Lumps", [
      ["two", "two"],
      ["one", "one"],
      ["cut", "cut off"],
    ]),
    slider("before", "Frame before", upTo(1, CELLS), span),
    slider("below", "Band below", upTo(1, CELLS), span),
    slider("components", "Components", upTo(1, 6)),
    slider("bits", "Bins", upTo(1, 8), (v) => `${2 ** v}`),
  ],
  range: (s) => (s.contexts.length ? [1, s.before, CELLS] : [1, s.chosen + 1, BARS]),
  spoken: (s) => `${chosen(s)} ${sentence(s)}`,
  move: (place, s) => (s.contexts.length ? { before: place } : { chosen: place - 1 }),
  /** @returns {Record<string, Partial<State>>} */
  press(s) {
    if (s.contexts.length) return { ArrowUp: { below: s.below + 1 }, ArrowDown: { below: s.below - 1 } };
    const to = (/** @type {number} */ by) => ({ bars: redrawn(s, s.chosen, bars(s)[s.chosen] + by) });
    return { ArrowUp: to(1), ArrowDown: to(-1) };
  },
  at(s, x, y, width) {
    const { dx, bottom, top } = layout(width);
    const bar = Math.floor((x - EDGE) / dx / (LEVELS / BARS));
    const up = bottom - y;
    if (s.contexts.length || bar < 0 || bar >= BARS || up > bottom - top + 8) return undefined;
    return { chosen: bar, bars: redrawn(s, bar, (up / HIGH) * TALL * 1.05) };
  },
  handles(s, width) {
    const style = 'style="fill:transparent;touch-action:none;cursor:ns-resize"';
    return s.contexts.length ? "" : rect(style, EDGE, layout(width).top, width - 2 * EDGE, HIGH + 8);
  },
  after: { shape: () => ({ bars: "" }) },
};

export default explorer(declaration);
