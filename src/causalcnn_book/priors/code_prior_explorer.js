// The code prior explorer: what a prior expects of one code, given all codes before it, and what the code then costs.
import { COLOURS, encodeBmp, LETTERS } from "../bitmap.js";
import {
  choice,
  clock,
  closed,
  count,
  explorer,
  hatch,
  image,
  isWide,
  nearestStop,
  path,
  rect,
  remembered,
  secondsAxis,
  settle,
  slider,
  styled,
  text,
  tidy,
  titleOver,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ frame: number, cell: number, temperature: number, shows: "codes" | "bits", frames: number,
 *   top_cells: number, bottom_cells: number, num_codes: number, kept: number, rank: number, steps: number[],
 *   off: number[][], temperatures: number[], mean_bits: number[], table: string }} State
 * @typedef {{ bits: number[], price: number, entropy: number, half: number, likelier: number }} Expected bits of every
 *   codeword; `half`: how many of the likeliest hold half of the probability; `likelier`: how many of the kept ones are
 */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 28;
const HIGH = [80, 120]; // of the maps of top and bottom codes
const SECOND = HEAD + HIGH[0] + 26;
const CURVE = SECOND + HIGH[1] + 62;
const TALL = 180;
const END = CURVE + TALL;
const MOST = 18; // bits at the foot of the distribution
const DEAREST = 16; // bits of the lightest cell of the map
const RATE = 100;

// --- what is computed. Proved equal to numpy, of the same table and of what the prior said.

/** Numbers of −2048 … 2047, each two letters. @param {string} letters */
function numbersOf(letters) {
  const places = Object.fromEntries([...LETTERS].map((letter, i) => [letter, i]));
  return Array.from(
    { length: letters.length / 2 },
    (_, i) => 64 * places[letters[2 * i]] + places[letters[2 * i + 1]] - 2048,
  );
}

/** The table's parts: vectors of codewords, top and bottom, and of codes; of each code the codewords that are kept, */
/** first the one that came, their prices, and the price of all others together, in bits. */
const parts = remembered(
  (/** @type {State} */ s) => s.table,
  (s) => {
    const all = numbersOf(s.table);
    const many = s.frames * (s.top_cells + s.bottom_cells);
    let at = 0;
    const take = (/** @type {number} */ length) => all.slice(at, (at += length));
    const bits = (/** @type {number} */ length) => take(length).map((n) => (n + 2048) / 100);
    const words = [take(s.num_codes * s.rank), take(s.num_codes * s.rank)];
    const [vectors, kept, prices, rest] = [take(many * s.rank), take(many * s.kept), bits(many * s.kept), bits(many)];
    return { words, vectors, kept, prices, rest };
  },
);

/** The place of a code among the codewords. @param {State} s @param {number} at */
const codeAt = (s, at) => parts(s).kept[at * s.kept];

/** What a code costs at temperature 1, in bits. @param {State} s @param {number} at */
const priceAt = (s, at) => parts(s).prices[at * s.kept];

/** The place of a code among those of all frames. @param {State} s */
const place = (s, frame = s.frame, cell = s.cell) => frame * (s.top_cells + s.bottom_cells) + cell;

/** The codewords whose probabilities are carried as they are, first the one that came. @param {State} s */
const own = (s) => parts(s).kept.slice(place(s) * s.kept, (place(s) + 1) * s.kept);

/** The log-probabilities of all codewords at temperature 1, in nats. @param {State} s */
function logits(s) {
  const { words, vectors, prices, rest } = parts(s);
  const level = s.cell < s.top_cells ? 0 : 1;
  const at = place(s);
  const logs = upTo(0, s.num_codes - 1).map((word) => {
    let sum = 0;
    for (let k = 0; k < s.rank; k++) sum += words[level][word * s.rank + k] * vectors[at * s.rank + k];
    return sum * s.steps[level];
  });
  const known = new Set(own(s));
  const others = logs.reduce((sum, log, word) => (known.has(word) ? sum : sum + Math.exp(log)), 0);
  const found = logs.map((log) => log - Math.log(others + 1e-30) - rest[at] * Math.LN2);
  own(s).forEach((word, k) => (found[word] = -prices[at * s.kept + k] * Math.LN2));
  return found;
}

/** @type {(s: State) => Expected} */
export const expected = remembered(
  (/** @type {State} */ s) => `${s.frame} ${s.cell} ${s.temperature} ${s.table}`,
  (s) => {
    const logs = logits(s).map((log) => log / s.temperature);
    const largest = Math.max(...logs);
    const all = largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0));
    const bits = logs.map((log) => (all - log) / Math.LN2);
    const price = bits[codeAt(s, place(s))];
    const cheapest = [...bits].sort((a, b) => a - b);
    let half = 0;
    for (let held = 0; held < 0.5 && half < bits.length; half++) held += 2 ** -cheapest[half];
    return {
      bits,
      price,
      entropy: bits.reduce((sum, b) => sum + b * 2 ** -b, 0),
      half,
      likelier: own(s).filter((word) => bits[word] < price).length,
    };
  },
);

/** @param {State} s */
function readState(s) {
  const { price, entropy, half, likelier } = expected(s);
  const from = place(s, s.frame, 0);
  return {
    code: codeAt(s, place(s)),
    price,
    entropy,
    half,
    rank: likelier + 1,
    uniform: Math.log2(s.num_codes),
    frame_bits: upTo(from, from + s.top_cells + s.bottom_cells - 1).reduce((sum, at) => sum + priceAt(s, at), 0),
    mean_bits: s.mean_bits[s.temperatures.indexOf(s.temperature)],
  };
}

// --- what is drawn: one string of SVG

/** Where the cells of a level are drawn. @param {State} s @param {0 | 1} level @param {number} width */
function map(s, level, width) {
  const cells = level ? s.bottom_cells : s.top_cells;
  const top = level ? SECOND : HEAD;
  return {
    cells,
    top,
    first: level ? s.top_cells : 0,
    dx: (width - MARGIN - LEFT) / s.frames,
    dy: HIGH[level] / cells,
    bottom: top + HIGH[level],
  };
}

/** The codes of a level over time; those that come later are hatched. */
/** @param {State} s @param {0 | 1} level @param {number} width @param {string} id */
function drawMap(s, level, width, id) {
  const { cells, top, first, dx, dy, bottom } = map(s, level, width);
  const right = width - MARGIN;
  /** @param {number} row @param {number} frame */
  const shade = (row, frame) => {
    const at = place(s, frame, first + row);
    const share = s.shows === "bits" ? priceAt(s, at) / DEAREST : codeAt(s, at) / (s.num_codes - 1);
    return Math.round(32 * Math.min(1, share));
  };
  const wide = isWide(width);
  const colors = s.shows === "bits" ? "the lighter, the dearer" : "like colors, like codewords";
  const name = level ? "bottom codes" : "top codes";
  let out = titleOver(LEFT, top - 9, wide ? `${name}: ${colors}` : name);
  out += image(LEFT, top, right - LEFT, HIGH[level], encodeBmp(COLOURS, s.frames, cells, shade));
  const known = Math.max(0, Math.min(cells, s.cell - first)); // of this frame: those below
  const x = LEFT + s.frame * dx;
  const veil = 'style="fill:var(--cc-paper);opacity:.6"';
  const later = [
    [x + dx, top, right - x - dx, HIGH[level]],
    [x, top, dx, (cells - known) * dy],
  ];
  for (const [at, up, wide, tall] of later) out += rect(veil, at, up, wide, tall) + closed(id, at, up, wide, tall);
  if (first <= s.cell && s.cell < first + cells) {
    const row = s.cell - first;
    const look = 'style="fill:none;stroke:var(--cc-paper);stroke-width:5"';
    const now = 'style="fill:none;stroke:var(--cc-present);stroke-width:2.5"';
    for (const each of [look, now]) out += rect(each, x - 1, bottom - (row + 1) * dy - 1, dx + 2, dy + 2);
  }
  out += text("cc-quiet", LEFT - 8, top + 12, "high", "end") + text("cc-quiet", LEFT - 8, bottom - 2, "low", "end");
  return out;
}

/** What every codeword would cost: the higher, the cheaper, so the likelier. @param {State} s @param {number} width */
function drawExpected(s, width) {
  const { bits, price, half } = expected(s);
  const right = width - MARGIN;
  const wide = isWide(width);
  const dx = (right - LEFT) / s.num_codes;
  const uniform = Math.log2(s.num_codes);
  /** @param {number} b */
  const y = (b) => CURVE + (Math.min(MOST, b) / MOST) * TALL;
  const limit = [...bits].sort((a, b) => a - b)[half - 1];
  /** @param {(b: number) => boolean} which */
  const area = (which) =>
    bits
      .map((b, word) => (which(b) && b < MOST ? `M${(LEFT + word * dx).toFixed(2)} ${END}V${tidy(y(b))}` : ""))
      .map((d) => d && `${d}h${dx.toFixed(3)}V${END}z`)
      .join("");
  let out = titleOver(LEFT, CURVE - 12, wide ? "what each codeword would cost: high is likely" : "the cost of each");
  out += styled(
    "fill:var(--cc-past);opacity:.4",
    area((b) => b > limit),
  );
  out += styled(
    "fill:var(--cc-past)",
    area((b) => b <= limit),
  );
  out += path("cc-tick", `M${LEFT} ${END}H${tidy(right)}`);
  for (const b of [0, 3, 6, 9, 12, 15, 18]) {
    out += path("cc-tick", `M${LEFT - 5} ${tidy(y(b))}h5`);
    out += text("cc-digits cc-quiet", LEFT - 9, y(b) + 4, b === 0 ? "0 bits" : b, "end");
  }
  out += path("cc-tick", `M${LEFT} ${tidy(y(uniform))}H${tidy(right)}`, 'stroke-dasharray="5 4"');
  const code = LEFT + (codeAt(s, place(s)) + 0.5) * dx;
  const [from, side] = code > (LEFT + right) / 2 ? [code - 11, "end"] : [code + 11, "start"];
  out += path("cc-now", `M${tidy(code)} ${END}V${tidy(y(price))}`, 'style="stroke-width:2.5"');
  out += path("cc-dot cc-present", `M${tidy(code)} ${tidy(y(price))}h0`, 'stroke-width="9"');
  const edge = "paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px";
  const label = (/** @type {string} */ look, /** @type {number} */ x, /** @type {number} */ up) =>
    `<text class="${look}" style="${edge}" x="${tidy(x)}" y="${tidy(up)}" text-anchor="`;
  const up = Math.max(CURVE + 12, y(price) + 4);
  out += `${label("cc-here cc-digits", from, up)}${side}">${price.toFixed(2)} bits</text>`;
  const words = wide ? `all alike: ${tidy(uniform)} bits` : "all alike";
  const opposite = side === "end" ? [LEFT + 6, "start"] : [right - 4, "end"];
  out += `${label("cc-quiet", Number(opposite[0]), y(uniform) - 6)}${opposite[1]}">${words}</text>`;
  const axis = wide ? `${count(s.num_codes)} codewords, along the axis on which they differ most` : "codewords";
  return out + text("cc-quiet", (LEFT + right) / 2, END + 20, axis, "middle");
}

/** @param {State} s @param {number} width @param {string} id */
function drawPicture(s, width, id) {
  const { dx } = map(s, 0, width);
  const maps = hatch(id) + drawMap(s, 0, width, id) + drawMap(s, 1, width, id);
  return maps + secondsAxis(s.frames, LEFT, dx, SECOND + HIGH[1], RATE) + drawExpected(s, width);
}

// --- what is said

/** @param {State} s @param {number} cell */
const named = (s, cell) => (cell < s.top_cells ? `top ${cell + 1}` : `bottom ${cell - s.top_cells + 1}`);

/** "the 2nd likeliest". @param {State} s @param {number} rank */
function ordinal(s, rank) {
  if (rank === 1) return "the likeliest";
  if (rank === s.kept) return `not among the ${s.kept - 1} likeliest`;
  const last = rank > 10 && rank < 14 ? 0 : rank % 10;
  return `the ${rank}${["th", "st", "nd", "rd"][last] ?? "th"} likeliest`;
}

/** @param {State} s */
function sentence(s) {
  const { price, rank, half, uniform } = readState(s);
  const which = s.cell < s.top_cells ? `Top code ${s.cell + 1}` : `Bottom code ${s.cell - s.top_cells + 1}`;
  const paid = `${price.toFixed(1)} bits instead of ${tidy(uniform)}`;
  const lies = half === 1 ? "one codeword" : `${count(half)} of ${count(s.num_codes)} codewords`;
  const at = s.temperature === 1 ? "" : `, at temperature ${s.temperature}`;
  const code = `${which} of frame ${s.frame + 1} costs ${paid}${at}: it is ${ordinal(s, rank)}.`;
  return `${code} Half of the probability lies on ${lies}.`;
}

/** @param {State} s */
function readouts(s) {
  const { price, entropy, half, rank, uniform, frame_bits, mean_bits } = readState(s);
  const most = uniform * (s.top_cells + s.bottom_cells);
  const at = s.temperatures.indexOf(s.temperature);
  const [priced, spread] = s.off[at].map((bits) => `± ${bits.toFixed(2)}`);
  const note = `T = ${s.temperature}`;
  return [
    { key: "price", label: "This code", value: price, text: `${price.toFixed(2)} bits`, note: priced },
    { key: "entropy", label: "Entropy", value: entropy, text: `${entropy.toFixed(2)} bits`, note: spread },
    {
      key: "rank",
      label: "Likelier codewords",
      value: rank - 1,
      text: `${rank - 1}${rank === s.kept ? " or more" : ""}`,
    },
    { key: "half", label: "Half lies on", value: half, text: `${count(half)}`, note: `of ${count(s.num_codes)}` },
    {
      key: "frame",
      label: "This frame",
      value: frame_bits,
      text: `${frame_bits.toFixed(0)} bits`,
      note: `of ${tidy(most)}`,
    },
    { key: "mean", label: "All here, a code", value: mean_bits, text: `${mean_bits.toFixed(2)} bits`, note },
  ];
}

/** The next frame, or the first again. @param {State} s */
const next = (s) => ({ frame: (s.frame + 1) % s.frames });

/** @type {Declaration<State>} */
const declaration = {
  traits: [
    "frame",
    "cell",
    "temperature",
    "shows",
    "frames",
    "top_cells",
    "bottom_cells",
    "num_codes",
    "kept",
    "rank",
    "steps",
    "off",
    "temperatures",
    "mean_bits",
    "table",
  ],
  settled(s) {
    settle(s, { frame: [0, s.frames - 1], cell: [0, s.top_cells + s.bottom_cells - 1] });
    s.temperature = s.temperatures[nearestStop(s.temperatures, s.temperature)];
    if (s.shows !== "bits") s.shows = "codes";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: END + 30,
  sentence,
  readouts,
  controls: (model) => [
    choice("shows", "Colors of the codes", [
      ["codes", "which code"],
      ["bits", "its price"],
    ]),
    slider("frame", "Frame", upTo(0, model.get("frames") - 1), (frame) => `${frame + 1}`),
    slider("cell", "Code", upTo(0, model.get("top_cells") + model.get("bottom_cells") - 1), (cell, s) =>
      named(s, cell),
    ),
    slider("temperature", "Temperature", model.get("temperatures")),
    clock("Play", 300, next, { frame: 0 }),
  ],
  range: (s) => [1, s.frame + 1, s.frames],
  spoken: (s) => `frame ${s.frame + 1}, ${named(s, s.cell)}. ${sentence(s)}`,
  move: (place) => ({ frame: place - 1 }),
  press: (s) => ({ ArrowUp: { cell: s.cell + 1 }, ArrowDown: { cell: s.cell - 1 } }),
  at(s, x, y, width) {
    const level = y < (HEAD + HIGH[0] + SECOND) / 2 ? 0 : 1;
    const { cells, first, dx, dy, bottom } = map(s, level, width);
    if (y < HEAD - 8 || y > SECOND + HIGH[1] + 8) return undefined;
    const row = Math.max(0, Math.min(cells - 1, Math.floor((bottom - y) / dy)));
    return { frame: Math.floor((x - LEFT) / dx), cell: first + row };
  },
};

export default explorer(declaration);
