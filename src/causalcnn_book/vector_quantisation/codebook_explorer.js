// The codebook explorer: points on a plane, codewords with their cells, running means that move them.
import { assemble, clamp, make, plural, settle, tidy } from "../explorer.js";

const WIDTH = 10, HEIGHT = 7, EDGE = 10, TOP = 12, DECAYS = [20, 50, 80, 90, 95, 99], LAST = 100, MOST = 12;
const BELOW = 0.1, SMALLEST = 1e-20, ROUNDS = 10; // of VectorQuantizer
const DATA = `
257.536 92.496 628.506 854.118 836.411 125.462 794.405 551.584 583.253 404.246 625.259 288.484 849.271 829.385
160.532 799.413 881.94 504.221 860.506 566.562 531.556 205.475 520.256 558.591 809.534 227.525 801.397 493.190
176.484 228.551 215.480 826.331 760.360 904.125 203.492 239.512 129.509 230.533 598.518 499.563 805.392 886.99
368.138 557.583 538.252 603.564 535.331 156.499 885.369 489.277 146.499 518.260 819.387 233.580 877.472 811.336
236.478 445.202 564.580 528.630
`.trim().split(/\s+/).map((point) => point.split(".").map(Number)); // hundredths of a unit
const LIMITS = { codes: [2, MOST], decay: [20, 99], steps: [0, LAST], chosen: [0, MOST + DATA.length - 1] };

// --- what is computed, in float64. Proved equal to VectorQuantizer, step by step, over the grid of controls.

/** `text` as rows of `columns` whole numbers ("1.2.3_4.5.6"), or nothing where it is something else. */
function rows(text, columns) {
  const found = String(text ?? "").split("_").map((row) => row.split(".").map(Number));
  return found.every((row) => row.length === columns && row.every((n) => Number.isInteger(n) && n >= 0 && n <= 1e6)) ? found : [];
}

/** The data, with those that the reader has dragged away. */
export function pointsOf(s) {
  const points = DATA.map(([x, y]) => [x / 100, y / 100]);
  for (const [i, x, y] of rows(s.moved, 3)) if (i < points.length) points[i] = [Math.min(x / 1000, WIDTH), Math.min(y / 1000, HEIGHT)];
  return points;
}

const square = (a, b) => (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]);

/** The number of the nearest codeword; of equally near ones the first. */
export function nearest(point, codewords) {
  let best = 0;
  for (let j = 1; j < codewords.length; j++) if (square(point, codewords[j]) < square(point, codewords[best])) best = j;
  return best;
}

/** Points won by each codeword, and their sums. */
export function countWins(points, codewords) {
  const wins = codewords.map(() => 0), sums = codewords.map(() => [0, 0]);
  for (const p of points) {
    const j = nearest(p, codewords);
    wins[j] += 1;
    sums[j][0] += p[0];
    sums[j][1] += p[1];
  }
  return { wins, sums };
}

/** Where the codewords begin, and their counts: crowded in a corner, on points of the data, or where k-means puts them. */
export function initialCodewords(s, points) {
  const at = (j) => (s.start === "corner" ? [(12 + 26 * (j % 4) + 5 * (j >> 2)) / 100, (10 + 24 * (j >> 2) + 7 * (j % 4)) / 100] : points[picked(j, 0, points.length)]);
  let codewords = Array.from({ length: s.codes }, (_, j) => at(j)), count = codewords.map(() => points.length / s.codes);
  for (let round = 0; s.start === "kmeans" && round < ROUNDS; round++) {
    const { wins, sums } = countWins(points, codewords);
    codewords = codewords.map((codeword, j) => (wins[j] ? [sums[j][0] / wins[j], sums[j][1] / wins[j]] : codeword));
    count = wins.map((n) => Math.max(n, SMALLEST));
  }
  return { codewords, count };
}

/** The point for codeword `j` to start at: a walk by the golden ratio, begun at `turn`. */
const picked = (j, turn, all) => (turn + j * Math.floor((all * 618034) / 1000000)) % all;

/** The state before the first step: count and sum, as the quantiser keeps them. */
export function first(s, points) {
  const placed = rows(s.placed, 3), given = placed.length === s.codes && placed.every((row) => row[2] > 0);
  const { codewords, count } = given ? { codewords: placed.map(([x, y]) => [x / 1000, y / 1000]), count: placed.map((row) => row[2] / 1000) } : initialCodewords(s, points);
  return { count, sum: codewords.map((codeword, j) => [codeword[0] * count[j], codeword[1] * count[j]]), fresh: codewords.map(() => false), restarts: 0 };
}

export const codewordsOf = (codebook) => codebook.sum.map((sum, j) => [sum[0] / codebook.count[j], sum[1] / codebook.count[j]]);

/** One step: look up, then let count and sum run after what was won; last, restart what is hardly used. */
export function emaStep(codebook, points, decay, restart) {
  const { wins, sums } = countWins(points, codewordsOf(codebook)), keep = decay / 100, all = points.length;
  const after = wins.map((n, j) => {
    if (codebook.count[j] < SMALLEST && n === 0) return [codebook.count[j], ...codebook.sum[j]];
    return [[codebook.count[j], n], [codebook.sum[j][0], sums[j][0]], [codebook.sum[j][1], sums[j][1]]].map(([old, now]) => keep * old + (1 - keep) * now);
  });
  const share = after.reduce((a, [count]) => a + count, 0) / wins.length;
  const turn = wins.reduce((a, n, j) => a + n * (j + 1) * 2654435761, 0) % 2147483648;
  const fresh = after.map(([count]) => restart && count < BELOW * share);
  const moved = after.map((row, j) => { const p = points[picked(j, turn, all)]; return fresh[j] ? [share, p[0] * share, p[1] * share] : row; });
  return { count: moved.map((row) => row[0]), sum: moved.map((row) => [row[1], row[2]]), fresh, restarts: codebook.restarts + fresh.filter(Boolean).length };
}

/** Every state from the start to the present step. */
export function history(s) {
  const points = pointsOf(s), codebooks = [first(s, points)];
  for (let t = 0; t < s.steps; t++) codebooks.push(emaStep(codebooks[t], points, s.decay, s.restart));
  return codebooks;
}

let memory = ["", null];
/** All that the figure shows of a state. */
export function readState(s) {
  const key = [s.codes, s.decay, s.restart, s.start, s.steps, s.placed, s.moved].join();
  if (memory[0] === key) return memory[1];
  const points = pointsOf(s), codebooks = history(s), codewords = codewordsOf(codebooks.at(-1)), { wins } = countWins(points, codewords);
  const all = points.length, mean = [0, 1].map((axis) => points.reduce((a, p) => a + p[axis], 0) / all);
  const error = points.reduce((a, p) => a + square(p, codewords[nearest(p, codewords)]), 0) / all;
  const variance = points.reduce((a, p) => a + square(p, mean), 0) / all;
  const entropy = wins.reduce((a, n) => (n ? a - (n / all) * Math.log(n / all) : a), 0);
  const value = { points, codebooks, codewords, wins, error, variance, used: wins.filter((n) => n).length, perplexity: Math.exp(entropy), bits: entropy / Math.log(2), restarts: codebooks.at(-1).restarts };
  memory = [key, value];
  return value;
}

/** The cell of codeword `i`: the plane, cut by the halfway line to every other codeword. */
export function voronoiCell(i, codewords) {
  let shape = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]];
  codewords.forEach((other, j) => {
    const dx = other[0] - codewords[i][0], dy = other[1] - codewords[i][1];
    if (j === i || (dx === 0 && dy === 0)) return;
    const mx = (other[0] + codewords[i][0]) / 2, my = (other[1] + codewords[i][1]) / 2;
    const beyond = shape.map((p) => (p[0] - mx) * dx + (p[1] - my) * dy), cut = [];
    shape.forEach((p, k) => {
      const n = (k + 1) % shape.length, q = shape[n];
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

/** Pixels of one unit of the plane, and whether the bars stand beside it. */
export function layout(width) {
  const beside = width >= 560, unit = Math.min(54, (width - 2 * EDGE - (beside ? 170 : 0)) / WIDTH);
  const bottom = TOP + HEIGHT * unit;
  return { beside, unit, bottom, height: Math.ceil(bottom + (beside ? 14 : 112)) };
}

export function drawPicture(s, width) {
  const f = readState(s), { beside, unit, bottom } = layout(width), codebook = f.codebooks.at(-1);
  const x = (v) => tidy(EDGE + v * unit), y = (v) => tidy(bottom - v * unit), at = (p) => `${x(p[0])} ${y(p[1])}`;
  const path = (shape) => (shape.length ? `M${shape.map(at).join("L")}Z` : "");
  let out = `<rect x="${EDGE}" y="${TOP}" width="${tidy(WIDTH * unit)}" height="${tidy(HEIGHT * unit)}" style="fill:none;stroke:var(--cc-grid)"/>`;
  const cells = f.codewords.map((_, j) => path(voronoiCell(j, f.codewords)));
  if (s.chosen < s.codes) out += `<path style="fill:var(--cc-raised);stroke:none" d="${cells[s.chosen]}"/>`;
  out += `<path style="fill:none;stroke:var(--cc-future)" d="${cells.join("")}"/>`;
  let spokes = "", trails = "", dots = "";
  for (const p of f.points) {
    spokes += `M${at(p)}L${at(f.codewords[nearest(p, f.codewords)])}`;
    dots += `M${at(p)}h.01`;
  }
  const path_of = f.codebooks.map(codewordsOf);
  f.codewords.forEach((_, j) => {
    let line = "";
    for (let t = Math.max(0, s.steps - 40); t <= s.steps; t++) line += `${line && !f.codebooks[t].fresh[j] ? "L" : "M"}${at(path_of[t][j])}`;
    if (line.includes("L")) trails += line;
  });
  out += `<path style="fill:none;stroke:var(--cc-past);opacity:.38" d="${spokes}"/>`;
  if (trails) out += `<path style="fill:none;stroke:var(--cc-bottom);stroke-width:2;opacity:.5" d="${trails}"/>`;
  out += `<path class="cc-dot cc-past" stroke-width="7" d="${dots}"/>`;
  if (s.chosen >= s.codes) {
    const p = f.points[s.chosen - s.codes];
    out += `<circle cx="${x(p[0])}" cy="${y(p[1])}" r="8" style="fill:none;stroke:var(--cc-past);stroke-width:2"/>`;
  }
  f.codewords.forEach((codeword, j) => {
    const spot = `cx="${x(codeword[0])}" cy="${y(codeword[1])}"`;
    if (codebook.fresh[j]) out += `<circle ${spot} r="18" style="fill:none;stroke:var(--cc-present);stroke-width:2"/>`;
    if (j === s.chosen) out += `<circle ${spot} r="13.5" style="fill:none;stroke:var(--cc-bottom);stroke-width:2"/>`;
    out += token(j, f.wins[j] > 0, x(codeword[0]), y(codeword[1]));
  });
  return out + bars(s, f, width, beside, bottom);
}

/** A codeword: its number on a disc, or on a ring where it wins nothing. */
function token(j, alive, x, y) {
  const disc = alive ? "fill:var(--cc-bottom);stroke:var(--cc-paper)" : "fill:var(--cc-paper);stroke:var(--cc-skipped);stroke-dasharray:3 2.5;stroke-width:1.6";
  return `<circle cx="${x}" cy="${y}" r="10" style="${disc}"/><text class="cc-digits" x="${x}" y="${y}" dy="4" text-anchor="middle" style="font-size:11.5px;fill:var(--cc-${alive ? "paper" : "ink"})">${j + 1}</text>`;
}

/** How many points each codeword wins. */
function bars(s, f, width, beside, bottom) {
  const largest = Math.max(...f.wins), left = tidy(EDGE + WIDTH * layout(width).unit + 26);
  let out = "", bar = "";
  if (beside) out += `<text class="cc-quiet" x="${left}" y="${TOP + 11}">points won</text>`;
  else out += `<text class="cc-quiet" x="${EDGE}" y="${tidy(bottom + 20)}">points won by each codeword</text>`;
  f.wins.forEach((n, j) => {
    if (beside) {
      const y = TOP + 36 + j * Math.min(30, (bottom - TOP - 40) / s.codes), from = +left + 20, long = (n / largest) * (width - EDGE - from - 30);
      out += token(j, n > 0, left, tidy(y));
      if (n) bar += `M${tidy(from)} ${tidy(y)}h${tidy(long)}`;
      out += `<text class="cc-digits" x="${tidy(from + long + 8)}" y="${tidy(y + 4)}">${n}</text>`;
    } else {
      const x = EDGE + ((j + 0.5) * (width - 2 * EDGE)) / s.codes, y = bottom + 86, tall = (n / largest) * 34;
      out += token(j, n > 0, tidy(x), tidy(y + 12));
      if (n) bar += `M${tidy(x)} ${tidy(y - 2)}v${tidy(-tall)}`;
      out += `<text class="cc-digits" x="${tidy(x)}" y="${tidy(y - tall - 8)}" text-anchor="middle">${n}</text>`;
    }
  });
  return `${out}<path style="fill:none;stroke:var(--cc-bottom);stroke-width:9" d="${bar}"/>`;
}

// --- what is said

/** What a key or a finger has hold of: a codeword or a point, and where it is. */
export function chosen(s) {
  const f = readState(s), j = s.chosen, p = j < s.codes ? f.codewords[j] : f.points[j - s.codes], spot = `${p[0].toFixed(1)}, ${p[1].toFixed(1)}`;
  return j < s.codes ? `Codeword ${j + 1} at (${spot}) wins ${f.wins[j]}.` : `Point ${j - s.codes + 1} at (${spot}) goes to codeword ${nearest(p, f.codewords) + 1}.`;
}

export function sentence(s) {
  const f = readState(s), some = `${f.used} of ${s.codes} codewords ${f.used === 1 ? "carries" : "carry"} all ${f.points.length} points`;
  return `Step ${s.steps}: ${f.used < s.codes ? some : `all ${s.codes} codewords are in use`}. ${chosen(s)}`;
}

export function readouts(s) {
  const f = readState(s);
  return [
    { key: "error", label: "Mean squared distance", value: f.error, text: f.error.toFixed(2), note: `${((100 * f.error) / f.variance).toFixed(0)} % of the variance` },
    { key: "used", label: "Codewords in use", value: f.used, text: `${f.used} of ${s.codes}`, note: plural(f.restarts, "restart") },
    { key: "perplexity", label: "Perplexity", value: f.perplexity, text: f.perplexity.toFixed(2), note: `${f.bits.toFixed(2)} of ${Math.log2(s.codes).toFixed(2)} bits` },
  ];
}

const KEYS = ["codes", "decay", "restart", "start", "steps", "placed", "moved", "chosen"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, LIMITS);
  if (!["corner", "points", "kmeans"].includes(s.start)) s.start = "corner";
  s.chosen = Math.min(s.chosen, s.codes + DATA.length - 1);
  return s;
}

export const view = (s, width) => ({
  picture: drawPicture(s, width), height: layout(width).height, sentence: sentence(s), readouts: readouts(s),
});

/** The changes that put what is chosen at `to` and go on from here: the present codebook becomes the start. */
export function drop(s, to) {
  const f = readState(s), codebook = f.codebooks.at(-1), [x, y] = [clamp(to[0] * 1000, 0, WIDTH * 1000), clamp(to[1] * 1000, 0, HEIGHT * 1000)];
  const codewords = f.codewords.map((codeword, j) => [Math.max(0, Math.round(codeword[0] * 1000)), Math.max(0, Math.round(codeword[1] * 1000)), Math.max(1, Math.round(codebook.count[j] * 1000))]);
  if (s.chosen < s.codes) codewords[s.chosen].splice(0, 2, x, y);
  const changes = { placed: codewords.map((codeword) => codeword.join(".")).join("_"), steps: 0 };
  if (s.chosen < s.codes) return changes;
  const others = rows(s.moved, 3).filter(([i]) => i !== s.chosen - s.codes);
  return { ...changes, moved: [...others, [s.chosen - s.codes, x, y]].map((row) => row.join(".")).join("_") };
}

function render({ model, el }) {
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const upto = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  let width = 720;
  const controls = [
    { type: "slider", key: "steps", label: "Step", stops: upto(0, LAST), say: String },
    { type: "slider", key: "codes", label: "Codewords", stops: upto(2, MOST), say: String },
    { type: "slider", key: "decay", label: "Decay: kept of the past", stops: DECAYS, say: (v) => `${v} %` },
    { type: "choice", key: "start", label: "Start", options: [["corner", "corner"], ["points", "points"], ["kmeans", "k-means"]] },
    { type: "toggle", key: "restart", label: "Restart dead codewords" },
    { type: "clock", key: "play", label: "Learn", everyMs: 130, step: () => { model.set("steps", (state().steps + 1) % (LAST + 1)); model.save_changes(); } },
  ];
  const draw = (w) => {
    width = w;
    const s = state(), shown = view(s, w);
    return {
      ...shown, picture: shown.picture + handles(s), spoken: chosen(s), range: [1, s.chosen + 1, s.codes + DATA.length],
    };
  };
  /** Discs that a finger can hold: the page does not scroll from there. */
  const handles = (s) => {
    const f = readState(s), { unit, bottom } = layout(width);
    const discs = (list, r) => list.map(([x, y]) => `<circle cx="${tidy(EDGE + x * unit)}" cy="${tidy(bottom - y * unit)}" r="${r}"/>`).join("");
    return `<g style="fill:transparent;touch-action:none;cursor:grab">${discs(f.points, 9)}${discs(f.codewords, 20)}</g>`;
  };
  const react = ({ stage, svg, keep }) => {
    let held = false;
    const place = (event) => {
      const box = svg.getBoundingClientRect(), scale = width / box.width, { unit, bottom } = layout(width);
      return [((event.clientX - box.left) * scale - EDGE) / unit, (bottom - (event.clientY - box.top) * scale) / unit];
    };
    const put = (to) => keep(drop(state(), [Math.min(WIDTH, Math.max(0, to[0])), Math.min(HEIGHT, Math.max(0, to[1]))]));
    stage.addEventListener("pointerdown", (event) => {
      const s = state(), f = readState(s), to = place(event), { unit } = layout(width), far = (p) => Math.sqrt(square(p, to)) * unit;
      const codewords = f.codewords.map((p, j) => [far(p), j]), points = f.points.map((p, i) => [far(p) + 6, s.codes + i]);
      const [near, which] = [...codewords, ...points].reduce((a, b) => (b[0] < a[0] ? b : a));
      if (near > 22) return;
      held = true;
      stage.setPointerCapture(event.pointerId);
      keep({ chosen: which });
    });
    stage.addEventListener("pointermove", (event) => { if (held) put(place(event)); });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (held = false));
    stage.addEventListener("keydown", (event) => {
      const s = state(), f = readState(s), all = s.codes + f.points.length, far = event.shiftKey ? 0.5 : 0.1;
      const to = { PageUp: s.chosen + 1, PageDown: s.chosen - 1, Home: 0, End: s.codes }[event.key];
      const by = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] }[event.key];
      if (to === undefined && !by) return;
      event.preventDefault();
      if (to !== undefined) return keep({ chosen: (to + all) % all });
      const p = s.chosen < s.codes ? f.codewords[s.chosen] : f.points[s.chosen - s.codes];
      put([p[0] + by[0], p[1] + by[1]]);
    });
  };
  const again = () => { model.set("placed", ""); model.save_changes(); };
  for (const key of ["start", "codes"]) model.on("change:" + key, again);
  const done = assemble({ model, el }, { controls, draw, react });
  const anew = make("button", { type: "button", "data-key": "anew", onclick: () => {
    for (const [key, value] of [["placed", ""], ["moved", ""], ["steps", 0]]) model.set(key, value);
    model.save_changes();
  } }, "Reset");
  el.querySelector(".cc-buttons")?.append(anew);
  return () => { for (const key of ["start", "codes"]) model.off("change:" + key, again); done(); };
}

export default { render };
