// The codebook explorer: points on a plane, codewords with their cells, running means that move them.
import {
  choice,
  clamp,
  clock,
  explorer,
  isWide,
  path,
  plural,
  settle,
  remembered,
  slider,
  styled,
  text,
  tidy,
  toggle,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ codes: number, decay: number, restart: boolean, start: "corner" | "points" | "kmeans", steps: number,
 *   placed: string, moved: string, chosen: number }} State
 * @typedef {[number, number]} Point
 * @typedef {{ count: number[], sum: Point[], fresh: boolean[], restarts: number }} Codebook
 */

const WIDTH = 10;
const HEIGHT = 7;
const EDGE = 10;
const TOP = 12;
const DECAYS = [20, 50, 80, 90, 95, 99];
const LAST = 100;
const MOST = 12;
const [BELOW, SMALLEST, ROUNDS] = [0.1, 1e-20, 10]; // of VectorQuantizer
const POINTS =
  "257.536 92.496 628.506 854.118 836.411 125.462 794.405 551.584 583.253 404.246 625.259 288.484 849.271 829.385 " +
  "160.532 799.413 881.94 504.221 860.506 566.562 531.556 205.475 520.256 558.591 809.534 227.525 801.397 493.190 " +
  "176.484 228.551 215.480 826.331 760.360 904.125 203.492 239.512 129.509 230.533 598.518 499.563 805.392 886.99 " +
  "368.138 557.583 538.252 603.564 535.331 156.499 885.369 489.277 146.499 518.260 819.387 233.580 877.472 811.336 " +
  "236.478 445.202 564.580 528.630"; // hundredths of a unit
const DATA = POINTS.split(" ").map((point) => point.split(".").map(Number));

// --- what is computed, in float64. Proved equal to VectorQuantizer, step by step, over the grid of controls.

/** `text` as rows of `columns` whole numbers ("1.2.3_4.5.6"), or nothing where it is something else. */
/** @param {string} text @param {number} columns */
function rows(text, columns) {
  const found = String(text ?? "")
    .split("_")
    .map((row) => row.split(".").map(Number));
  const whole = (/** @type {number} */ n) => Number.isInteger(n) && n >= 0 && n <= 1e6;
  return found.every((row) => row.length === columns && row.every(whole)) ? found : [];
}

/** The data, with those that the reader has dragged away. @param {State} s */
function pointsOf(s) {
  /** @type {Point[]} */
  const points = DATA.map(([x, y]) => [x / 100, y / 100]);
  for (const [i, x, y] of rows(s.moved, 3))
    if (i < points.length) points[i] = [Math.min(x / 1000, WIDTH), Math.min(y / 1000, HEIGHT)];
  return points;
}

/** @param {Point} a @param {Point} b */
const square = (a, b) => (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]);

/** The number of the nearest codeword; of equally near ones the first. */
/** @param {Point} point @param {Point[]} codewords */
const nearest = (point, codewords) =>
  codewords.reduce((best, codeword, j) => (square(point, codeword) < square(point, codewords[best]) ? j : best), 0);

/** Points won by each codeword, and their sums. @param {Point[]} points @param {Point[]} codewords */
export function countWins(points, codewords) {
  const wins = codewords.map(() => 0);
  /** @type {Point[]} */
  const sums = codewords.map(() => [0, 0]);
  for (const p of points) {
    const j = nearest(p, codewords);
    wins[j] += 1;
    sums[j][0] += p[0];
    sums[j][1] += p[1];
  }
  return { wins, sums };
}

/** Where the codewords begin, and their counts: in a corner, on points of the data, or where k-means puts them. */
/** @param {State} s @param {Point[]} points */
function initialCodewords(s, points) {
  /** @param {number} j @returns {Point} */
  const corner = (j) => [(12 + 26 * (j % 4) + 5 * (j >> 2)) / 100, (10 + 24 * (j >> 2) + 7 * (j % 4)) / 100];
  const places = upTo(0, s.codes - 1);
  let codewords = places.map((j) => (s.start === "corner" ? corner(j) : points[picked(j, 0, points.length)]));
  let count = places.map(() => points.length / s.codes);
  for (let round = 0; s.start === "kmeans" && round < ROUNDS; round++) {
    const { wins, sums } = countWins(points, codewords);
    codewords = codewords.map((codeword, j) => (wins[j] ? [sums[j][0] / wins[j], sums[j][1] / wins[j]] : codeword));
    count = wins.map((n) => Math.max(n, SMALLEST));
  }
  return { codewords, count };
}

/** The point for codeword `j` to start at: a walk by the golden ratio, begun at `turn`. */
/** @param {number} j @param {number} turn @param {number} all */
const picked = (j, turn, all) => (turn + j * Math.floor((all * 618034) / 1000000)) % all;

/** Where the reader put the codewords, and their counts; nothing where there is no such place for each. */
/** @param {State} s @returns {{ codewords: Point[], count: number[] } | undefined} */
function placedCodewords(s) {
  const placed = rows(s.placed, 3);
  if (placed.length !== s.codes || placed.some((row) => row[2] === 0)) return undefined;
  return { codewords: placed.map(([x, y]) => [x / 1000, y / 1000]), count: placed.map((row) => row[2] / 1000) };
}

/** The state before the first step: count and sum, as the quantiser keeps them. */
/** @param {State} s @param {Point[]} points @returns {Codebook} */
function first(s, points) {
  const { codewords, count } = placedCodewords(s) ?? initialCodewords(s, points);
  const sum = codewords.map(([x, y], j) => /** @type {Point} */ ([x * count[j], y * count[j]]));
  return { count, sum, fresh: codewords.map(() => false), restarts: 0 };
}

/** @param {Codebook} codebook @returns {Point[]} */
const codewordsOf = ({ count, sum }) => sum.map(([x, y], j) => [x / count[j], y / count[j]]);

/** One step: look up, then let count and sum run after what was won; last, restart what is hardly used. */
/**
 * @param {Codebook} codebook
 * @param {Point[]} points
 * @param {number} decay
 * @param {boolean} restart
 * @returns {Codebook}
 */
function emaStep(codebook, points, decay, restart) {
  const { wins, sums } = countWins(points, codewordsOf(codebook));
  const keep = decay / 100;
  /** @param {number} old @param {number} now */
  const mixed = (old, now) => keep * old + (1 - keep) * now;
  const after = wins.map((n, j) => {
    const [count, [x, y]] = [codebook.count[j], codebook.sum[j]];
    if (count < SMALLEST && n === 0) return [count, x, y];
    return [mixed(count, n), mixed(x, sums[j][0]), mixed(y, sums[j][1])];
  });
  const share = after.reduce((a, [count]) => a + count, 0) / wins.length;
  const turn = wins.reduce((a, n, j) => a + n * (j + 1) * 2654435761, 0) % 2147483648;
  const fresh = after.map(([count]) => restart && count < BELOW * share);
  const moved = after.map((row, j) => {
    const [x, y] = points[picked(j, turn, points.length)];
    return fresh[j] ? [share, x * share, y * share] : row;
  });
  const restarts = codebook.restarts + fresh.filter(Boolean).length;
  return { count: moved.map(([count]) => count), sum: moved.map(([, x, y]) => [x, y]), fresh, restarts };
}

/** Every state from the start to the present step. @param {State} s @param {Point[]} points */
function history(s, points) {
  const codebooks = [first(s, points)];
  for (let t = 0; t < s.steps; t++) codebooks.push(emaStep(codebooks[t], points, s.decay, s.restart));
  return codebooks;
}

/** All that the figure shows of a state. */
const readState = remembered(
  (/** @type {State} */ s) => [s.codes, s.decay, s.restart, s.start, s.steps, s.placed, s.moved].join(),
  (s) => {
    const points = pointsOf(s);
    const codebooks = history(s, points);
    const codewords = codewordsOf(codebooks[s.steps]);
    const { wins } = countWins(points, codewords);
    const all = points.length;
    /** @param {(p: Point) => number} of */
    const mean = (of) => points.reduce((a, p) => a + of(p), 0) / all;
    /** @type {Point} */
    const middle = [mean((p) => p[0]), mean((p) => p[1])];
    const entropy = wins.reduce((a, n) => (n ? a - (n / all) * Math.log(n / all) : a), 0);
    return {
      points,
      codebooks,
      codewords,
      wins,
      error: mean((p) => square(p, codewords[nearest(p, codewords)])),
      variance: mean((p) => square(p, middle)),
      used: wins.filter((n) => n).length,
      perplexity: Math.exp(entropy),
      bits: entropy / Math.log(2),
      restarts: codebooks[s.steps].restarts,
    };
  },
);

/** The cell of codeword `i`: the plane, cut by the halfway line to every other codeword. */
/** @param {number} i @param {Point[]} codewords */
function voronoiCell(i, codewords) {
  /** @type {Point[]} */
  let shape = [
    [0, 0],
    [WIDTH, 0],
    [WIDTH, HEIGHT],
    [0, HEIGHT],
  ];
  codewords.forEach((other, j) => {
    const dx = other[0] - codewords[i][0];
    const dy = other[1] - codewords[i][1];
    if (j === i || (dx === 0 && dy === 0)) return;
    const mx = (other[0] + codewords[i][0]) / 2;
    const my = (other[1] + codewords[i][1]) / 2;
    const beyond = shape.map((p) => (p[0] - mx) * dx + (p[1] - my) * dy);
    /** @type {Point[]} */
    const cut = [];
    shape.forEach((p, k) => {
      const n = (k + 1) % shape.length;
      const q = shape[n];
      if (beyond[k] <= 0) cut.push(p);
      if (beyond[k] <= 0 !== beyond[n] <= 0) {
        const at = beyond[k] / (beyond[k] - beyond[n]);
        cut.push([p[0] + at * (q[0] - p[0]), p[1] + at * (q[1] - p[1])]);
      }
    });
    shape = cut;
  });
  return shape;
}

// --- what is drawn: one string of SVG

/** Pixels of one unit of the plane, and whether the bars stand beside it. @param {number} width */
function layout(width) {
  const beside = isWide(width);
  const unit = Math.min(54, (width - 2 * EDGE - (beside ? 170 : 0)) / WIDTH);
  const bottom = TOP + HEIGHT * unit;
  /** @param {number} v */
  const x = (v) => tidy(EDGE + v * unit);
  /** @param {number} v */
  const y = (v) => tidy(bottom - v * unit);
  return { beside, unit, bottom, x, y, height: Math.ceil(bottom + (beside ? 14 : 112)) };
}

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const f = readState(s);
  const { unit, x, y } = layout(width);
  const at = (/** @type {Point} */ p) => `${x(p[0])} ${y(p[1])}`;
  const outline = (/** @type {Point[]} */ shape) => (shape.length ? `M${shape.map(at).join("L")}Z` : "");
  const size = `width="${tidy(WIDTH * unit)}" height="${tidy(HEIGHT * unit)}"`;
  let out = `<rect x="${EDGE}" y="${TOP}" ${size} style="fill:none;stroke:var(--cc-grid)"/>`;
  const cells = f.codewords.map((_, j) => outline(voronoiCell(j, f.codewords)));
  if (s.chosen < s.codes) out += styled("fill:var(--cc-raised);stroke:none", cells[s.chosen]);
  out += styled("fill:none;stroke:var(--cc-future)", cells.join(""));
  const spokes = f.points.map((p) => `M${at(p)}L${at(f.codewords[nearest(p, f.codewords)])}`);
  const paths = f.codebooks.map(codewordsOf);
  const trails = f.codewords.map((_, j) => {
    const steps = upTo(Math.max(0, s.steps - 40), s.steps);
    const line = steps.map((t, i) => `${i && !f.codebooks[t].fresh[j] ? "L" : "M"}${at(paths[t][j])}`).join("");
    return line.includes("L") ? line : "";
  });
  out += styled("fill:none;stroke:var(--cc-past);opacity:.38", spokes.join(""));
  if (trails.some(Boolean))
    out += styled("fill:none;stroke:var(--cc-bottom);stroke-width:2;opacity:.5", trails.join(""));
  out += path("cc-dot cc-past", f.points.map((p) => `M${at(p)}h.01`).join(""), 'stroke-width="7"');
  /** @param {Point} p @param {number} r @param {string} colour */
  const ring = (p, r, colour) =>
    `<circle cx="${x(p[0])}" cy="${y(p[1])}" r="${r}" style="fill:none;stroke:var(--cc-${colour});stroke-width:2"/>`;
  if (s.chosen >= s.codes) out += ring(f.points[s.chosen - s.codes], 8, "past");
  f.codewords.forEach((codeword, j) => {
    if (f.codebooks[s.steps].fresh[j]) out += ring(codeword, 18, "present");
    if (j === s.chosen) out += ring(codeword, 13.5, "bottom");
    out += token(j, f.wins[j] > 0, x(codeword[0]), y(codeword[1]));
  });
  return out + bars(s, width);
}

/** A codeword: its number on a disc, or on a ring where it wins nothing. */
/** @param {number} j @param {boolean} alive @param {string} x @param {string} y */
function token(j, alive, x, y) {
  const ring = "fill:var(--cc-paper);stroke:var(--cc-skipped);stroke-dasharray:3 2.5;stroke-width:1.6";
  const disc = alive ? "fill:var(--cc-bottom);stroke:var(--cc-paper)" : ring;
  const style = `font-size:11.5px;fill:var(--cc-${alive ? "paper" : "ink"})`;
  const at = `x="${x}" y="${y}" dy="4" text-anchor="middle"`;
  const number = `<text class="cc-digits" ${at} style="${style}">${j + 1}</text>`;
  return `<circle cx="${x}" cy="${y}" r="10" style="${disc}"/>${number}`;
}

/** How many points each codeword wins. @param {State} s @param {number} width */
function bars(s, width) {
  const { wins } = readState(s);
  const { beside, unit, bottom } = layout(width);
  const largest = Math.max(...wins);
  const left = +tidy(EDGE + WIDTH * unit + 26);
  let bar = "";
  let out = beside
    ? text("cc-quiet", left, TOP + 11, "points won")
    : text("cc-quiet", EDGE, bottom + 20, "points won by each codeword");
  wins.forEach((n, j) => {
    if (beside) {
      const y = TOP + 36 + j * Math.min(30, (bottom - TOP - 40) / s.codes);
      const long = (n / largest) * (width - EDGE - left - 50);
      out += token(j, n > 0, tidy(left), tidy(y));
      if (n) bar += `M${tidy(left + 20)} ${tidy(y)}h${tidy(long)}`;
      out += text("cc-digits", left + 28 + long, y + 4, n);
    } else {
      const x = EDGE + ((j + 0.5) * (width - 2 * EDGE)) / s.codes;
      const y = bottom + 86;
      const tall = (n / largest) * 34;
      out += token(j, n > 0, tidy(x), tidy(y + 12));
      if (n) bar += `M${tidy(x)} ${tidy(y - 2)}v${tidy(-tall)}`;
      out += text("cc-digits", x, y - tall - 8, n, "middle");
    }
  });
  return out + styled("fill:none;stroke:var(--cc-bottom);stroke-width:9", bar);
}

// --- what is said

/** Where what is chosen lies: a codeword or a point. @param {State} s */
const chosenPoint = (s) => [...readState(s).codewords, ...readState(s).points][s.chosen];

/** What a key or a finger has hold of. @param {State} s */
function chosen(s) {
  const { codewords, wins } = readState(s);
  const p = chosenPoint(s);
  const spot = `at (${p[0].toFixed(1)}, ${p[1].toFixed(1)})`;
  if (s.chosen < s.codes) return `Codeword ${s.chosen + 1} ${spot} wins ${wins[s.chosen]}.`;
  return `Point ${s.chosen - s.codes + 1} ${spot} goes to codeword ${nearest(p, codewords) + 1}.`;
}

/** @param {State} s */
function sentence(s) {
  const { used, points } = readState(s);
  const some = `${used} of ${s.codes} codewords ${used === 1 ? "carries" : "carry"} all ${points.length} points`;
  return `Step ${s.steps}: ${used < s.codes ? some : `all ${s.codes} codewords are in use`}. ${chosen(s)}`;
}

/** @param {State} s */
function readouts(s) {
  const { error, variance, used, restarts, perplexity, bits } = readState(s);
  const part = `${((100 * error) / variance).toFixed(0)} % of the variance`;
  const most = `${bits.toFixed(2)} of ${Math.log2(s.codes).toFixed(2)} bits`;
  const in_use = { value: used, text: `${used} of ${s.codes}`, note: plural(restarts, "restart") };
  return [
    { key: "error", label: "Mean squared distance", value: error, text: error.toFixed(2), note: part },
    { key: "used", label: "Codewords in use", ...in_use },
    { key: "perplexity", label: "Perplexity", value: perplexity, text: perplexity.toFixed(2), note: most },
  ];
}

/** The changes that put what is chosen at `to` and go on from here: the present codebook becomes the start. */
/** @param {State} s @param {number[]} to */
export function drop(s, to) {
  const { codebooks, codewords } = readState(s);
  const [x, y] = [clamp(to[0] * 1000, 0, WIDTH * 1000), clamp(to[1] * 1000, 0, HEIGHT * 1000)];
  const thousandths = (/** @type {number} */ v, least = 0) => Math.max(least, Math.round(v * 1000));
  const places = codewords.map((p, j) => [
    thousandths(p[0]),
    thousandths(p[1]),
    thousandths(codebooks[s.steps].count[j], 1),
  ]);
  if (s.chosen < s.codes) places[s.chosen].splice(0, 2, x, y);
  const changes = { placed: places.map((place) => place.join(".")).join("_"), steps: 0 };
  if (s.chosen < s.codes) return changes;
  const others = rows(s.moved, 3).filter(([i]) => i !== s.chosen - s.codes);
  return { ...changes, moved: [...others, [s.chosen - s.codes, x, y]].map((row) => row.join(".")).join("_") };
}

/** Where the pointer is on the plane. @param {number} x @param {number} y @param {number} width @returns {Point} */
function onPlane(x, y, width) {
  const { unit, bottom } = layout(width);
  return [(x - EDGE) / unit, (bottom - y) / unit];
}

const CORNERED = () => ({ placed: "" });

/** @type {Declaration<State>} */
const declaration = {
  traits: ["codes", "decay", "restart", "start", "steps", "placed", "moved", "chosen"],
  settled(s) {
    settle(s, { codes: [2, MOST], decay: [20, 99], steps: [0, LAST], chosen: [0, MOST + DATA.length - 1] });
    if (!["corner", "points", "kmeans"].includes(s.start)) s.start = "corner";
    s.chosen = Math.min(s.chosen, s.codes + DATA.length - 1);
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (_, width) => layout(width).height,
  sentence,
  readouts,
  controls: () => [
    slider("steps", "Step", upTo(0, LAST)),
    slider("codes", "Codewords", upTo(2, MOST)),
    slider("decay", "Decay: kept of the past", DECAYS, (v) => `${v} %`),
    choice("start", "Start", [
      ["corner", "corner"],
      ["points", "points"],
      ["kmeans", "k-means"],
    ]),
    toggle("restart", "Restart dead codewords"),
    clock("Learn", 130, (s) => ({ steps: (s.steps + 1) % (LAST + 1) }), { placed: "", moved: "", steps: 0 }),
  ],
  range: (s) => [1, s.chosen + 1, s.codes + DATA.length],
  spoken: chosen,
  press(s, _, shift) {
    const all = s.codes + DATA.length;
    const far = shift ? 0.5 : 0.1;
    const [x, y] = chosenPoint(s);
    return {
      PageUp: { chosen: (s.chosen + 1) % all },
      PageDown: { chosen: (s.chosen - 1 + all) % all },
      Home: { chosen: 0 },
      End: { chosen: s.codes },
      ArrowLeft: drop(s, [x - far, y]),
      ArrowRight: drop(s, [x + far, y]),
      ArrowUp: drop(s, [x, y + far]),
      ArrowDown: drop(s, [x, y - far]),
    };
  },
  grab(s, x, y, width) {
    const { points, codewords } = readState(s);
    const to = onPlane(x, y, width);
    const far = (/** @type {Point} */ p) => Math.sqrt(square(p, to)) * layout(width).unit;
    const distances = [...codewords.map(far), ...points.map((p) => far(p) + 6)];
    const near = Math.min(...distances);
    return near > 22 ? undefined : { chosen: distances.indexOf(near) };
  },
  at: (s, x, y, width) => drop(s, onPlane(x, y, width)),
  handles(s, width) {
    const { x, y } = layout(width);
    /** @param {Point[]} list @param {number} r */
    const discs = (list, r) => list.map((p) => `<circle cx="${x(p[0])}" cy="${y(p[1])}" r="${r}"/>`).join("");
    const { points, codewords } = readState(s);
    return `<g style="fill:transparent;touch-action:none;cursor:grab">${discs(points, 9)}${discs(codewords, 20)}</g>`;
  },
  after: { start: CORNERED, codes: CORNERED },
};

export default explorer(declaration);
