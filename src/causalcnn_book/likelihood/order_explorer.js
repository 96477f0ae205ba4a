// The order explorer: a small spectrogram, and the order in which its values are predicted. Which of them may a value
// read, which does it?
import {
  choice,
  clock,
  count,
  explorer,
  hatch,
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
/**
 * @typedef {{ order: "frame" | "band" | "tiers" | "shuffled", network: "all" | "masked" | "two", layers: number,
 *   kernel: number, frame: number, band: number }} State
 */

const FRAMES = 13;
const BANDS = 8;
const CELLS = FRAMES * BANDS;
const GUTTER = 30;
const TOP = 8;
const FOOT = 44;
const ENOUGH = 16;
const ORDERS = ["frame", "band", "tiers", "shuffled"];
const NETWORKS = ["all", "masked", "two"];

/** @param {number} t @param {number} f */
const cellAt = (t, f) => t * BANDS + f;

/** Frame and band of a cell. @param {number} cell @returns {[number, number]} */
const placeOf = (cell) => [Math.floor(cell / BANDS), cell % BANDS];

/** The number of each cell in an order by chance, the same for everybody. */
const SHUFFLED = (() => {
  const key = (/** @type {number} */ cell) => ((cell * 7919 + 13) * (cell * 7919 + 13)) % 10007;
  const cells = upTo(0, CELLS - 1).sort((a, b) => key(a) - key(b) || a - b);
  return upTo(0, CELLS - 1).map((cell) => cells.indexOf(cell));
})();

/** The number of a value in the order, from 0; frames and bands are counted from 0 here. */
/** @param {State["order"]} order @param {number} t @param {number} f */
export function rank(order, t, f) {
  if (order === "band") return f * FRAMES + t;
  if (order === "tiers") return (t % 2 ? Math.ceil(FRAMES / 2) + (t - 1) / 2 : t / 2) * BANDS + f;
  return order === "shuffled" ? SHUFFLED[cellAt(t, f)] : cellAt(t, f);
}

/** @param {number} t @param {number} f */
const inside = (t, f) => t >= 0 && t < FRAMES && f >= 0 && f < BANDS;

/** Every cell from which one of `cells` reads, through taps (frames back, bands up). */
/** @param {Iterable<number>} cells @param {number[][]} taps @returns {Set<number>} */
function reached(cells, taps) {
  const found = new Set();
  for (const cell of cells) {
    const [t, f] = placeOf(cell);
    for (const [back, up] of taps) if (inside(t - back, f + up)) found.add(cellAt(t - back, f + up));
  }
  return found;
}

/** Taps of a kernel: those of earlier frames, and those of the present frame from `low` to `high` bands. */
/** @param {number} kernel @param {boolean} past @param {number} low @param {number} high */
function taps(kernel, past, low, high) {
  const half = (kernel - 1) / 2;
  const before = past ? upTo(1, kernel - 1) : [];
  return [
    ...before.flatMap((back) => upTo(-half, half).map((up) => [back, up])),
    ...upTo(low, high).map((up) => [0, up]),
  ];
}

/** Causal convolutions one above the other, masked in the present frame: lower at first, then lower or equal. */
/** @param {number} cell @param {number} layers @param {number} kernel */
function maskedStack(cell, layers, kernel) {
  const half = (kernel - 1) / 2;
  let cells = new Set([cell]);
  for (let layer = layers; layer > 1; layer--) cells = reached(cells, taps(kernel, true, -half, 0));
  return reached(cells, taps(kernel, true, -half, -1));
}

/** One stack over the frames before, all bands around; another along the present frame, which reads the first. */
/** @param {number} cell @param {number} layers @param {number} kernel */
function twoStacks(cell, layers, kernel) {
  const half = (kernel - 1) / 2;
  let along = new Set([cell]);
  /** @type {Set<number>} */
  let before = new Set();
  for (let layer = layers; layer >= 1; layer--) {
    before = reached(new Set([...before, ...along]), taps(kernel, true, -half, half));
    along = reached(along, taps(kernel, false, -half, layer === 1 ? -1 : 0));
  }
  return new Set([...along, ...reached(before, [[1, 0]])]); // fed with the frame before
}

/** What one value may read and does read, as cells t·8 + f. @param {State} s */
function readState(s) {
  const cell = cellAt(s.frame - 1, s.band - 1);
  const ranks = upTo(0, CELLS - 1).map((c) => rank(s.order, ...placeOf(c)));
  const number = ranks[cell];
  const allowed = upTo(0, CELLS - 1).filter((c) => ranks[c] < number);
  /** @param {number} layers */
  const walk = (layers) => {
    if (s.network === "all") return allowed;
    return [...(s.network === "two" ? twoStacks : maskedStack)(cell, layers, s.kernel)].sort((a, b) => a - b);
  };
  const seen = walk(s.layers);
  const ever = new Set(walk(ENOUGH));
  const future = seen.filter((c) => placeOf(c)[0] >= s.frame);
  return { cell, number, allowed, seen, blind: allowed.filter((c) => !ever.has(c)), future };
}

// --- what is drawn: one string of SVG

/** @param {number} width */
export function layout(width) {
  const size = Math.min(46, Math.floor((width - GUTTER - 6) / FRAMES));
  return { size, bottom: TOP + BANDS * size, height: TOP + BANDS * size + FOOT };
}

const STYLES = {
  closed: "fill:var(--cc-paper)",
  beyond: "fill:var(--cc-raised)",
  blind: "fill:var(--cc-skipped)",
  seen: "fill:var(--cc-past)",
  leak: "fill:var(--cc-leak)",
  self: "fill:var(--cc-present)",
};

/** @param {State} s */
export function kinds(s) {
  const f = readState(s);
  /** @type {(keyof typeof STYLES)[]} */
  const kind = Array(CELLS).fill("closed");
  for (const c of f.allowed) kind[c] = "beyond";
  for (const c of f.blind) kind[c] = "blind";
  for (const c of f.seen) kind[c] = "seen";
  for (const c of f.future) kind[c] = "leak";
  kind[f.cell] = "self";
  return kind;
}

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { size, bottom } = layout(width);
  const right = GUTTER + FRAMES * size;
  const line = GUTTER + s.frame * size;
  const paths = { closed: "", beyond: "", blind: "", seen: "", leak: "", self: "" };
  let numbers = "";
  kinds(s).forEach((kind, c) => {
    const [t, f] = placeOf(c);
    const [x, y] = [GUTTER + t * size, bottom - (f + 1) * size];
    paths[kind] += `M${x + 1} ${y + 1}h${size - 2}v${size - 2}h${2 - size}z`;
    const ink = kind === "closed" || kind === "beyond" ? "muted" : "paper";
    const number = rank(s.order, t, f) + 1;
    const style = `font-size:${size > 29 ? 12 : number > 99 ? 8 : 10}px;fill:var(--cc-${ink})`;
    const at = `x="${tidy(x + size / 2)}" y="${tidy(y + size / 2 + 4)}"`;
    numbers += `<text class="cc-digits" ${at} text-anchor="middle" style="${style}">${number}</text>`;
  });
  let out = hatch(id);
  for (const [kind, d] of Object.entries(paths))
    if (d) out += styled(`${STYLES[/** @type {keyof typeof paths} */ (kind)]};stroke:var(--cc-grid)`, d);
  if (paths.closed) out += `<path fill="url(#${id}h)" d="${paths.closed}"/>`;
  out += numbers;
  if (line < right) out += path("cc-now", `M${line} ${TOP - 4}V${bottom + 4}`);
  for (const f of upTo(1, BANDS))
    out += text("cc-digits cc-quiet", GUTTER - 8, bottom - (f - 0.5) * size + 4, f, "end");
  for (const t of upTo(1, FRAMES))
    out += text("cc-digits cc-quiet", GUTTER + (t - 0.5) * size, bottom + 18, t, "middle");
  out += text("cc-quiet", right, bottom + 37, "frame (time)", "end");
  return out + text("cc-quiet", GUTTER - 18, bottom + 37, "band (frequency) upwards");
}

// --- what is said

/** @param {State} s */
function sentence(s) {
  const f = readState(s);
  const who = `Frame ${s.frame}, band ${s.band}`;
  const may = f.allowed.length;
  if (s.network === "all") {
    const before = `may read ${may === 1 ? "the one value" : `the ${may} values`} before it`;
    const first = may ? before : "is the first: it may read nothing";
    const [ahead, one] = [f.future.length, f.future.length === 1];
    const unheard = `nobody can have heard ${one ? "it" : "them"} yet`;
    const leak = `${ahead} of them ${one ? "lies" : "lie"} in the future: ${unheard}.`;
    return `${who} is number ${f.number + 1} and ${first}. ${ahead ? leak : "None of them lies in the future."}`;
  }
  const hidden = f.blind.length;
  const far = may - f.seen.length - hidden;
  /** @param {number} n */
  const are = (n) => `${n} ${n === 1 ? "is" : "are"}`;
  const rest = hidden ? ` ${are(hidden)} in a blind spot, out of reach for any number of layers.` : "";
  const reads = `${plural(s.layers, "layer")} ${s.layers === 1 ? "reads" : "read"} ${f.seen.length} of them`;
  return `${who} may read ${plural(may, "value")}; ${reads}.${rest}${far ? ` ${are(far)} too far away.` : ""}`;
}

/** @param {State} s */
function readouts(s) {
  const { number, seen, allowed, future, blind } = readState(s);
  /** @param {string} key @param {string} label @param {number} value */
  const row = (key, label, value) => ({ key, label, value, text: count(value) });
  return [
    { ...row("number", "Its number", number + 1), text: `${number + 1} of ${CELLS}` },
    { ...row("seen", "Values that it reads", seen.length), note: `of ${allowed.length} allowed` },
    { ...row("future", "From the future", future.length), leak: future.length > 0 },
    row("blind", "Blind spot", blind.length),
  ];
}

/** Frame and band of the value that comes next in the order (or by −1 before it); after the last, the first. */
/** @param {State} s */
export function following(s, by = 1) {
  const next = (rank(s.order, s.frame - 1, s.band - 1) + by + CELLS) % CELLS;
  const [t, f] = placeOf(upTo(0, CELLS - 1).findIndex((c) => rank(s.order, ...placeOf(c)) === next));
  return { frame: t + 1, band: f + 1 };
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["order", "network", "layers", "kernel", "frame", "band"],
  settled(s) {
    settle(s, { frame: [1, FRAMES], band: [1, BANDS], layers: [1, 6] });
    s.kernel = s.kernel >= 4 ? 5 : 3;
    if (!ORDERS.includes(s.order)) s.order = "frame";
    if (!NETWORKS.includes(s.network) || s.order !== "frame") s.network = "all";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (_, width) => layout(width).height,
  sentence,
  readouts,
  controls: () => [
    choice("order", "Order by", [
      ["frame", "frame"],
      ["band", "band"],
      ["tiers", "tier"],
      ["shuffled", "chance"],
    ]),
    choice("network", "Stacks of layers", [
      ["all", "any"],
      ["masked", "one"],
      ["two", "two"],
    ]),
    slider("layers", "Layers", upTo(1, 6)),
    choice("kernel", "Kernel", [
      [3, "3"],
      [5, "5"],
    ]),
    clock("Follow the order", 160, (s) => following(s)),
  ],
  range: (s) => [1, readState(s).number + 1, CELLS],
  press: (s) => ({
    ArrowLeft: { frame: s.frame - 1 },
    ArrowRight: { frame: s.frame + 1 },
    ArrowDown: { band: s.band - 1 },
    ArrowUp: { band: s.band + 1 },
    Home: { frame: 1 },
    End: { frame: FRAMES },
    PageUp: following(s),
    PageDown: following(s, -1),
  }),
  at(_, x, y, width) {
    const { size, bottom } = layout(width);
    const [t, f] = [Math.floor((x - GUTTER) / size), Math.floor((bottom - y) / size)];
    return inside(t, f) ? { frame: t + 1, band: f + 1 } : undefined;
  },
};

export default explorer(declaration);
