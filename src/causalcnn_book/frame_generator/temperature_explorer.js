// The temperature explorer: how speech went on, how a model lets it go on at each temperature, and how that sounds.
import { assemble, count, duration, niceStep, tidy } from "../explorer.js";
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import { playerOf } from "../player.js";

const LEFT = 58, MARGIN = 10, HEAD = 26, PANEL = 118, GAP = 36, FOOT = 44;
const RATE = 100, MELS = 80;

// --- what is computed. Proved equal to torch for every setting.

/** The place of the temperature that is nearest to the one asked for. */
export function placeOf(s) {
  const asked = Number.isFinite(+s.temperature) ? +s.temperature : 100;
  return s.temperatures.reduce((best, t, i) => (Math.abs(t - asked) < Math.abs(s.temperatures[best] - asked) ? i : best), 0);
}

/** All levels: the prompt, then the true continuation, then one for each temperature. */
export function piecesOf(s) {
  const all = bytesOf(s.levels), prompt = s.prompt * MELS, each = (all.length - prompt) / (1 + s.temperatures.length);
  return { prompt: all.slice(0, prompt), next: Array.from({ length: 1 + s.temperatures.length }, (_, i) => all.slice(prompt + i * each, prompt + (i + 1) * each)) };
}

/** What frames are like, in dB: the step from frame to frame, the contrast between the bands, how much the level moves. */
export function frameStatistics(levels, before, stepDb) {
  const frames = levels.length / MELS, last = before.slice(before.length - MELS);
  let steps = 0, within = 0, sums = 0, squares = 0;
  for (let t = 0; t < frames; t++) {
    let sum = 0, square = 0;
    for (let f = 0; f < MELS; f++) {
      const level = levels[t * MELS + f], past = t ? levels[(t - 1) * MELS + f] : last[f];
      steps += (level - past) ** 2;
      sum += level;
      square += level * level;
    }
    within += MELS * square - sum * sum;
    sums += sum;
    squares += sum * sum;
  }
  return {
    step: stepDb * Math.sqrt(steps / (frames * MELS)),
    contrast: stepDb * Math.sqrt(within / (frames * MELS * MELS)),
    level: (stepDb * Math.sqrt((frames * squares - sums * sums) / (frames * frames))) / MELS,
  };
}

// Decoding is not done again for every move.
let kept = { key: "" };
export function known(s) {
  const key = [s.prompt, s.step_db, s.temperatures.length, s.levels].join();
  if (kept.key === key) return kept;
  const { prompt, next } = piecesOf(s);
  kept = {
    key, frames: (prompt.length + next[0].length) / MELS,
    statistics: next.map((levels) => frameStatistics(levels, prompt, s.step_db)),
    drawn: next.map((levels) => spectrogramBmp([...prompt, ...levels], (prompt.length + levels.length) / MELS, 8)),
  };
  return kept;
}

export function readState(s) {
  const at = placeOf(s), all = known(s);
  return { temperature: s.temperatures[at] / 100, written: all.statistics[1 + at], speech: all.statistics[0] };
}

// --- what is drawn: one string of SVG.

export const HEIGHT = HEAD + PANEL + GAP + PANEL + FOOT;

const named = (hundredths) => (hundredths / 100).toFixed(2);

export function drawPicture(s, width) {
  const right = width - MARGIN, at = placeOf(s), all = known(s), second = HEAD + PANEL + GAP, dx = (right - LEFT) / all.frames;
  const edge = tidy(LEFT + s.prompt * dx);
  let out = "";
  for (const [i, y, title] of [[0, HEAD, "as it was said"], [1 + at, second, `at temperature ${named(s.temperatures[at])}`]]) {
    out += `<text class="cc-title" x="${edge}" y="${y - 8}">${title}</text>`;
    out += `<text class="cc-quiet" x="${LEFT}" y="${y - 8}">given</text>`;
    out += `<image x="${LEFT}" y="${y}" width="${tidy(right - LEFT)}" height="${PANEL}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${all.drawn[i]}"/>`;
    out += `<text class="cc-quiet" x="${LEFT - 8}" y="${y + PANEL / 2 + 4}" text-anchor="end">bands</text>`;
    out += `<path class="cc-now cc-bright" d="M${edge} ${y}v${PANEL}"/>`;
  }
  for (let t = 0; t < all.frames; t += niceStep(dx, 60)) {
    const x = tidy(LEFT + t * dx);
    out += `<path class="cc-tick" d="M${x} ${second + PANEL}v5"/>`;
    out += `<text class="cc-digits cc-quiet" x="${x}" y="${second + PANEL + 19}" text-anchor="middle">${duration(t, RATE)}</text>`;
  }
  return out;
}

// --- what is said

const tenths = (value) => {
  const n = Math.floor(value * 10 + 0.5);
  return `${count(Math.floor(n / 10))}.${n % 10}`;
};

export function sentence(s) {
  const { temperature, written, speech } = readState(s);
  return `At temperature ${temperature.toFixed(2)} a frame is ${tenths(written.step)} dB away from the one before it; in this piece of speech it is ${tenths(speech.step)} dB.`;
}

export function readouts(s) {
  const { written, speech } = readState(s);
  return [["step", "Step to the next frame"], ["contrast", "Contrast of the bands"], ["level", "Moves of the level"]].map(
    ([key, label]) => ({ key, label, value: written[key], text: `${tenths(written[key])} dB`, note: `speech ${tenths(speech[key])}` }),
  );
}

const KEYS = ["temperature", "temperatures", "levels", "prompt", "step_db"];

/** A state that can be drawn, whatever an address or a notebook asks for. */
export function settled(s) {
  s.temperature = s.temperatures[placeOf(s)];
  return s;
}

export const view = (s, width) => (
  { picture: drawPicture(s, width), height: HEIGHT, sentence: sentence(s), readouts: readouts(s) }
);

function render({ model, el }) {
  const state = () => settled(Object.fromEntries(KEYS.map((k) => [k, model.get(k)])));
  const controls = [
    { type: "slider", key: "temperature", label: "Temperature", stops: model.get("temperatures"), say: (t) => named(t) },
  ];
  const draw = (width) => {
    const s = state();
    return {
      ...view(s, width), range: [0, placeOf(s), s.temperatures.length - 1], spoken: `temperature ${named(s.temperature)}`,
    };
  };
  const react = ({ stage, keep }) => {
    if (model.get("controls").includes("sound") && model.get("sounds").length === model.get("temperatures").length) {
      const now = () => {
        const s = state();
        return { title: `Given, then written at ${named(s.temperature)}`, mp3: model.get("sounds")[placeOf(s)] };
      };
      stage.parentNode.querySelector(".cc-controls").prepend(playerOf(model, "temperature", now));
    }
    stage.addEventListener("keydown", (event) => {
      const s = state(), at = placeOf(s), last = s.temperatures.length - 1;
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      keep({ temperature: s.temperatures[Math.min(last, Math.max(0, to))] });
    });
  };
  return assemble({ model, el }, { controls, draw, react });
}

export default { render };
