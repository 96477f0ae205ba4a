// The ranges explorer: a bang, and what it does to the bins before and after it under three kinds of range.
import { assemble, count, duration, newId, niceStep, plural, settle, tidy } from "../explorer.js";

const LEFT = 58, MARGIN = 10, HEAD = 44, VALUES = 170, GAP = 44, BINS = 130, FOOT = 30;
const RATE = 100, LENGTH = 5, GRID = 2 ** 20, LEAST = -100, MOST = 60;
const WAYS = ["recording", "fixed", "running"];

// --- what is computed. Proved equal to causalcnn.speech for every setting.

/** The values with the bang in them. */
export const heard = (s) => s.values.map((v, t) => (t >= s.at && t < s.at + LENGTH ? s.bang_db : v));

/** Where a running range is at every frame, in parts of the range. */
function moves(s, places) {
  const span = s.high_db - s.low_db, rise = Math.max(1, Math.floor((s.rise_db / span) * GRID + 0.5));
  const fall = Math.floor((s.fall_db_per_second / RATE / span) * GRID + 0.5), highest = Math.floor((100 / span) * GRID + 0.5);
  let offset = 0;
  return places.map((place) => {
    const here = offset;
    if (place - offset >= GRID - GRID / 256) offset = Math.min(offset + rise, highest);
    else if (place - offset >= GRID / 2) offset -= fall;
    return here;
  });
}

/** Bin indices of 8 bits, and for every frame the two ends of its range. */
export function coded(s, values) {
  const own = s.way === "recording", low = own ? Math.min(...values) : s.low_db, high = own ? Math.max(...values) : s.high_db;
  const span = high - low, places = values.map((v) => Math.floor(((v - low) / (span || 1)) * GRID));
  const offsets = s.way === "running" ? moves(s, places) : places.map(() => 0);
  return {
    indices: places.map((p, t) => Math.max(0, Math.min(255, Math.floor((p - offsets[t]) / (GRID / 256))))),
    low: offsets.map((o) => low + (o / GRID) * span), high: offsets.map((o) => high + (o / GRID) * span),
  };
}

/** How many bins before the bang moved and how far at most, and how many after it moved. */
export function readState(s) {
  const quiet = coded(s, s.values).indices, far = coded(s, heard(s)).indices.map((n, t) => Math.abs(n - quiet[t]));
  const before = far.slice(0, s.at), some = (list) => list.filter((d) => d > 0).length;
  return { before: some(before), furthest: Math.max(0, ...before), after: some(far.slice(s.at + LENGTH)) };
}

// --- what is drawn: one string of SVG.

export const HEIGHT = HEAD + VALUES + GAP + BINS + FOOT;

export function drawPicture(s, width, id) {
  const right = width - MARGIN, wide = width >= 560, frames = s.values.length, dx = (right - LEFT) / frames, second = HEAD + VALUES + GAP;
  const x = (t) => tidy(LEFT + (t + 0.5) * dx), y = (db) => tidy(HEAD + VALUES * (1 - (Math.max(LEAST, Math.min(MOST, db)) - LEAST) / (MOST - LEAST)));
  const binY = (n) => tidy(second + BINS * (1 - n / 255)), now = tidy(LEFT + s.at * dx), values = heard(s);
  const { indices, low, high } = coded(s, values), quiet = coded(s, s.values).indices;
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  for (const [top, tall] of [[HEAD, VALUES], [second, BINS]]) {
    out += `<rect class="cc-closed" fill="url(#${id}h)" x="${now}" y="${top}" width="${tidy(right - LEFT - s.at * dx)}" height="${tall}"/>`;
  }
  const above = high.map((db, t) => `${x(t)} ${y(db)}`), below = low.map((db, t) => `${x(t)} ${y(db)}`).reverse();
  out += `<path style="fill:var(--cc-past);opacity:.16" d="M${[...above, ...below].join("L")}z"/>`;
  for (const edge of [above, below]) out += `<path class="cc-wire cc-past" style="opacity:1" d="M${edge.join("L")}"/>`;
  out += `<path class="cc-skip" d="M${values.map((v, t) => `${x(t)} ${y(v)}`).join("L")}"/>`;
  out += `<path class="cc-wire cc-idle" style="opacity:.8" d="M${quiet.map((n, t) => `${x(t)} ${binY(n)}`).join("L")}"/>`;
  const kinds = { past: "", leak: "" }, dot = tidy(Math.max(2.2, Math.min(4, dx)));
  indices.forEach((n, t) => (kinds[t >= s.at || n === quiet[t] ? "past" : "leak"] += `M${x(t)} ${binY(n)}h.01`));
  for (const [kind, path] of Object.entries(kinds)) if (path) out += `<path class="cc-dot cc-${kind}" stroke-width="${dot}" d="${path}"/>`;
  out += `<path class="cc-now" d="M${now} ${HEAD - 8}V${second + BINS}"/>`;
  for (const db of [-80, -40, 0, 40]) {
    out += `<path class="cc-tick" d="M${LEFT - 5} ${y(db)}h5"/><text class="cc-digits cc-quiet" x="${LEFT - 9}" y="${y(db)}" dy="4" text-anchor="end">${count(db)}</text>`;
  }
  for (const n of [0, 128, 255]) {
    out += `<path class="cc-tick" d="M${LEFT - 5} ${binY(n)}h5"/><text class="cc-digits cc-quiet" x="${LEFT - 9}" y="${binY(n)}" dy="4" text-anchor="end">${n}</text>`;
  }
  for (let t = 0; t < frames; t += niceStep(dx, 60)) {
    const mark = tidy(LEFT + t * dx);
    out += `<path class="cc-tick" d="M${mark} ${second + BINS}v5"/><text class="cc-digits cc-quiet" x="${mark}" y="${second + BINS + 19}" text-anchor="middle">${duration(t, RATE)}</text>`;
  }
  out += `<text class="cc-title" x="${LEFT}" y="16">${wide ? "loudest band, and the range of the bins" : "loudest band, and the range"}</text>`;
  out += `<text class="cc-quiet" x="${LEFT - 9}" y="16" text-anchor="end">dB</text><text class="cc-here" x="${now}" y="${HEAD - 12}" text-anchor="middle">now</text>`;
  return out + `<text class="cc-title" style="paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px" x="${LEFT}" y="${second - 12}">its bins${wide ? "; grey: without the bang" : ""}</text>`;
}

// --- what is said

export function sentence(s) {
  const found = readState(s), bang = `${count(s.bang_db)} dB`;
  const who = { recording: "The recording's own range", fixed: "The fixed range", running: "The running range" }[s.way];
  if (found.before) return `${who} stretches to the bang of ${bang}: ${found.before} of ${s.at} bins before it move, by up to ${found.furthest}. They read the future.`;
  if (s.way === "fixed") return `${who} does not move: no bin before or after the bang does. ${s.bang_db > s.high_db ? `The bang itself is cut off at ${count(Math.round(s.high_db))} dB.` : "The bang fits into it."}`;
  if (s.way === "running" && !found.after) return `${who} moves neither before nor after the bang of ${bang}: it fits.`;
  if (s.way === "running") return `${who} moves after the bang of ${bang}, not before. It changes ${plural(found.after, "bin")} after it, and a decoder knows why.`;
  return `The bang of ${bang} is not louder than the rest of the recording: no bin before it moves.`;
}

export function readouts(s) {
  const found = readState(s);
  return [
    { key: "before", label: "Moved before the bang", value: found.before, text: plural(found.before, "bin"), note: `of ${s.at}`, leak: found.before > 0 },
    { key: "distance", label: "By at most", value: found.furthest, text: plural(found.furthest, "bin"), note: "" },
    { key: "after", label: "Moved after it", value: found.after, text: plural(found.after, "bin"), note: "" },
  ];
}

const KEYS = ["way", "bang_db", "at", "values", "low_db", "high_db", "rise_db", "fall_db_per_second"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  settle(s, { bang_db: [0, MOST], at: [LENGTH, s.values.length - LENGTH] });
  if (!WAYS.includes(s.way)) s.way = WAYS[0];
  return s;
}

export const view = (s, width, id) => (
  { picture: drawPicture(s, width, id), height: HEIGHT, sentence: sentence(s), readouts: readouts(s) }
);

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const frames = model.get("values").length, stops = (first, last, step) => Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
  const controls = [
    { type: "choice", key: "way", label: "Range", options: [["recording", "recording"], ["fixed", "fixed"], ["running", "running"]] },
    { type: "slider", key: "bang_db", label: "Loudness of the bang", stops: stops(0, MOST, 5), say: (db) => `${db} dB` },
    { type: "slider", key: "at", label: "Time of the bang", stops: stops(LENGTH, frames - LENGTH, 5), say: (t) => duration(t, RATE) },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state();
    return { ...view(s, w, id), range: [LENGTH, s.at, frames - LENGTH], spoken: `bang at ${duration(s.at, RATE)}` };
  };
  const react = ({ stage, svg, keep }) => {
    const go = (t) => keep({ at: Math.min(frames - LENGTH, Math.max(LENGTH, Math.round(t) || LENGTH)) });
    const under = (event) => {
      const box = svg.getBoundingClientRect(), px = ((event.clientX - box.left) / box.width) * width;
      go(((px - LEFT) / (width - MARGIN - LEFT)) * frames);
    };
    stage.addEventListener("pointerdown", under);
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("keydown", (event) => {
      const t = state().at, to = { ArrowLeft: t - 1, ArrowRight: t + 1, Home: LENGTH, End: frames }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
