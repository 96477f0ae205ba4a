// The window explorer: which samples a frame of the front end reads, and when it is ready.
import { assemble, count, duration, newId, plural, tidy } from "../explorer.js";

const GUTTER = 54, EDGE = 10, TOP = 56, MIDDLE = 132, BOTTOM = 208, HEIGHT = 292;
const RATE = 16000, FIRST_MS = -60, LAST_MS = 200, LAST_HOP_MS = 160;

// --- what is computed. Proved equal to causalcnn.Field and to the front end over the whole grid of controls.

/** What frame `s.frame` reads: samples, instants in samples; its rate and resolution in Hz. */
export function readState(s) {
  const zeros = s.convention === "causal" ? s.window_samples - s.hop_samples : s.window_samples / 2;
  const first = s.frame * s.hop_samples - zeros, last = first + s.window_samples - 1, due = (s.frame + 1) * s.hop_samples;
  const ready = Math.max(due, last + 1), centre = first + s.window_samples / 2;
  return {
    first, last, due, ready, centre, age: ready - centre, lookahead: Math.max(0, last + 1 - due),
    rate: RATE / s.hop_samples, resolution: (2 * RATE) / s.window_samples,
  };
}

export const lastFrame = (s) => (LAST_HOP_MS * RATE) / 1000 / s.hop_samples - 1;

// --- what is drawn: one string of SVG

export function drawPicture(s, width, id) {
  const f = readState(s), right = width - EDGE, scale = (right - GUTTER) / (LAST_MS - FIRST_MS);
  const x = (sample) => GUTTER + ((sample * 1000) / RATE - FIRST_MS) * scale;
  const bars = { idle: "", past: "", leak: "" }, half = MIDDLE - TOP - 14;
  s.wave.forEach(([low, high], ms) => {
    const at = (ms * RATE) / 1000, inside = at >= f.first && at <= f.last;
    bars[inside ? (at >= f.due ? "leak" : "past") : "idle"] += `M${tidy(x(at))} ${tidy(MIDDLE - high * half - 0.5)}V${tidy(MIDDLE - low * half + 0.5)}`;
  });
  const hump = (from, to) => {
    const points = [];
    for (let i = 0; i <= 32; i++) {
      const at = from + ((to - from) * i) / 32, turn = (2 * Math.PI * (at - f.first)) / s.window_samples;
      points.push(`${tidy(x(at))} ${tidy(BOTTOM - (BOTTOM - TOP) * 0.5 * (1 - Math.cos(turn)))}`);
    }
    return `M${points.join("L")}`;
  };
  const split = Math.min(f.last + 1, f.due), now = x(f.due), bar = Math.max(1, scale * 0.7);
  let out = `<defs><pattern id="${id}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>`;
  out += `<rect class="cc-closed" fill="url(#${id}h)" x="${tidy(now)}" y="${TOP - 22}" width="${tidy(right - now)}" height="${BOTTOM - TOP + 38}"/>`;
  for (const name of ["idle", "past", "leak"]) if (bars[name]) out += `<path class="cc-dot cc-${name}" stroke-width="${tidy(bar)}" d="${bars[name]}"/>`;
  out += `<path class="cc-span cc-past" d="${hump(f.first, split)}"/>`;
  if (f.last >= f.due) out += `<path class="cc-span cc-leak" d="${hump(split, f.last + 1)}"/>`;
  let frames = "";
  for (let t = 0; t <= lastFrame(s); t++) if (t !== s.frame) frames += `M${tidy(x(t * s.hop_samples) + 1)} ${BOTTOM + 24}H${tidy(x((t + 1) * s.hop_samples) - 1)}`;
  out += `<path class="cc-dot cc-idle" stroke-width="7" style="stroke-linecap:butt" d="${frames}"/>`;
  out += `<path class="cc-dot cc-present" stroke-width="9" style="stroke-linecap:butt" d="M${tidy(x(s.frame * s.hop_samples) + 1)} ${BOTTOM + 24}H${tidy(now - 1)}"/>`;
  out += `<path class="cc-now" d="M${tidy(now)} ${TOP - 22}V${BOTTOM + 30}"/>`;
  out += `<path class="cc-tick" d="M${tidy(x(f.centre))} ${BOTTOM + 4}l-4 8h8z"/>`;
  return out + labels(width, x, now, right, scale);
}

function labels(width, x, now, right, scale) {
  const wide = width >= 560, here = Math.min(Math.max(now, GUTTER + 14), right - 14);
  let out = `<text class="cc-here" x="${tidy(here)}" y="24" text-anchor="middle">now</text>`;
  if (now - GUTTER > (wide ? 180 : 60)) out += `<text class="cc-said-past" x="${GUTTER}" y="24">${wide ? "past: may be used" : "past"}</text>`;
  if (right - now > (wide ? 180 : 70)) out += `<text class="cc-quiet" x="${tidy(right)}" y="24" text-anchor="end">${wide ? "future: not allowed" : "future"}</text>`;
  for (const [name, y] of [["sound", MIDDLE + 4], ["window", BOTTOM + 4], ["frames", BOTTOM + 28]]) {
    out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${y}" text-anchor="end">${name}</text>`;
  }
  out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${BOTTOM + 58}" text-anchor="end">ms</text>`;
  if (wide) out += `<text class="cc-quiet" x="${GUTTER - 8}" y="${BOTTOM + 75}" text-anchor="end">sample</text>`;
  const step = scale * 20 >= 44 ? 20 : 50;
  for (let ms = Math.ceil(FIRST_MS / step) * step; ms <= LAST_MS; ms += step) {
    const at = x((ms * RATE) / 1000), t = tidy(at);
    if (at > right - 14 || at < GUTTER + 14) continue;
    out += `<path class="cc-tick" d="M${t} ${BOTTOM + 38}v5"/><text class="cc-digits" x="${t}" y="${BOTTOM + 58}" text-anchor="middle">${count(ms)}</text>`;
    if (wide) out += `<text class="cc-digits cc-quiet" x="${t}" y="${BOTTOM + 75}" text-anchor="middle">${count((ms * RATE) / 1000)}</text>`;
  }
  return out;
}

// --- what is said

export function sentence(s) {
  const f = readState(s), ms = (samples) => duration(samples, RATE);
  const zeros = Math.min(s.window_samples, Math.max(0, -f.first));
  const made = zeros ? ` ${plural(zeros, "sample")} of them are zeros that nobody spoke.` : "";
  const reads = `Frame ${s.frame} reads ${plural(s.window_samples, "sample")}, from ${ms(f.first)} to ${ms(f.last + 1)}`;
  if (f.lookahead) return `${reads}: ${plural(f.lookahead, "sample")} (${ms(f.lookahead)}) past the end of its own hop, a leak.${made}`;
  return `${reads}, and none after its own hop, which ends at ${ms(f.due)}.${made}`;
}

export function readouts(s) {
  const f = readState(s), ms = (samples) => duration(samples, RATE);
  return [
    { key: "reads", label: "Reads the samples", value: f.first, text: `${count(f.first)} … ${count(f.last)}`, note: "" },
    { key: "lookahead", label: "Past its own hop", value: f.lookahead, text: plural(f.lookahead, "sample"), note: ms(f.lookahead) },
    { key: "ready", label: "Ready at", value: f.ready, text: ms(f.ready), note: "" },
    { key: "age", label: "Its middle is then old", value: f.age, text: ms(f.age), note: "" },
    { key: "rate", label: "Frames a second", value: f.rate, text: count(f.rate), note: "" },
    { key: "resolution", label: "Tells waves apart from", value: f.resolution, text: `${tidy(f.resolution)} Hz`, note: "" },
  ];
}

const KEYS = ["frame", "convention", "window_samples", "hop_samples", "wave"];
const WINDOWS = [160, 320, 400, 512, 640, 1024], HOPS = [80, 160, 320];
const nearest = (stops, v) => stops.reduce((best, stop) => (Math.abs(stop - v) < Math.abs(best - v) ? stop : best));

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  s.window_samples = nearest(WINDOWS, s.window_samples);
  s.hop_samples = nearest(HOPS, s.hop_samples);
  if (s.convention !== "centered") s.convention = "causal";
  s.frame = Math.min(lastFrame(s), Math.max(0, Math.round(s.frame) || 0));
  return s;
}

export const view = (s, width, id) => ({
  picture: drawPicture(s, width, id), height: HEIGHT, sentence: sentence(s), readouts: readouts(s),
});

function render({ model, el }) {
  const id = newId(), state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const go = (frame) => { model.set("frame", frame); model.save_changes(); };
  const step = () => { const s = state(); go(s.frame >= lastFrame(s) ? 0 : s.frame + 1); };
  const controls = [
    { type: "slider", key: "frame", label: "Frame", stops: Array.from({ length: 32 }, (_, i) => i), say: () => String(state().frame) },
    { type: "choice", key: "convention", label: "Front end", options: [["causal", "causal"], ["centered", "centred"]] },
    { type: "slider", key: "window_samples", label: "Window", stops: WINDOWS, say: (v) => duration(v, RATE) },
    { type: "slider", key: "hop_samples", label: "Hop", stops: HOPS, say: (v) => duration(v, RATE) },
    { type: "clock", key: "play", label: "Let time run", everyMs: 420, step },
  ];
  let width = 720;
  const draw = (w) => {
    width = w;
    const s = state(), slide = el.querySelector('input[data-key="frame"]');
    if (model.get("frame") !== s.frame) model.set("frame", s.frame); // a longer hop leaves room for fewer frames
    if (slide) {
      slide.max = lastFrame(s);
      slide.value = s.frame;
      slide.style.setProperty("--at", `${(100 * s.frame) / lastFrame(s)}%`);
    }
    return { ...view(s, w, id), range: [0, s.frame, lastFrame(s)] };
  };
  const react = ({ stage, svg, keep }) => {
    const under = (event) => {
      const s = state(), box = svg.getBoundingClientRect(), scale = (width - EDGE - GUTTER) / (LAST_MS - FIRST_MS);
      const ms = (((event.clientX - box.left) * width) / box.width - GUTTER) / scale + FIRST_MS;
      keep({ frame: Math.min(lastFrame(s), Math.max(0, Math.floor((ms * RATE) / 1000 / s.hop_samples))) });
    };
    stage.addEventListener("pointermove", (event) => { if (event.buttons) under(event); });
    stage.addEventListener("click", under);
    stage.addEventListener("keydown", (event) => {
      const s = state(), last = lastFrame(s);
      const moves = { ArrowLeft: s.frame - 1, ArrowRight: s.frame + 1, ArrowDown: s.frame - 1, ArrowUp: s.frame + 1, Home: 0, End: last };
      if (!(event.key in moves)) return;
      event.preventDefault();
      keep({ frame: Math.min(last, Math.max(0, moves[event.key])) });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
