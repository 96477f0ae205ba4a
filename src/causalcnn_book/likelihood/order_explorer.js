import { assemble, count, newId, plural, settle, tidy } from "../explorer.js";

// A small spectrogram, and the order in which its values are predicted: which of them may a value read, which does it?

const FRAMES = 13, BANDS = 8, CELLS = FRAMES * BANDS, GUTTER = 30, TOP = 8, FOOT = 44, ENOUGH = 16;
const ORDERS = ["frame", "band", "tiers", "shuffled"], NETWORKS = ["all", "masked", "two"];
const LIMITS = { frame: [1, FRAMES], band: [1, BANDS], layers: [1, 6] };

const shuffle = (() => {
  const key = (cell) => ((cell * 7919 + 13) * (cell * 7919 + 13)) % 10007;
  const cells = Array.from({ length: CELLS }, (_, cell) => cell).sort((a, b) => key(a) - key(b) || a - b), place = [];
  cells.forEach((cell, i) => (place[cell] = i));
  return place;
})();

/** The number of a value in the order, from 0; frames and bands are counted from 0 here. */
export function rank(order, t, f) {
  if (order === "band") return f * FRAMES + t;
  if (order === "tiers") return (t % 2 ? Math.ceil(FRAMES / 2) + (t - 1) / 2 : t / 2) * BANDS + f;
  return order === "shuffled" ? shuffle[t * BANDS + f] : t * BANDS + f;
}

const inside = (t, f) => t >= 0 && t < FRAMES && f >= 0 && f < BANDS;

/** Every cell from which one of `cells` reads, through taps (frames back, bands up). */
function reached(cells, taps) {
  const found = new Set();
  for (const cell of cells) {
    const t = Math.floor(cell / BANDS), f = cell % BANDS;
    for (const [back, up] of taps) if (inside(t - back, f + up)) found.add((t - back) * BANDS + f + up);
  }
  return found;
}

/** Taps of a kernel: those of earlier frames, and those of the present frame from `low` to `high` bands. */
function taps(kernel, past, low, high) {
  const half = (kernel - 1) / 2, found = [];
  for (let back = 1; past && back < kernel; back++) for (let up = -half; up <= half; up++) found.push([back, up]);
  for (let up = low; up <= high; up++) found.push([0, up]);
  return found;
}

/** Causal convolutions one above the other, masked in the present frame: strictly lower at first, then lower or equal. */
function maskedStack(cell, layers, kernel) {
  const half = (kernel - 1) / 2;
  let cells = new Set([cell]);
  for (let layer = layers; layer > 1; layer--) cells = reached(cells, taps(kernel, true, -half, 0));
  return reached(cells, taps(kernel, true, -half, -1));
}

/** One stack over the frames before, all bands around; another along the present frame, which reads the first. */
function twoStacks(cell, layers, kernel) {
  const half = (kernel - 1) / 2, seen = new Set();
  let along = new Set([cell]), before = new Set();
  for (let layer = layers; layer >= 1; layer--) {
    before = reached(new Set([...before, ...along]), taps(kernel, true, -half, half));
    along = reached(along, taps(kernel, false, -half, layer === 1 ? -1 : 0));
  }
  for (const there of along) seen.add(there);
  for (const there of reached(before, [[1, 0]])) seen.add(there); // fed with the frame before
  return seen;
}

/** What one value may read and does read, as cells t·8 + f. */
export function readState(s) {
  const t = s.frame - 1, f = s.band - 1, cell = t * BANDS + f, number = rank(s.order, t, f);
  const allowed = [];
  for (let c = 0; c < CELLS; c++) if (rank(s.order, Math.floor(c / BANDS), c % BANDS) < number) allowed.push(c);
  const walk = { masked: maskedStack, two: twoStacks }[s.network];
  const sorted = (set) => [...set].sort((a, b) => a - b);
  const seen = walk ? sorted(walk(cell, s.layers, s.kernel)) : allowed;
  const ever = new Set(walk ? walk(cell, ENOUGH, s.kernel) : allowed);
  return { cell, number, allowed, seen, blind: allowed.filter((c) => !ever.has(c)), future: seen.filter((c) => Math.floor(c / BANDS) > t) };
}

// --- what is drawn: one string of SVG

export function layout(width) {
  const size = Math.min(46, Math.floor((width - GUTTER - 6) / FRAMES));
  return { size, bottom: TOP + BANDS * size, height: TOP + BANDS * size + FOOT };
}

const KINDS = ["closed", "beyond", "blind", "seen", "leak", "self"];
const STYLES = {
  closed: "fill:var(--cc-paper)", beyond: "fill:var(--cc-raised)", blind: "fill:var(--cc-skipped)",
  seen: "fill:var(--cc-past)", leak: "fill:var(--cc-leak)", self: "fill:var(--cc-present)",
};

export function kinds(s) {
  const f = readState(s), kind = Array(CELLS).fill("closed");
  for (const c of f.allowed) kind[c] = "beyond";
  for (const c of f.blind) kind[c] = "blind";
  for (const c of f.seen) kind[c] = "seen";
  for (const c of f.future) kind[c] = "leak";
  kind[f.cell] = "self";
  return kind;
}

export function drawPicture(s, width, id) {
  const { size, bottom } = layout(width), kind = kinds(s), right = GUTTER + FRAMES * size, line = GUTTER + s.frame * size;
  const paths = Object.fromEntries(KINDS.map((k) => [k, ""]));
  let numbers = "";
  for (let c = 0; c < CELLS; c++) {
    const t = Math.floor(c / BANDS), f = c % BANDS, x = GUTTER + t * size, y = bottom - (f + 1) * size, k = kind[c];
    paths[k] += `M${x + 1} ${y + 1}h${size - 2}v${size - 2}h${2 - size}z`;
    const ink = k === "closed" || k === "beyond" ? "muted" : "paper";
    numbers += `<text class="cc-digits" x="${tidy(x + size / 2)}" y="${tidy(y + size / 2 + 4)}" text-anchor="middle" style="font-size:${size > 29 ? 12 : rank(s.order, t, f) > 98 ? 8 : 10}px;fill:var(--cc-${ink})">${rank(s.order, t, f) + 1}</text>`;
  }
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  for (const k of KINDS) if (paths[k]) out += `<path style="${STYLES[k]};stroke:var(--cc-grid)" d="${paths[k]}"/>`;
  if (paths.closed) out += `<path fill="url(#${id}h)" d="${paths.closed}"/>`;
  out += numbers;
  if (line < right) out += `<path class="cc-now" d="M${line} ${TOP - 4}V${bottom + 4}"/>`;
  for (let f = 0; f < BANDS; f++) out += `<text class="cc-digits cc-quiet" x="${GUTTER - 8}" y="${tidy(bottom - (f + 0.5) * size + 4)}" text-anchor="end">${f + 1}</text>`;
  for (let t = 0; t < FRAMES; t++) out += `<text class="cc-digits cc-quiet" x="${tidy(GUTTER + (t + 0.5) * size)}" y="${bottom + 18}" text-anchor="middle">${t + 1}</text>`;
  out += `<text class="cc-quiet" x="${right}" y="${bottom + 37}" text-anchor="end">frame (time)</text>`;
  return `${out}<text class="cc-quiet" x="${GUTTER - 18}" y="${bottom + 37}">band (frequency) upwards</text>`;
}

// --- what is said

export function sentence(s) {
  const f = readState(s), who = `Frame ${s.frame}, band ${s.band}`, may = f.allowed.length;
  if (s.network === "all") {
    const first = may ? `may read ${may === 1 ? "the one value" : `the ${may} values`} before it` : "is the first: it may read nothing";
    const ahead = f.future.length;
    return `${who} is number ${f.number + 1} and ${first}. ${ahead ? `${ahead} of them ${ahead === 1 ? "lies" : "lie"} in the future: nobody can have heard ${ahead === 1 ? "it" : "them"} yet.` : "None of them lies in the future."}`;
  }
  const hidden = f.blind.length, far = may - f.seen.length - hidden;
  const rest = hidden ? ` ${hidden} ${hidden === 1 ? "is" : "are"} in a blind spot, out of reach for any number of layers.` : "";
  return `${who} may read ${plural(may, "value")}; ${plural(s.layers, "layer")} ${s.layers === 1 ? "reads" : "read"} ${f.seen.length} of them.${rest}${far ? ` ${far} ${far === 1 ? "is" : "are"} too far away.` : ""}`;
}

export function readouts(s) {
  const f = readState(s);
  return [
    { key: "number", label: "Its number", value: f.number + 1, text: `${f.number + 1} of ${CELLS}`, note: "" },
    { key: "seen", label: "Values that it reads", value: f.seen.length, text: count(f.seen.length), note: `of ${f.allowed.length} allowed` },
    { key: "future", label: "From the future", value: f.future.length, text: count(f.future.length), note: "", leak: f.future.length > 0 },
    { key: "blind", label: "Blind spot", value: f.blind.length, text: count(f.blind.length), note: "" },
  ];
}

const KEYS = ["order", "network", "layers", "kernel", "frame", "band"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, LIMITS);
  s.kernel = s.kernel >= 4 ? 5 : 3;
  if (!ORDERS.includes(s.order)) s.order = "frame";
  if (!NETWORKS.includes(s.network) || s.order !== "frame") s.network = "all";
  return s;
}

export const view = (s, width, id) => ({
  picture: drawPicture(s, width, id), height: layout(width).height, sentence: sentence(s), readouts: readouts(s),
});

/** Frame and band of the value that comes next in the order; after the last, the first. */
export function following(s) {
  const next = (rank(s.order, s.frame - 1, s.band - 1) + 1) % CELLS;
  for (let c = 0; c < CELLS; c++) {
    const t = Math.floor(c / BANDS), f = c % BANDS;
    if (rank(s.order, t, f) === next) return { frame: t + 1, band: f + 1 };
  }
}

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const put = (changes) => { for (const [key, value] of Object.entries(changes)) model.set(key, value); model.save_changes(); };
  const controls = [
    { type: "choice", key: "order", label: "Order by", options: [["frame", "frame"], ["band", "band"], ["tiers", "tier"], ["shuffled", "chance"]] },
    { type: "choice", key: "network", label: "Stacks of layers", options: [["all", "any"], ["masked", "one"], ["two", "two"]] },
    { type: "slider", key: "layers", label: "Layers", stops: [1, 2, 3, 4, 5, 6], say: String },
    { type: "choice", key: "kernel", label: "Kernel", options: [[3, "3"], [5, "5"]], number: true },
    { type: "clock", key: "play", label: "Follow the order", everyMs: 160, step: () => put(following(state())) },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state();
    return { ...view(s, w, id), range: [1, readState(s).number + 1, CELLS] };
  };
  const react = ({ stage, svg, keep }) => {
    const under = (event) => {
      const { size, bottom } = layout(width), place = svg.getBoundingClientRect(), scale = width / place.width;
      const t = Math.floor(((event.clientX - place.left) * scale - GUTTER) / size), f = Math.floor((bottom - (event.clientY - place.top) * scale) / size);
      if (inside(t, f)) keep({ frame: t + 1, band: f + 1 });
    };
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("click", under);
    stage.addEventListener("keydown", (event) => {
      const s = state();
      const moves = { ArrowLeft: { frame: s.frame - 1 }, ArrowRight: { frame: s.frame + 1 }, ArrowDown: { band: s.band - 1 }, ArrowUp: { band: s.band + 1 }, Home: { frame: 1 }, End: { frame: FRAMES }, PageUp: following(s) };
      if (!(event.key in moves)) return;
      event.preventDefault();
      const next = settled({ ...s, ...moves[event.key] });
      keep({ frame: next.frame, band: next.band });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
