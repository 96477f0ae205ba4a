// The temperature explorer: how speech went on, how a model lets it go on at each temperature, and how that sounds.
import { count, explorer, image, nearestStop, path, remembered, secondsAxis, slider, text, tidy } from "../explorer.js";
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import { player } from "../player.js";

/** @import { Declaration } from "../types" */
/** @typedef {{ temperature: number, temperatures: number[], levels: string, prompt: number, step_db: number }} State */

const LEFT = 58;
const MARGIN = 10;
const HEAD = 26;
const PANEL = 118;
const GAP = 36;
const FOOT = 44;
const RATE = 100;
const MELS = 80;

// --- what is computed. Proved equal to torch for every setting.

/** The place of the temperature that is nearest to the one asked for. @param {State} s */
const placeOf = (s) => nearestStop(s.temperatures, Number.isFinite(+s.temperature) ? +s.temperature : 100);

/** All levels: the prompt, then the true continuation, then one for each temperature. @param {State} s */
function piecesOf(s) {
  const all = bytesOf(s.levels);
  const prompt = s.prompt * MELS;
  const each = (all.length - prompt) / (1 + s.temperatures.length);
  const starts = [0, ...s.temperatures].map((_, i) => prompt + i * each);
  return { prompt: all.slice(0, prompt), next: starts.map((start) => all.slice(start, start + each)) };
}

/** What frames are like, in dB: the step from frame to frame, the contrast of the bands, how much the level moves. */
/** @param {number[]} levels @param {number[]} before @param {number} stepDb */
export function frameStatistics(levels, before, stepDb) {
  const frames = levels.length / MELS;
  const last = before.slice(before.length - MELS);
  let [steps, within, sums, squares] = [0, 0, 0, 0];
  for (let t = 0; t < frames; t++) {
    let [sum, square] = [0, 0];
    for (let f = 0; f < MELS; f++) {
      const level = levels[t * MELS + f];
      const past = t ? levels[(t - 1) * MELS + f] : last[f];
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
const known = remembered(
  (/** @type {State} */ s) => [s.prompt, s.step_db, s.temperatures.length, s.levels].join(),
  (s) => {
    const { prompt, next } = piecesOf(s);
    const frames = (prompt.length + next[0].length) / MELS;
    return {
      frames,
      statistics: next.map((levels) => frameStatistics(levels, prompt, s.step_db)),
      drawn: next.map((levels) => spectrogramBmp([...prompt, ...levels], frames, 8)),
    };
  },
);

/** @param {State} s */
function readState(s) {
  const at = placeOf(s);
  const { statistics } = known(s);
  return { temperature: s.temperatures[at] / 100, written: statistics[1 + at], speech: statistics[0] };
}

// --- what is drawn: one string of SVG.

/** @param {number} hundredths */
const named = (hundredths) => (hundredths / 100).toFixed(2);

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const right = width - MARGIN;
  const at = placeOf(s);
  const { frames, drawn } = known(s);
  const second = HEAD + PANEL + GAP;
  const dx = (right - LEFT) / frames;
  const edge = LEFT + s.prompt * dx;
  /** @param {number} y @param {string} title @param {string} href */
  const panel = (y, title, href) =>
    text("cc-title", edge, y - 8, title) +
    text("cc-quiet", LEFT, y - 8, "given") +
    image(LEFT, y, right - LEFT, PANEL, href) +
    text("cc-quiet", LEFT - 8, y + PANEL / 2 + 4, "bands", "end") +
    path("cc-now cc-bright", `M${tidy(edge)} ${y}v${PANEL}`);
  const written = panel(second, `at temperature ${named(s.temperatures[at])}`, drawn[1 + at]);
  return panel(HEAD, "as it was said", drawn[0]) + written + secondsAxis(frames, LEFT, dx, second + PANEL, RATE);
}

// --- what is said

/** @param {number} value */
const tenths = (value) => {
  const n = Math.floor(value * 10 + 0.5);
  return `${count(Math.floor(n / 10))}.${n % 10}`;
};

/** @param {State} s */
function sentence(s) {
  const { temperature, written, speech } = readState(s);
  const away = `a frame is ${tenths(written.step)} dB away from the one before it`;
  return `At temperature ${temperature.toFixed(2)} ${away}; in this piece of speech it is ${tenths(speech.step)} dB.`;
}

/** @param {State} s */
function readouts(s) {
  const { written, speech } = readState(s);
  /** @param {"step" | "contrast" | "level"} key @param {string} label */
  const row = (key, label) => {
    return {
      key,
      label,
      value: written[key],
      text: `${tenths(written[key])} dB`,
      note: `speech ${tenths(speech[key])}`,
    };
  };
  return [
    row("step", "Step to the next frame"),
    row("contrast", "Contrast of the bands"),
    row("level", "Moves of the level"),
  ];
}

/** @type {Declaration<State>} */
const declaration = {
  traits: ["temperature", "temperatures", "levels", "prompt", "step_db"],
  settled(s) {
    s.temperature = s.temperatures[placeOf(s)];
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: HEAD + PANEL + GAP + PANEL + FOOT,
  sentence,
  readouts,
  controls: (model) => {
    /** @type {string[]} */
    const sounds = model.get("sounds");
    const now = (/** @type {State} */ s) => {
      return { title: `Given, then written at ${named(s.temperature)}`, mp3: sounds[placeOf(s)] };
    };
    return [
      ...(sounds.length === model.get("temperatures").length ? [player(now)] : []),
      slider("temperature", "Temperature", (s) => s.temperatures, named),
    ];
  },
  range: (s) => [0, placeOf(s), s.temperatures.length - 1],
  spoken: (s) => `temperature ${named(s.temperature)}`,
  move: (place, s) => ({ temperature: s.temperatures[place] }),
};

export default explorer(declaration);
