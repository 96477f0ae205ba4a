// The leak figure: an impulse in the future, six layers, and what moves before it. Faults are planted or hidden.
import { assemble, clamp, newId, plural, tidy } from "../explorer.js";

const FRAMES = 24, EDGE = 14, TOP = 40, ROW = 42, HEIGHT = 372;
const LAYERS = [
  ["front_end", "front end", "centred window"],
  ["padding", "convolution", "padding off by one"],
  ["dilation", "dilated convolution", "dilation forgotten"],
  ["reflect", "convolution", "reflect padding"],
  ["norm", "normalisation", "statistics over all time"],
  ["mask", "attention", "mask off by one"],
];
const CASES = [[2], [5], [0], [3], [1], [4], [], [1, 5]];

// --- what is computed. Proved equal to torch over the whole grid of faults and impulses.

/** Which of the six faults are there, hidden or planted. */
export const faults = (s) => LAYERS.map(([key], i) => (s.hunt ? CASES[s.case - 1].includes(i) : s[key]));

/** Whether output `t` of a layer reads its input `u`. */
export function reads(layer, wrong, t, u) {
  const d = u - t;
  if (layer === 0) return wrong ? Math.abs(d) <= 2 : d <= 0 && d >= -4;
  if (layer === 1) return wrong ? Math.abs(d) <= 1 : d <= 0 && d >= -2;
  if (layer === 2) return (wrong ? [-2, 1, 4] : [-6, -3, 0]).includes(d);
  if (layer === 3) return (d <= 0 && d >= -4) || (wrong && u > 0 && -u - t >= -4);
  if (layer === 4) return wrong || d === 0;
  return d <= (wrong ? 1 : 0);
}

/** For the input and each layer: the frames that an impulse at `s.at` moves. */
export function moved(s) {
  const wrong = faults(s), rows = [[s.at]];
  for (let layer = 0; layer < 6; layer++) {
    const row = [];
    for (let t = 0; t < FRAMES; t++) if (rows[layer].some((u) => reads(layer, wrong[layer], t, u))) row.push(t);
    rows.push(row);
  }
  return rows;
}

export const readState = (s) => ({ faults: faults(s), moved: moved(s) });

const early = (s, row) => row.filter((t) => t < s.at);
const open = (s, row) => !s.hunt || s.reveal || row === 0 || row === s.probe;

// --- what is drawn: one string of SVG

export function drawPicture(s, width, id) {
  const dx = (width - 2 * EDGE) / FRAMES, x = (t) => EDGE + (t + 0.5) * dx, now = EDGE + s.at * dx, wrong = faults(s);
  const bottom = TOP + 7 * ROW, shown = !s.hunt || s.reveal, dot = Math.min(11, dx * 0.72);
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  out += `<rect class="cc-closed" fill="url(#${id}h)" x="${tidy(now)}" y="${TOP - 12}" width="${tidy(width - EDGE - now)}" height="${bottom - TOP + 12}"/>`;
  moved(s).forEach((row, i) => {
    const y = bottom - i * ROW - 12, name = i ? LAYERS[i - 1][1] : "input";
    const fault = i && shown && wrong[i - 1] ? `: ${LAYERS[i - 1][2]}` : "";
    const kind = fault ? "cc-said-leak" : "cc-quiet";
    out += `<text class="${kind}" x="${EDGE}" y="${y - 14}">${name}${fault}${open(s, i) ? "" : " (not probed)"}</text>`;
    const dots = { idle: "", past: "", leak: "", present: "" };
    for (let t = 0; t < FRAMES; t++) {
      const hit = open(s, i) && row.includes(t);
      dots[!hit ? "idle" : i === 0 ? "present" : t < s.at ? "leak" : "past"] += `M${tidy(x(t))} ${y}h.01`;
    }
    for (const name of ["idle", "past", "leak", "present"]) {
      if (dots[name]) out += `<path class="cc-dot cc-${name}" stroke-width="${tidy(name === "idle" ? 3 : dot)}" d="${dots[name]}"/>`;
    }
  });
  const late = s.at > 16;
  out += `<path class="cc-now" d="M${tidy(now)} ${TOP - 12}V${bottom}"/>`;
  out += `<text class="cc-here" x="${tidy(now + (late ? -8 : 8))}" y="20" text-anchor="${late ? "end" : "start"}">${width >= 560 ? "the impulse is still to come" : "still to come"}</text>`;
  return out + `<text class="cc-quiet" x="${EDGE}" y="${bottom + 20}">24 frames, ${s.at} of them before the impulse</text>`;
}

// --- what is said

export function sentence(s) {
  const rows = moved(s), wrong = faults(s), first = rows.findIndex((row) => early(s, row).length) - 1;
  const many = (n) => `${plural(n, "frame")} ${n === 1 ? "moves" : "move"}`;
  if (s.hunt && !s.reveal) {
    const n = early(s, rows[s.probe]).length, name = LAYERS[s.probe - 1][1];
    return `Case ${s.case}, layer ${s.probe} (${name}): ${n ? many(n) + " before the impulse." : "nothing moves before the impulse."}`;
  }
  if (first >= 0) {
    const n = early(s, rows[6]).length;
    return `${n ? many(n) : "Nothing moves"} before the impulse in the output. It begins in layer ${first + 1}, the ${LAYERS[first][1]}: ${LAYERS[first][2]}.`;
  }
  if (wrong.some(Boolean)) return "Nothing moves before this impulse, although a fault is there. Move the impulse.";
  return "Nothing moves before the impulse: no layer reads the future.";
}

export function readouts(s) {
  const rows = moved(s), top = early(s, rows[6]), first = rows.findIndex((row) => early(s, row).length);
  const shown = !s.hunt || s.reveal || s.probe === 6, known = !s.hunt || s.reveal, ahead = top.length ? s.at - top[0] : 0;
  return [
    { key: "moved", label: "Output moves too early", value: top.length, text: shown ? plural(top.length, "frame") : "?", note: "", leak: shown && top.length > 0 },
    { key: "ahead", label: "By at most", value: ahead, text: shown ? plural(ahead, "frame") : "?", note: "" },
    { key: "first", label: "First leaking layer", value: first, text: known ? (first > 0 ? String(first) : "none") : "?", note: "" },
  ];
}

const KEYS = ["at", "hunt", "case", "probe", "reveal", ...LAYERS.map(([key]) => key)];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  s.at = clamp(s.at, 0, FRAMES - 1);
  s.case = clamp(s.case, 1, CASES.length);
  s.probe = clamp(s.probe, 1, 6);
  return s;
}

export const view = (s, width, id) => ({
  picture: drawPicture(s, width, id), height: HEIGHT, sentence: sentence(s), readouts: readouts(s),
});

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const upto = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const controls = [
    { type: "slider", key: "case", label: "Case", stops: upto(1, CASES.length), say: String },
    { type: "slider", key: "at", label: "Impulse at frame", stops: upto(0, FRAMES - 1), say: String },
    { type: "slider", key: "probe", label: "Probe layer", stops: upto(1, 6), say: (v) => `${v}, ${LAYERS[v - 1][1]}` },
    ...LAYERS.map(([key, , fault], i) => ({ type: "toggle", key, label: `${i + 1}: ${fault}` })),
    { type: "toggle", key: "reveal", label: "Reveal the fault" },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state();
    return { ...view(s, w, id), range: [0, s.at, FRAMES - 1] };
  };
  const react = ({ stage, svg, keep }) => {
    const under = (event) => {
      const box = svg.getBoundingClientRect();
      const at = Math.floor((((event.clientX - box.left) / box.width) * width - EDGE) / ((width - 2 * EDGE) / FRAMES));
      keep({ at: clamp(at, 0, FRAMES - 1) });
    };
    stage.addEventListener("pointerdown", under);
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("keydown", (event) => {
      const at = state().at, to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: FRAMES - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      keep({ at: clamp(to, 0, FRAMES - 1) });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
