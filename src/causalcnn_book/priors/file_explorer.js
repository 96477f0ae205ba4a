// The file explorer: what a sentence costs, frame by frame, by several models, while it plays; and the file itself.
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import {
  clock,
  count,
  explorer,
  image,
  isWide,
  niceStep,
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
  valueAxis,
} from "../explorer.js";
import { player } from "../player.js";

/** @import { Declaration } from "../types" */
/**
 * @typedef {{ frame: number, model: number, bits: Record<string, number[]>, num_cells: number, blocks: number[][],
 *   cells: string }} State `blocks`: of each part of the file after how many frames it is written, and its bytes
 */

const LEFT = 66;
const MARGIN = 10;
const ROW = 34;
const HIGH = 130;
const LOW = 90;
const MELS = 80;
const GAP = 40;
const RATE = 100;
const FILE = "the file, second by second";
const HUES = ["future", "speaker-a", "top", "speaker-b", "bottom"];

// --- what is computed: sums. Proved equal to numpy.

/** The names of the models, the yardstick first. @param {State} s */
const names = (s) => Object.keys(s.bits);

/** The chosen one. @param {State} s */
const chosen = (s) => names(s)[s.model];

/** The bits of all frames before each, and of all, by model. */
const sums = remembered(
  (/** @type {State} */ s) => JSON.stringify(s.bits),
  (s) => {
    /** @type {Record<string, number[]>} */
    const found = {};
    for (const name of names(s)) {
      found[name] = [0];
      let sum = 0;
      for (const b of s.bits[name]) found[name].push((sum = Math.round(100 * (sum + b)) / 100)); // as they are given
    }
    return found;
  },
);

/** How many frames there are. @param {State} s */
const frames = (s) => s.bits[names(s)[0]].length;

/** The bytes of the file that are written when so many frames have come. @param {State} s @param {number} after */
const written = (s, after) => s.blocks.reduce((sum, [when, bytes]) => (when <= after ? sum + bytes : sum), 0);

/** @param {State} s */
function readState(s) {
  const all = sums(s);
  const [last, now] = [frames(s), s.frame + 1];
  const each = names(s).map((name) => ({ name, bits: all[name][now], final: all[name][last] }));
  const [own, first] = [all[chosen(s)], all[names(s)[0]]];
  return {
    models: each,
    frame_bits: s.bits[chosen(s)][s.frame],
    bits_per_code: own[now] / (now * s.num_cells),
    share: own[now] / first[now],
    bytes: Math.ceil(own[now] / 8),
    final_bytes: Math.ceil(own[last] / 8),
    kbit_per_second: ((own[last] / last) * RATE) / 1000,
    written: written(s, now),
    file_bytes: written(s, last),
  };
}

// --- what is drawn: one string of SVG

/** @param {State} s @param {string} name */
const hue = (s, name) => {
  const at = names(s).indexOf(name);
  return at === names(s).length - 1 ? "past" : HUES[at % HUES.length];
};

/** Where the parts of the picture are. @param {State} s @param {number} width */
function layout(s, width) {
  const rows = names(s).length + (s.blocks.length ? 1 : 0);
  const lines = rows * ROW + GAP - 8;
  const picture = lines + HIGH + 12;
  const costs = (s.cells ? picture + MELS : lines + HIGH) + GAP - 6;
  const right = width - MARGIN;
  return { lines, picture, costs, end: costs + LOW, right, dx: (right - LEFT) / frames(s) };
}

/** A bar for each model and for the file, as long as its bytes so far. @param {State} s @param {number} width */
function bars(s, width) {
  const { models, written: now, file_bytes } = readState(s);
  const room = width - 2 * MARGIN;
  const most = Math.max(...models.map(({ final }) => final / 8), file_bytes);
  const rows = models.map(({ name, bits, final }) => ({
    name,
    bytes: bits / 8,
    final: final / 8,
    color: hue(s, name),
  }));
  if (s.blocks.length) rows.push({ name: FILE, bytes: now, final: file_bytes, color: "present" });
  return rows
    .map(({ name, bytes, final, color }, i) => {
      const y = i * ROW + 14;
      const look = name === chosen(s) ? "cc-title" : "";
      let out = text(look, MARGIN, y, name);
      out += text(`cc-digits ${look}`, width - MARGIN, y, `${count(Math.ceil(bytes))} bytes`, "end");
      out += rect('style="fill:var(--cc-grid)"', MARGIN, y + 6, (room * final) / most, 8);
      return out + rect(`style="fill:var(--cc-${color})"`, MARGIN, y + 6, (room * bytes) / most, 8);
    })
    .join("");
}

/** The bytes of each model up to each frame, and the steps of the file. @param {State} s @param {number} width */
function lines(s, width) {
  const { lines: top, right, dx } = layout(s, width);
  const { models, file_bytes } = readState(s);
  const most = Math.max(...models.map(({ final }) => final / 8), file_bytes) * 1.04;
  const bottom = top + HIGH;
  const all = sums(s);
  /** @param {number} frame */
  const x = (frame) => tidy(LEFT + frame * dx);
  /** @param {number} bytes */
  const y = (bytes) => bottom - (bytes / most) * HIGH;
  let out = valueAxis(LEFT, upTo(0, most, niceStep(HIGH / most, 36)), y);
  out += path("cc-tick", `M${LEFT} ${bottom}H${tidy(right)}`);
  for (const { name } of models) {
    const points = all[name].map((bits, frame) => `${x(frame)} ${tidy(y(bits / 8))}`);
    const style = `fill:none;stroke:var(--cc-${hue(s, name)});stroke-width:`;
    out += styled(`${style}1.4;opacity:.45`, `M${points.slice(s.frame + 1).join("L")}`);
    out += styled(`${style}${name === chosen(s) ? 3 : 2}`, `M${points.slice(0, s.frame + 2).join("L")}`);
  }
  let bytes = 0;
  let steps = `M${x(0)} ${tidy(bottom)}`;
  for (const [when, more] of s.blocks) steps += `H${x(when)}V${tidy(y((bytes += more)))}`;
  if (s.blocks.length) out += styled("fill:none;stroke:var(--cc-present);stroke-width:1.6;stroke-dasharray:4 3", steps);
  return out + titleOver(LEFT, top - 9, "bytes so far");
}

/** What each frame costs by the chosen model. @param {State} s @param {number} width */
function costs(s, width) {
  const { costs: top, end, right, dx } = layout(s, width);
  const most = Math.max(...names(s).flatMap((name) => s.bits[name])) * 1.04;
  /** @param {number} bits */
  const y = (bits) => tidy(end - (bits / most) * LOW);
  const heights = s.bits[chosen(s)];
  /** @param {number} from @param {number} to */
  const area = (from, to) =>
    from < to &&
    `M${tidy(LEFT + from * dx)} ${end}` +
      heights
        .slice(from, to)
        .map((bits, i) => `V${y(bits)}H${tidy(LEFT + (from + i + 1) * dx)}`)
        .join("") +
      `V${end}z`;
  const color = `fill:var(--cc-${hue(s, chosen(s))})`;
  let out = styled(`${color};opacity:.3`, area(s.frame + 1, heights.length) || "");
  out += styled(color, area(0, s.frame + 1) || "");
  const first = s.bits[names(s)[0]];
  out += styled(
    "fill:none;stroke:var(--cc-ink);stroke-width:1;stroke-dasharray:5 4",
    `M${LEFT} ${y(first[0])}` + first.map((bits, i) => `V${y(bits)}H${tidy(LEFT + (i + 1) * dx)}`).join(""),
  );
  out += valueAxis(LEFT, upTo(0, most, niceStep(LOW / most, 36)), (bits) => Number(y(bits)));
  out += path("cc-tick", `M${LEFT} ${end}H${tidy(right)}`);
  const words = isWide(width) ? `bits of each frame, ${chosen(s)}; dashed: ${names(s)[0]}` : `bits of each frame`;
  return out + titleOver(LEFT, top - 9, words);
}

/** The spectrogram, drawn once. */
const heard = remembered(
  (/** @type {State} */ s) => s.cells,
  (s) => {
    const levels = bytesOf(s.cells);
    return spectrogramBmp(levels, levels.length / MELS, 8);
  },
);

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const { lines: top, picture, end, right, dx } = layout(s, width);
  let out = bars(s, width) + lines(s, width);
  if (s.cells) out += image(LEFT, picture, right - LEFT, MELS, heard(s));
  out += costs(s, width);
  const now = tidy(LEFT + (s.frame + 1) * dx);
  out += path("cc-now", `M${now} ${top}V${end}`);
  return out + secondsAxis(frames(s), LEFT, dx, end, RATE);
}

// --- what is said

/** @param {number} share */
const percent = (share) => `${(100 * share).toFixed(0)} %`;

/** @param {State} s */
function sentence(s) {
  const { frame_bits, bytes, share } = readState(s);
  const first = names(s)[0];
  const seconds = ((s.frame + 1) / RATE).toFixed(2);
  const less = s.model === 0 ? "" : `, ${percent(share)} of those by ${first}`;
  const spent = `After ${seconds} s: ${count(bytes)} bytes by ${chosen(s)}${less}.`;
  return `${spent} This frame costs ${frame_bits.toFixed(0)} bits.`;
}

/** @param {State} s */
function readouts(s) {
  const r = readState(s);
  const first = names(s)[0];
  return [
    {
      key: "frame",
      label: "This frame",
      value: r.frame_bits,
      text: `${r.frame_bits.toFixed(0)} bits`,
      note: `of ${tidy(s.bits[first][s.frame])}`,
    },
    { key: "total", label: "So far", value: r.bytes, text: `${count(r.bytes)} bytes`, note: percent(r.share) },
    { key: "code", label: "A code, so far", value: r.bits_per_code, text: `${r.bits_per_code.toFixed(2)} bits` },
    { key: "final", label: "In the end", value: r.final_bytes, text: `${count(r.final_bytes)} bytes` },
    { key: "rate", label: "Rate", value: r.kbit_per_second, text: `${r.kbit_per_second.toFixed(2)} kbit/s` },
    {
      key: "file",
      label: "The file, so far",
      value: r.written,
      text: `${count(r.written)} bytes`,
      note: `of ${count(r.file_bytes)}`,
    },
  ];
}

/** A tenth of a second later, or at the beginning again. @param {State} s */
const later = (s) => ({ frame: s.frame < frames(s) - 1 ? Math.min(s.frame + 10, frames(s) - 1) : 0 });

/** @type {Declaration<State>} */
const declaration = {
  traits: ["frame", "model", "bits", "num_cells", "blocks", "cells"],
  settled(s) {
    return settle(s, { frame: [0, frames(s) - 1], model: [0, names(s).length - 1] });
  },
  read: readState,
  picture: drawPicture,
  height: (s, width) => layout(s, width).end + 30,
  sentence,
  readouts,
  controls: (model) => [
    player(() => ({ title: model.get("title"), mp3: model.get("sound") }), { key: "frame", rate: RATE }),
    slider(
      "model",
      "Model",
      (s) => upTo(0, names(s).length - 1),
      (_, s) => chosen(s),
    ),
    slider(
      "frame",
      "Time",
      (s) => upTo(0, frames(s) - 1),
      (frame) => `${((frame + 1) / RATE).toFixed(2)} s`,
    ),
    clock("Play", 100, later, { frame: 0 }),
  ],
  range: (s) => [1, s.frame + 1, frames(s)],
  spoken: (s) => sentence(s),
  move: (place) => ({ frame: place - 1 }),
  press: (s) => ({ ArrowUp: { model: s.model - 1 }, ArrowDown: { model: s.model + 1 } }),
  at(s, x, y, width) {
    const { lines: top, dx } = layout(s, width);
    return y < top - 24 ? { model: Math.floor(y / ROW) } : { frame: Math.floor((x - LEFT) / dx) };
  },
};

export default explorer(declaration);
