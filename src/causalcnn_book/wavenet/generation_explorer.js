// The generation explorer: what a WaveNet computes for one sample, and what it must keep from the ones before.
import {
  choice,
  clock,
  count,
  duration,
  explorer,
  isWide,
  path,
  plural,
  remembered,
  settle,
  slider,
  text,
  tidy,
  upTo,
} from "../explorer.js";

/** @import { Declaration } from "../types" */
/** @typedef {{ layers: number, cycles: number, way: "kept" | "recomputed", sample: number }} State */

const GUTTER = 58;
const EDGE = 10;
const LOOP = 58; // right of now: the skips, and the way back of the new sample
const TOP = 52;
const BOTTOM = 262;
const HEIGHT = 310;
const RATE = 16000;
const MOST = 96;

// --- what is computed: nodes. Row 0 are the samples; node t of row r reads nodes t and t − dilation of the row below,
// and nothing lies before sample 0. Sample `now + 1` is drawn from the nodes at `now`.

/** @param {State} s */
export const dilations = (s) => upTo(0, s.layers * s.cycles - 1).map((row) => 2 ** (row % s.layers));

/** What the node at `now` of the last row follows from, row by row; row 0 are the samples. */
/** @param {State} s @param {number} now */
export function cone(s, now) {
  const rows = [[now]];
  for (const d of dilations(s).reverse()) {
    const reads = rows[0].flatMap((t) => [t - d, t]).filter((t) => t >= 0);
    rows.unshift([...new Set(reads)].sort((a, b) => a - b));
  }
  return rows;
}

/** How many nodes are computed for the sample after `now`, in each way; and from sample 1 on. */
/** @param {State} s */
export function readState(s) {
  const each = upTo(0, s.sample - 1).map((now) =>
    cone(s, now)
      .slice(1)
      .reduce((sum, row) => sum + row.length, 0),
  );
  const all = dilations(s);
  const past = all.reduce((sum, d) => sum + d, 0);
  return {
    computed: { kept: all.length, recomputed: each[each.length - 1] },
    total: { kept: all.length * s.sample, recomputed: each.reduce((sum, n) => sum + n, 0) },
    memory: past,
    size: past + 1,
  };
}

const counts = remembered((/** @type {State} */ s) => [s.layers, s.cycles, s.sample].join(), readState);

// --- what is drawn: one string of SVG

/** First and last sample on the stage, and where samples and rows lie. @param {State} s @param {number} width */
function places(s, width) {
  const room = width - GUTTER - EDGE - LOOP;
  const columns = Math.min(Math.max(20, counts(s).size + 3), Math.floor(room / 3));
  const now = s.sample - 1;
  const first = Math.max(0, now - columns + 1);
  const dx = room / columns;
  const x = (/** @type {number} */ t) => GUTTER + (t - first + 0.5) * dx;
  const y = (/** @type {number} */ row) => BOTTOM - (row * (BOTTOM - TOP)) / (s.layers * s.cycles);
  return { first, now, dx, x, y };
}

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const { dx, x, y } = places(s, width);
  const radius = Math.max(1.2, Math.min(6, dx * 0.34));
  const part = nodesAndWires(s, width);
  /** @param {string} kind @param {string} d @param {number} size */
  const dots = (kind, d, size) => path(`cc-dot cc-${kind}`, d, `stroke-width="${tidy(2 * size)}"`);
  let out = path(
    "cc-span",
    part.queue,
    `style="stroke:var(--cc-accent);opacity:.28;stroke-width:${tidy(2 * radius + 5)}"`,
  );
  out += path("cc-wire cc-past", part.wire) + dots("idle", part.idle, Math.max(0.9, radius * 0.5));
  out += path("cc-dot", part.read, `style="stroke:var(--cc-accent)" stroke-width="${tidy(1.6 * radius)}"`);
  return (
    out +
    dots("past", part.computed, radius) +
    dots("present", part.samples, radius) +
    loop(s, width) +
    labels(s, width, x, y)
  );
}

/** The paths of what is computed, read and kept. @param {State} s @param {number} width */
function nodesAndWires(s, width) {
  const { first, now, x, y } = places(s, width);
  const part = { idle: "", computed: "", read: "", samples: "", wire: "", queue: "" };
  const kept = s.way === "kept";
  const rows = kept ? [...dilations(s), 0].map(() => [now]) : cone(s, now);
  /** @param {number} row @param {number} t */
  const place = (row, t) => `${tidy(x(t))} ${tidy(y(row))}`;
  rows.forEach((row, r) => {
    const lit = new Set(row);
    for (let t = first; t <= now; t++)
      part[!lit.has(t) ? "idle" : r > 0 ? "computed" : "samples"] += `M${place(r, t)}h0`;
    if (r === 0) return;
    const d = dilations(s)[r - 1];
    if (kept && now > 0) part.queue += `M${place(r - 1, Math.max(first, now - d))}H${tidy(x(now - 1))}h.01`;
    for (const t of row)
      for (const from of [t - d, t]) {
        if (from < first) continue;
        part.wire += `M${place(r, t)}L${place(r - 1, from)}`;
        if (kept && from < now) part.read += `M${place(r - 1, from)}h0`;
      }
  });
  return part;
}

/** The skips, their sum, and the new sample on its way back to the input. @param {State} s @param {number} width */
function loop(s, width) {
  const { now, dx, x, y } = places(s, width);
  const from = x(now);
  const bus = from + dx / 2 + 14;
  const back = bus + 22;
  let skips = "";
  for (let row = 1; row <= s.layers * s.cycles; row++) skips += `M${tidy(from)} ${tidy(y(row))}H${tidy(bus)}`;
  const top = TOP - 16;
  const size = Math.max(5, Math.min(12, dx * 0.7));
  let out = path("cc-tick", `${skips}M${tidy(bus)} ${tidy(y(1))}V${top}`);
  out += path(
    "cc-now",
    `M${tidy(bus)} ${top}H${tidy(back)}V${BOTTOM}H${tidy(x(now + 1) + 6)}`,
    'stroke-dasharray="4 3"',
  );
  out += path("cc-dot cc-present", `M${tidy(x(now + 1))} ${BOTTOM}h0`, `stroke-width="${tidy(size)}"`);
  const words = isWide(width) ? "sum of the skips: the next sample" : "skips: next sample";
  const middle = isWide(width) ? 110 : 62; // of the words: they begin right of the word "dilation"
  return out + text("cc-here", Math.max(back + 4 - middle, GUTTER + 12 + middle), top - 10, words, "middle");
}

/** @param {State} s @param {number} width @param {(t: number) => number} x @param {(row: number) => number} y */
function labels(s, width, x, y) {
  const { first, now, dx } = places(s, width);
  let out =
    text("cc-quiet", GUTTER - 8, y(0) + 4, "samples", "end") +
    text("cc-quiet", GUTTER - 8, TOP - 26, "dilation", "end");
  dilations(s).forEach((d, i) => (out += text("cc-digits cc-quiet", GUTTER - 8, y(i + 1) + 4, d, "end")));
  for (let t = first; t <= now + 1; t++) {
    if (t % (dx > 20 ? 4 : 16) || (t !== now + 1 && x(now + 1) - x(t) < 44)) continue;
    out +=
      path("cc-tick", `M${tidy(x(t))} ${BOTTOM + 12}v5`) + text("cc-digits cc-quiet", x(t), BOTTOM + 31, t, "middle");
  }
  return out + text("cc-digits cc-here", x(now + 1), BOTTOM + 31, s.sample, "middle");
}

// --- what is said

/** @param {number} nodes */
const are = (nodes) => (nodes === 1 ? "is" : "are");

/** @param {State} s */
function sentence(s) {
  const { computed, memory } = counts(s);
  const layers = computed.kept;
  if (s.way === "kept") {
    const work = `For sample ${s.sample}, ${plural(layers, "node")} ${are(layers)} computed, one a layer.`;
    return `${work} Each reads the row below: its present node, and one of the ${count(memory)} that were kept.`;
  }
  const again = computed.recomputed - layers;
  const nodes = plural(computed.recomputed, "node");
  const work = `For sample ${s.sample}, ${nodes} ${are(computed.recomputed)} computed.`;
  return `${work} ${count(again)} of them had been computed before, for earlier samples, and forgotten.`;
}

/** @param {State} s */
function readouts(s) {
  const { computed, total, memory, size } = counts(s);
  /** @param {string} key @param {string} label @param {number} value */
  const many = (key, label, value) => ({ key, label, value, text: plural(value, "node") });
  return [
    { key: "size", label: "Receptive field", value: size, text: plural(size, "sample"), note: duration(size, RATE) },
    many("kept", "With memory", computed.kept),
    many("recomputed", "Without", computed.recomputed),
    many("memory", "Kept", memory),
    many("total_kept", "With memory, so far", total.kept),
    many("total_recomputed", "Without, so far", total.recomputed),
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["layers", "cycles", "way", "sample"],
  settled(s) {
    settle(s, { layers: [1, 5], cycles: [1, 2], sample: [1, MOST] });
    if (s.way !== "recomputed") s.way = "kept";
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: HEIGHT,
  sentence,
  readouts,
  controls: () => [
    choice("way", "Earlier nodes are", [
      ["kept", "kept"],
      ["recomputed", "computed again"],
    ]),
    slider("layers", "Layers of a cycle", upTo(1, 5)),
    slider("cycles", "Cycles", upTo(1, 2)),
    slider("sample", "Sample to draw", upTo(1, MOST)),
    clock("Generate", 300, (s) => ({ sample: s.sample < MOST ? s.sample + 1 : 1 }), { sample: 1 }),
  ],
  range: (s) => [1, s.sample, MOST],
  spoken: (s) => `sample ${s.sample}. ${sentence(s)}`,
  move: "sample",
  at(s, x, _, width) {
    const { first, dx } = places(s, width);
    return { sample: Math.max(1, first + Math.floor((x - GUTTER) / dx)) };
  },
};

export default explorer(declaration);
