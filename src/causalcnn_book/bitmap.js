// A spectrogram of 8-bit levels as a small picture, made where it is shown.

const BANDS = 80;
export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The bytes of a base64 text. @param {string} text */
export function bytesOf(text) {
  /** @type {number[]} */
  const out = [];
  for (let i = 0; i + 3 < text.length; i += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => LETTERS.indexOf(text[i + k]));
    out.push((a << 2) | (b >> 4));
    if (c >= 0) out.push(((b & 15) << 4) | (c >> 2));
    if (d >= 0) out.push(((c & 3) << 6) | d);
  }
  return out;
}

/** @type {string[]} */
const ENERGY = [/*ENERGY*/];

/** The energy map in the 33 colours that every figure carries: red, green, blue. */
export const COLOURS = ENERGY.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));

/** The energy map in 256 colours. */
const SHADES = Array.from({ length: 256 }, (_, i) => {
  const at = (i * 32) / 255,
    k = Math.min(31, Math.floor(at));
  return COLOURS[k].map((a, c) => Math.floor(a + (COLOURS[k + 1][c] - a) * (at - k) + 0.5));
});

/** @param {number[]} bytes */
function base64(bytes) {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const group = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0),
      left = bytes.length - i;
    out += LETTERS[group >> 18] + LETTERS[(group >> 12) & 63];
    out += (left > 1 ? LETTERS[(group >> 6) & 63] : "=") + (left > 2 ? LETTERS[group & 63] : "=");
  }
  return out;
}

/**
 * A bitmap as an address: `at(row, column)` is the number of a colour, rows go from the bottom up.
 * @param {number[][]} colours
 * @param {number} width
 * @param {number} height
 * @param {(row: number, column: number) => number} at
 */
export function encodeBmp(colours, width, height, at) {
  const wide = Math.ceil(width / 4) * 4,
    many = colours.length,
    start = 54 + 4 * many,
    bytes = [66, 77];
  /** @param {number[]} values */
  const word = (...values) => {
    for (const v of values) bytes.push(v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >> 24) & 255);
  };
  word(start + wide * height, 0, start, 40, width, height, 1 | (8 << 16), 0, wide * height, 2835, 2835, many, many);
  for (const [red, green, blue] of colours) bytes.push(blue, green, red, 0);
  for (let row = 0; row < height; row++) for (let i = 0; i < wide; i++) bytes.push(i < width ? at(row, i) : 0);
  return "data:image/bmp;base64," + base64(bytes);
}

/** 8-bit levels as the address of a bitmap that shows them in 2^bits bins. */
/** @param {number[]} levels @param {number} frames @param {number} bits */
export function spectrogramBmp(levels, frames, bits) {
  const shift = 8 - bits,
    half = (1 << shift) >> 1;
  return encodeBmp(SHADES, frames, BANDS, (band, t) => ((levels[t * BANDS + band] >> shift) << shift) + half);
}
