// A spectrogram of 8-bit levels as a small picture, made where it is shown.

const ENERGY = [/*ENERGY*/];
const BANDS = 80;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The bytes of a base64 text. */
export function bytesOf(text) {
  const out = [];
  for (let i = 0; i + 3 < text.length; i += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => LETTERS.indexOf(text[i + k]));
    out.push((a << 2) | (b >> 4));
    if (c >= 0) out.push(((b & 15) << 4) | (c >> 2));
    if (d >= 0) out.push(((c & 3) << 6) | d);
  }
  return out;
}

let palette = null;

/** The energy map in 256 colours. */
export function shades() {
  if (palette) return palette;
  const corners = ENERGY.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  palette = Array.from({ length: 256 }, (_, i) => {
    const at = (i * 32) / 255, k = Math.min(31, Math.floor(at));
    return corners[k].map((a, c) => Math.floor(a + (corners[k + 1][c] - a) * (at - k) + 0.5));
  });
  return palette;
}

function base64(bytes) {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const group = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0), left = bytes.length - i;
    out += LETTERS[group >> 18] + LETTERS[(group >> 12) & 63] + (left > 1 ? LETTERS[(group >> 6) & 63] : "=") + (left > 2 ? LETTERS[group & 63] : "=");
  }
  return out;
}

/** 8-bit levels as the address of a bitmap that shows them in 2^bits bins. */
export function bitmap(levels, frames, bits) {
  const wide = Math.ceil(frames / 4) * 4, start = 54 + 4 * 256, shift = 8 - bits, bytes = [66, 77];
  const word = (...values) => { for (const v of values) bytes.push(v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >> 24) & 255); };
  word(start + wide * BANDS, 0, start, 40, frames, BANDS, 1 | (8 << 16), 0, wide * BANDS, 2835, 2835, 256, 256);
  for (const [red, green, blue] of shades()) bytes.push(blue, green, red, 0);
  for (let band = 0; band < BANDS; band++) for (let t = 0; t < wide; t++) {
    bytes.push(t < frames ? ((levels[t * BANDS + band] >> shift) << shift) + ((1 << shift) >> 1) : 0);
  }
  return "data:image/bmp;base64," + base64(bytes);
}
