// The rate explorer: a sentence through models of several rates, by eye and by ear, and where they stand.
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import {
  choice,
  count,
  explorer,
  image,
  isWide,
  nearestStop,
  path,
  remembered,
  secondsAxis,
  slider,
  styled,
  text,
  tidy,
  titleOver,
  toggle,
} from "../explorer.js";
import { player } from "../player.js";

/** @import { Control, Declaration } from "../types" */
/** @typedef {{ family: string, label: string, rate: number, error: number, frames: string, mp3: string }} Model */
/** @typedef {{ family: string, rate: number, original: boolean, models: Model[], sentence: string }} State */

const MELS = 80;
const RATE = 100;
const MARGIN = 10;
const LEFT = 58;
const HEAD = 28;
const TALL = 190;
const GAP = 62;
const PLOT = 230; // the plot's width where it stands beside
const AXIS = 56; // left of the plot
const RATES = [200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
const REACH = 40; // pixels from a point that still mean it

// --- what is computed. Proved equal to numpy for every model.

/** The models of the family, the lowest rate first. @param {State} s */
const ofFamily = (s) => s.models.filter(({ family }) => family === s.family);

/** @param {State} s */
const chosen = (s) => ofFamily(s).find(({ rate }) => rate === s.rate) ?? s.models[0];

const errorOf = remembered(
  (/** @type {State} */ s) => `${s.family} ${s.rate} ${s.models.length} ${s.sentence}`,
  (s) => {
    const [before, after] = [s.sentence, chosen(s).frames].map(bytesOf);
    const sum = before.reduce((all, b, i) => all + ((b - after[i]) / 2) ** 2, 0);
    return Math.sqrt(sum / Math.max(1, before.length));
  },
);

/** @param {State} s */
function readState(s) {
  const { family, label, rate, error } = chosen(s);
  return { family, label, rate, error_db: error, sentence_db: errorOf(s) };
}

// --- what is drawn: one string of SVG

/** Where the pictures lie, and where rate and error do. @param {State} s @param {number} width */
function layout(s, width) {
  const wide = isWide(width);
  const across = wide ? width - LEFT - PLOT - AXIS - MARGIN : width - LEFT - MARGIN;
  const left = wide ? width - PLOT - MARGIN : LEFT;
  const top = wide ? HEAD : HEAD + TALL + GAP;
  const right = width - MARGIN;
  const rates = s.models.map(({ rate }) => Math.log(rate));
  const [least, most] = [Math.min(...rates) - 0.25, Math.max(...rates) + 0.25];
  const worst = 1.08 * Math.max(1, ...s.models.map(({ error }) => error));
  /** @param {number} rate */
  const x = (rate) => left + ((right - left) * (Math.log(rate) - least)) / (most - least);
  /** @param {number} error */
  const y = (error) => top + TALL * (1 - error / worst);
  return { across, left, top, right, x, y, worst };
}

/** @param {State} s */
const title = (s) => (s.original ? "as it is" : `${chosen(s).family}, ${chosen(s).label}`);

const bitmap = remembered(
  (/** @type {State} */ s) => `${s.original} ${s.family} ${s.rate} ${s.models.length} ${s.sentence}`,
  (s) => {
    const bytes = bytesOf(s.original ? s.sentence : chosen(s).frames);
    const loudest = bytesOf(s.sentence).reduce((a, b) => Math.max(a, b), 1);
    const levels = bytes.map((b) => Math.min(255, Math.round((255 * b) / loudest)));
    return spectrogramBmp(levels, bytes.length / MELS, 8);
  },
);

/** @param {State} s @param {number} width */
function drawPicture(s, width) {
  const { across, left, top, right, x, y, worst } = layout(s, width);
  const frames = bytesOf(s.sentence).length / MELS;
  const bottom = top + TALL;
  let out = image(LEFT, HEAD, across, TALL, bitmap(s)) + titleOver(LEFT, HEAD - 10, title(s));
  out += text("cc-quiet", LEFT - 8, HEAD + 12, "8 kHz", "end");
  out += text("cc-quiet", LEFT - 8, HEAD + TALL - 2, "50 Hz", "end");
  out += secondsAxis(frames, LEFT, across / frames, HEAD + TALL, RATE);

  out += titleOver(left, top - 10, "error, and bits a second");
  out += path("cc-tick", `M${left} ${bottom}H${right}`);
  for (const rate of RATES) {
    const at = x(rate);
    if (at < left || at > right) continue;
    out += path("cc-tick", `M${tidy(at)} ${bottom}v5`);
    out += text("cc-digits cc-quiet", at, bottom + 19, rate < 1000 ? rate : `${rate / 1000}k`, "middle");
  }
  const step = worst > 8 ? 4 : worst > 4 ? 2 : 1;
  for (let error = 0; error < worst; error += step) {
    out += path("cc-tick", `M${left} ${tidy(y(error))}H${right}`, 'opacity=".35"');
    out += text("cc-digits cc-quiet", left - 8, y(error) + 4, error ? error : "0 dB", "end");
  }
  for (const family of new Set(s.models.map((model) => model.family))) {
    const here = family === s.family;
    const color = here ? "accent" : "future";
    const places = ofFamily({ ...s, family }).map(({ rate, error }) => `${tidy(x(rate))} ${tidy(y(error))}`);
    out += styled(`fill:none;stroke:var(--cc-${color});stroke-width:${here ? 2 : 1}`, `M${places.join("L")}`);
    const dots = places.map((place) => `M${place}h0`).join("");
    out += styled(`stroke:var(--cc-${color});stroke-width:${here ? 9 : 6};stroke-linecap:round`, dots);
  }
  const at = `M${tidy(x(chosen(s).rate))} ${tidy(y(chosen(s).error))}h0`;
  out += styled("stroke:var(--cc-paper);stroke-width:19;stroke-linecap:round", at);
  return out + styled("stroke:var(--cc-present);stroke-width:14;stroke-linecap:round", at);
}

/** The model at a place of the plot. @param {State} s @param {number} px @param {number} py @param {number} width */
function modelAt(s, px, py, width) {
  const { x, y } = layout(s, width);
  const far = s.models.map(({ rate, error }) => Math.hypot(x(rate) - px, y(error) - py));
  const best = far.indexOf(Math.min(...far));
  return far[best] <= REACH ? { family: s.models[best].family, rate: s.models[best].rate } : undefined;
}

// --- what is said

/** @param {number} value */
const decibels = (value) => `${value.toFixed(1)} dB`;

/** @param {number} rate */
const bits = (rate) => `${count(Math.round(rate))} bits a second`;

/** @param {State} s */
function sentence(s) {
  const { family, label, rate, error } = chosen(s);
  if (s.original) return "This is the sentence itself, as a sound that is made of its spectrogram alone.";
  return `${family}, ${label}: with ${bits(rate)} an error of ${decibels(error)} is left on unheard voices.`;
}

/** @param {State} s */
function readouts(s) {
  const { rate, error, sentence_db } = { ...chosen(s), ...readState(s) };
  const note = `${(rate / RATE).toFixed(rate < 1000 ? 1 : 0)} a frame`;
  return [
    { key: "rate", label: "Bits a second", value: rate, text: count(Math.round(rate)), note },
    { key: "error", label: "Error", value: error, text: decibels(error) },
    { key: "sentence", label: "Of this sentence", value: sentence_db, text: decibels(sentence_db) },
  ];
}

/** A control on a row of its own. @param {Control<State>} control @returns {Control<State>} */
const across = (control) => ({
  ...control,
  build(figure) {
    const row = control.build(figure);
    row.classList.add("cc-across");
    return row;
  },
});

/** @type {Declaration<State>} */
const declaration = {
  traits: ["family", "rate", "original", "models", "sentence"],
  settled(s) {
    if (!ofFamily(s).length) s.family = s.models[0].family;
    const rates = ofFamily(s).map(({ rate }) => rate);
    s.rate = rates[nearestStop(rates.map(Math.log), Math.log(s.rate > 0 ? s.rate : 1))];
    return s;
  },
  read: readState,
  picture: drawPicture,
  height: (_, width) => (isWide(width) ? HEAD + TALL + 30 : HEAD + 2 * TALL + GAP + 30),
  sentence,
  readouts,
  controls: (model) => {
    /** @type {Model[]} */
    const models = model.get("models");
    const families = [...new Set(models.map(({ family }) => family))];
    const now = (/** @type {State} */ s) => ({ title: title(s), mp3: s.original ? model.get("mp3") : chosen(s).mp3 });
    return [
      ...(model.get("mp3") ? [player(now)] : []),
      across(
        choice(
          "family",
          "Model",
          families.map((family) => [family, family]),
        ),
      ),
      slider(
        "rate",
        "Setting",
        (s) => ofFamily(s).map(({ rate }) => rate),
        (_, s) => chosen(s).label,
      ),
      toggle("original", "The sentence itself"),
    ];
  },
  range: (s) => [0, ofFamily(s).indexOf(chosen(s)), ofFamily(s).length - 1],
  spoken: (s) => sentence(s),
  move: (place, s) => ({ rate: ofFamily(s)[place].rate }),
  at: modelAt,
};

export default explorer(declaration);
