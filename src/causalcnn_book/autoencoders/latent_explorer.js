// The latent explorer: a map of all that two numbers can say, to walk in, by eye and by ear.
import { bytesOf, spectrogramBmp } from "../bitmap.js";
import {
  choice,
  count,
  explorer,
  image,
  isWide,
  make,
  path,
  rect,
  remembered,
  secondsAxis,
  slider,
  styled,
  text,
  tidy,
  titleOver,
  upTo,
} from "../explorer.js";
import { noise } from "../noise.js";

/** @import { Control, Declaration } from "../types" */
/**
 * @typedef {{ x: number, y: number, step: number, pitch: number, source: "around" | "voice" | "whisper",
 *   spectra: string, filters: string, voiced: string, points: string, path: string }} State
 * @typedef {[number, number]} Place
 * @typedef {{ grid: number[][], points: [number, number, number][], path: Place[] }} Chart the values of each place of
 *   the grid: 80 of the spectrum in dB, 16 reflection coefficients, the error in dB, the share that is voiced
 * @typedef {{ weights: number[], size: number, voiced: boolean }} Filter
 */

const EDGE = 3;
const PLACES = 21;
const FINE = 40; // places of a unit that can be told apart
const MELS = 80;
const ORDER = 16;
const LOWEST_DB = -100;
const FLOOR = -70;
const RATE_HZ = 16000;
const HOP = 160;
const RESPONSE = 960;
const FRAMES_A_SECOND = 100;
const CLASSES = [
  ["vowel", "speaker-a"],
  ["sonorant", "top"],
  ["fricative", "speaker-b"],
  ["stop", "bottom"],
  ["silence", "future"],
];
const NEIGHBORS = 15;
const MARGIN = 10;
const LEFT = 48;
const HEAD = 26;
const SIDE = 320;
const LEGEND = 106; // below the map, with its axis
const COLUMN = 62; // left of the pictures beside the map
const SPECTRUM = 128;
const GAP = 62;
const STRIP = 120;
const [SPECTRUM_LOW, SPECTRUM_HIGH] = [-85, 15];

// --- what is computed. Proved equal to LatentMap, which Python keeps.

/** @type {(s: State) => Chart} */
const chart = remembered(
  (/** @type {State} */ s) => `${s.spectra.length} ${s.filters} ${s.points} ${s.path}`,
  (s) => {
    const [spectra, filters, voiced, points, walk] = [s.spectra, s.filters, s.voiced, s.points, s.path].map(bytesOf);
    /** @param {number} i */
    const word = (i) => ((filters[2 * i] | (filters[2 * i + 1] << 8)) << 16) >> 16;
    /** @param {number} byte */
    const number = (byte) => (byte - EDGE * FINE) / FINE;
    const grid = upTo(0, PLACES * PLACES - 1).map((i) => [
      ...upTo(0, MELS - 1).map((band) => spectra[i * MELS + band] / 2 + LOWEST_DB),
      ...upTo(0, ORDER - 1).map((k) => word(i * (ORDER + 1) + k) / 32768),
      word(i * (ORDER + 1) + ORDER) / 100,
      voiced[i] / 255,
    ]);
    return {
      grid,
      points: upTo(0, points.length / 3 - 1).map((i) => [
        number(points[3 * i]),
        number(points[3 * i + 1]),
        points[3 * i + 2],
      ]),
      path: upTo(0, walk.length / 2 - 1).map((i) => [number(walk[2 * i]), number(walk[2 * i + 1])]),
    };
  },
);

/** All that stands on the grid, between the four places around. @param {State} s @param {Place} place */
function between(s, [x, y]) {
  const { grid } = chart(s);
  const last = PLACES - 1;
  const [u, v] = [x, y].map((one) => Math.max(0, Math.min(last, ((one + EDGE) / (2 * EDGE)) * last)));
  const [i, j] = [u, v].map((one) => Math.min(last - 1, Math.floor(one)));
  /** @param {number} n */
  const side = (n) => grid[n * PLACES + j].map((low, k) => (1 - v + j) * low + (v - j) * grid[n * PLACES + j + 1][k]);
  const [low, high] = [side(i), side(i + 1)];
  return low.map((one, k) => (1 - u + i) * one + (u - i) * high[k]);
}

/** The filter of what stands at a place. @param {number[]} values @returns {Filter} */
function filterOf(values) {
  /** @type {number[]} */
  let weights = [];
  for (const k of values.slice(MELS, MELS + ORDER)) {
    const before = weights;
    weights = [...before.map((w, n) => w - k * before[before.length - 1 - n]), k];
  }
  return { weights, size: 10 ** (values[MELS + ORDER] / 20), voiced: values[MELS + ORDER + 1] >= 0.5 };
}

/** What comes out of a filter into which `now` goes; `said` is what came out before. */
/** @param {number[]} weights @param {number[]} said @param {number} now */
function filtered(weights, said, now) {
  const last = said.length - 1;
  for (let k = 0; k < ORDER && k <= last; k++) now += weights[k] * said[last - k];
  return now;
}

/** How many times as much power pulses have after a filter as noise has. */
/** @param {number[]} weights @param {number} period */
function louder(weights, period) {
  /** @type {number[]} */
  const response = [];
  const wave = new Array(period).fill(0);
  for (let n = 0; n < Math.floor(RESPONSE / period) * period; n++) {
    response.push(filtered(weights, response, n ? 0 : 1));
    wave[n % period] += response[n];
  }
  /** @param {number[]} values */
  const power = (values) => values.reduce((sum, v) => sum + v * v, 0);
  return power(wave) / power(response);
}

/** Somebody who speaks on and on: each call gives the samples of the next 10 ms. */
function speaker() {
  /** @type {number[]} */
  let said = [];
  let until = 0,
    n = 0;
  return (/** @type {State} */ s, /** @type {Place} */ place) => {
    const { weights, size, voiced } = filterOf(between(s, place));
    const period = Math.round(RATE_HZ / s.pitch);
    const pulses = s.source === "voice" || (s.source === "around" && voiced);
    const strength = pulses ? Math.sqrt(period / louder(weights, period)) : 0;
    for (let i = 0; i < HOP; i++, n++) {
      const pulse = i >= until && (i - until) % period === 0 ? strength : 0;
      said.push(filtered(weights, said, size * (pulses ? pulse : noise(n))));
    }
    until = pulses ? (((until - HOP) % period) + period) % period : 0;
    const now = said.slice(-HOP);
    said = said.slice(-ORDER);
    return now.map((sample) => Math.max(-1, Math.min(1, sample)));
  };
}

/** The class of most of the frames nearby. @param {State} s */
function around(s) {
  const far = chart(s).points.map(([x, y, kind]) => [(x - s.x) ** 2 + (y - s.y) ** 2, kind]);
  const near = far.sort((a, b) => a[0] - b[0]).slice(0, NEIGHBORS);
  const votes = CLASSES.map((_, kind) => near.filter((one) => one[1] === kind).length);
  return votes.indexOf(Math.max(...votes));
}

/** The middle of a band in Hz, on Slaney's mel scale. @param {number} band */
function hertz(band) {
  const [low, high] = [0.75, 15 + (27 * Math.log(8)) / Math.log(6.4)];
  const mel = low + ((high - low) * (band + 1)) / (MELS + 1);
  return mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp((Math.log(6.4) * (mel - 15)) / 27);
}

/** @param {State} s */
function readState(s) {
  const values = between(s, [s.x, s.y]);
  const spectrum = values.slice(0, MELS);
  const level_db = Math.max(...spectrum);
  return {
    spectrum,
    level_db,
    loudest_hz: hertz(spectrum.indexOf(level_db)),
    voiced: values[MELS + ORDER + 1],
    weights: filterOf(values).weights,
    size: filterOf(values).size,
    around: CLASSES[around(s)][0],
  };
}

// --- what is drawn: one string of SVG

/** Where the pictures lie. @param {number} width */
function layout(width) {
  const wide = isWide(width);
  const side = wide ? Math.min(SIDE, (width - MARGIN - LEFT - COLUMN) / 2) : width - LEFT - MARGIN;
  const beside = wide ? LEFT + side + COLUMN : LEFT;
  const first = wide ? HEAD : HEAD + side + LEGEND;
  const strip = first + SPECTRUM + GAP;
  return { wide, side, beside, first, strip, across: width - MARGIN - beside };
}

/** The sentence, as it comes back from its path. */
const bitmap = remembered(
  (/** @type {State} */ s) => `${s.spectra.length} ${s.path}`,
  (s) => {
    const frames = chart(s).path.map((place) => between(s, place).slice(0, MELS));
    const loudest = frames.flat().reduce((a, b) => Math.max(a, b), FLOOR + 1);
    const levels = frames
      .flat()
      .map((v) => Math.round((255 * (Math.max(FLOOR, Math.min(loudest, v)) - FLOOR)) / (loudest - FLOOR)));
    return spectrogramBmp(levels, frames.length, 8);
  },
);

/** @param {State} s @param {number} width */
function drawMap(s, width) {
  const { side } = layout(width);
  const { points, path: walk } = chart(s);
  /** @param {number} v */
  const x = (v) => tidy(LEFT + ((v + EDGE) / (2 * EDGE)) * side);
  /** @param {number} v */
  const y = (v) => tidy(HEAD + ((EDGE - v) / (2 * EDGE)) * side);
  let out = rect('style="fill:none;stroke:var(--cc-grid)"', LEFT, HEAD, side, side);
  out += path("cc-tick", `M${x(0)} ${HEAD}v${tidy(side)}M${LEFT} ${y(0)}h${tidy(side)}`, 'opacity=".35"');
  CLASSES.forEach(([_, color], kind) => {
    const dots = points.filter((point) => point[2] === kind).map(([a, b]) => `M${x(a)} ${y(b)}h0`);
    out += styled(`stroke:var(--cc-${color});stroke-width:5;stroke-linecap:round;opacity:.8`, dots.join(""));
  });
  const line = walk.map(([a, b]) => `${x(a)} ${y(b)}`).join("L");
  if (line)
    out += styled("fill:none;stroke:var(--cc-ink);stroke-width:1;opacity:.55;stroke-linejoin:round", `M${line}`);
  out += styled("stroke:var(--cc-paper);stroke-width:17;stroke-linecap:round", `M${x(s.x)} ${y(s.y)}h0`);
  out += styled("stroke:var(--cc-present);stroke-width:13;stroke-linecap:round", `M${x(s.x)} ${y(s.y)}h0`);
  for (const v of [-EDGE, 0, EDGE]) {
    out += text("cc-digits cc-quiet", +x(v), HEAD + side + 18, count(v), "middle");
    out += text("cc-digits cc-quiet", LEFT - 8, +y(v) + 4, count(v), "end");
  }
  out += titleOver(LEFT, HEAD - 10, isWide(width) ? "first number across, second number up" : "two numbers");
  let at = LEFT;
  let low = HEAD + side + 44;
  for (const [name, color] of CLASSES) {
    const long = 24 + 7 * (name.length + 1);
    if (at + long > LEFT + side + 10) [at, low] = [LEFT, low + 20];
    out += styled(`stroke:var(--cc-${color});stroke-width:9;stroke-linecap:round`, `M${tidy(at + 5)} ${low - 4}h0`);
    out += text("", at + 14, low, name === "silence" ? name : `${name}s`);
    at += long;
  }
  return out;
}

/** @param {State} s @param {number} width */
function drawSpectrum(s, width) {
  const { beside, first, across } = layout(width);
  const bottom = first + SPECTRUM;
  /** @param {number} band */
  const x = (band) => tidy(beside + (across * (band + 0.5)) / MELS);
  /** @param {number} db */
  const y = (db) =>
    tidy(
      bottom -
        (SPECTRUM * (Math.max(SPECTRUM_LOW, Math.min(SPECTRUM_HIGH, db)) - SPECTRUM_LOW)) /
          (SPECTRUM_HIGH - SPECTRUM_LOW),
    );
  const line = readState(s)
    .spectrum.map((db, band) => `${x(band)} ${y(db)}`)
    .join("L");
  let out = path("cc-tick", `M${beside} ${tidy(bottom)}h${tidy(across)}`);
  for (const db of [-80, -40, 0]) {
    out += path("cc-tick", `M${beside} ${y(db)}h${tidy(across)}`, 'opacity=".35"');
    out += text("cc-digits cc-quiet", beside - 8, +y(db) + 4, `${count(db)}${db ? "" : " dB"}`, "end");
  }
  out += styled("fill:none;stroke:var(--cc-present);stroke-width:2.5;stroke-linejoin:round", `M${line}`);
  out += titleOver(beside, first - 10, "the frame that they stand for");
  const middle = beside + across * 0.32;
  out += text("cc-quiet", beside, bottom + 18, "50 Hz") + text("cc-quiet", middle, bottom + 18, "1 kHz", "middle");
  return out + text("cc-quiet", beside + across, bottom + 18, "8 kHz", "end");
}

/** @param {State} s @param {number} width */
function drawStrip(s, width) {
  const { beside, strip, across } = layout(width);
  const walk = chart(s).path;
  if (!walk.length) return "";
  const dx = across / walk.length;
  let out = image(beside, strip, across, STRIP, bitmap(s));
  out += titleOver(beside, strip - 10, "the sentence, said in two numbers");
  out += text("cc-quiet", beside - 8, strip + 12, "8 kHz", "end");
  out += text("cc-quiet", beside - 8, strip + STRIP - 2, "50 Hz", "end");
  const here = walk[s.step];
  if (here && here[0] === s.x && here[1] === s.y)
    for (const look of ["stroke:#15181d;stroke-width:5", "stroke:#72f2b2;stroke-width:2"])
      out += styled(look, `M${tidy(beside + (s.step + 0.5) * dx)} ${strip}v${STRIP}`);
  return out + secondsAxis(walk.length, beside, dx, strip + STRIP, FRAMES_A_SECOND);
}

/** What a place in the picture means. @param {State} s @param {number} px @param {number} py @param {number} width */
function placeAt(s, px, py, width) {
  const { side, beside, strip, across } = layout(width);
  const walk = chart(s).path;
  if (px >= LEFT - 12 && px <= LEFT + side + 12 && py >= HEAD - 12 && py <= HEAD + side + 12)
    return { x: ((px - LEFT) / side) * 2 * EDGE - EDGE, y: EDGE - ((py - HEAD) / side) * 2 * EDGE };
  if (walk.length && px >= beside && py >= strip - 8 && py <= strip + STRIP + 8)
    return onWalk(s, Math.floor((walk.length * (px - beside)) / across));
  return undefined;
}

/** The changes that lead to a frame of the sentence. @param {State} s @param {number} step */
function onWalk(s, step) {
  const walk = chart(s).path;
  step = Math.max(0, Math.min(walk.length - 1, step));
  return walk.length ? { step, x: walk[step][0], y: walk[step][1] } : {};
}

// --- what is said

/** @param {number} v */
const plain = (v) =>
  v
    .toFixed(1)
    .replace(/^-(?=0\.0$)/, "")
    .replace("-", "−");

/** @param {number} hz */
const rounded = (hz) => `${count(hz < 1000 ? Math.round(hz / 10) * 10 : Math.round(hz / 100) * 100)} Hz`;

/** @param {State} s */
function sentence(s) {
  const { loudest_hz, voiced, around } = readState(s);
  const most = around === "silence" ? "silence" : `${around}s`;
  return (
    `${plain(s.x)} and ${plain(s.y)} stand for a frame that is loudest at ${rounded(loudest_hz)}. Most of the ` +
    `training frames around are ${most}; ${Math.round(100 * voiced)} % are voiced.`
  );
}

/** @param {State} s */
function readouts(s) {
  const { loudest_hz, voiced, around } = readState(s);
  const percent = Math.round(100 * voiced);
  return [
    { key: "around", label: "Around it", value: around, text: around === "silence" ? around : `${around}s` },
    { key: "loudest", label: "Loudest at", value: loudest_hz, text: rounded(loudest_hz) },
    { key: "voiced", label: "Voiced around it", value: percent, text: `${percent} %` },
  ];
}

// --- what is heard, for as long as the reader wants it

const AHEAD = 0.12;
const EVERY_MS = 30;
const FADE = 0.03;

/** Buttons that speak at the point, and on the sentence's path. @type {Control<State>} */
const sound = {
  key: "sound",
  build({ state, keep }) {
    /** @typedef {ReturnType<typeof setInterval>} Timer */
    /** @type {{ context: AudioContext, gain: GainNode, timer: Timer, walking: boolean } | undefined} */
    let on;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const words = () => {
      hold.textContent = on && !on.walking ? "Stop" : "Listen here";
      walk.textContent = on?.walking ? "Stop" : "Play the sentence";
    };
    const stop = () => {
      if (!on) return;
      const { context, gain, timer } = on;
      clearInterval(timer);
      gain.gain.setTargetAtTime(0, context.currentTime, FADE / 3);
      setTimeout(() => context.close(), 4000 * FADE);
      on = undefined;
      words();
    };
    /** @param {boolean} walking */
    const start = (walking) => {
      const context = new AudioContext({ sampleRate: RATE_HZ }),
        gain = context.createGain(),
        next = speaker(),
        frames = chart(state()).path;
      gain.connect(context.destination);
      let hop = 0,
        begun = context.currentTime + AHEAD;
      /** @type {Place | undefined} */
      let put;
      const pump = () => {
        if (!hold.isConnected) return stop();
        if (begun + hop / FRAMES_A_SECOND < context.currentTime) begun = context.currentTime - hop / FRAMES_A_SECOND;
        const s = state();
        if (on?.walking && put && (put[0] !== s.x || put[1] !== s.y)) {
          on.walking = false; // the reader has taken the point
          words();
        }
        while (begun + hop / FRAMES_A_SECOND < context.currentTime + AHEAD) {
          if (on?.walking && hop >= frames.length) break;
          const samples = next(s, on?.walking ? frames[hop] : [s.x, s.y]);
          const buffer = context.createBuffer(1, HOP, RATE_HZ),
            node = context.createBufferSource();
          buffer.copyToChannel(new Float32Array(samples), 0);
          node.buffer = buffer;
          node.connect(gain);
          node.start(begun + hop / FRAMES_A_SECOND);
          hop += 1;
        }
        if (!on?.walking) return;
        const heard = Math.floor((context.currentTime - begun) * FRAMES_A_SECOND);
        if (heard >= frames.length) return stop();
        if (heard < 0 || still) return;
        keep(onWalk(s, heard));
        put = frames[heard];
      };
      on = { context, gain, timer: setInterval(pump, EVERY_MS), walking };
      pump();
      words();
    };
    /** @param {boolean} walking */
    const press = (walking) => {
      const again = on?.walking === walking;
      stop();
      if (!again) start(walking);
    };
    /** @param {string} key @param {boolean} walking */
    const button = (key, walking) => make("button", { type: "button", "data-key": key, onclick: () => press(walking) });
    const hold = button("hold", false),
      walk = button("walk", true);
    words();
    return make("div", { class: "cc-buttons" }, hold, walk);
  },
};

/** @type {Declaration<State>} */
const declaration = {
  traits: ["x", "y", "step", "pitch", "source", "spectra", "filters", "voiced", "points", "path"],
  settled(s) {
    /** @param {number} v */
    const inside = (v) => Math.round(FINE * Math.max(-EDGE, Math.min(EDGE, v))) / FINE || 0;
    [s.x, s.y] = [inside(s.x), inside(s.y)];
    s.step = Math.max(0, Math.min(chart(s).path.length - 1, Math.round(s.step) || 0));
    s.pitch = Math.max(80, Math.min(300, Math.round(s.pitch / 10) * 10 || 120));
    if (!["around", "voice", "whisper"].includes(s.source)) s.source = "around";
    return s;
  },
  read: readState,
  picture: (s, width) => drawMap(s, width) + drawSpectrum(s, width) + drawStrip(s, width),
  height: (_, width) => Math.max(HEAD + layout(width).side + LEGEND - 24, layout(width).strip + STRIP + 30),
  sentence,
  readouts,
  controls: () => {
    const tenths = upTo(-10 * EDGE, 10 * EDGE).map((v) => v / 10);
    return [
      sound,
      slider("x", "First number", tenths, plain),
      slider("y", "Second number", tenths, plain),
      choice("source", "Source", [
        ["around", "auto"],
        ["voice", "pulses"],
        ["whisper", "noise"],
      ]),
      slider(
        "pitch",
        "Pulses",
        upTo(80, 300, 10),
        (hz) => `${hz} Hz`,
        (s) => s.source !== "whisper",
      ),
    ];
  },
  range: (s) => [0, s.step, Math.max(0, chart(s).path.length - 1)],
  move: (place, s) => onWalk(s, place),
  press(s, _, far) {
    const by = far ? 0.5 : 0.1;
    return {
      ArrowLeft: { x: s.x - by },
      ArrowRight: { x: s.x + by },
      ArrowDown: { y: s.y - by },
      ArrowUp: { y: s.y + by },
    };
  },
  at: placeAt,
  handles: (_, width) => {
    const { side, beside, strip, across } = layout(width);
    const look = 'fill="transparent" style="touch-action:none"';
    return rect(look, LEFT, HEAD, side, side) + rect(look, beside, strip, across, STRIP);
  },
};

export default explorer(declaration);
