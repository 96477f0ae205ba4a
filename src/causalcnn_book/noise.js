// Noise that is the same in every page, and in Python.

/** Noise of mean 0 and variance 1: a hash of the cell. @param {number} cell */
export function noise(cell) {
  let n = Math.imul(cell + 1, 0x9e3779b1);
  for (const [shift, factor] of [
    [16, 0x85ebca6b],
    [13, 0xc2b2ae35],
    [16, 1],
  ])
    n = Math.imul(n ^ (n >>> shift), factor);
  return (2 * ((n >>> 0) / 2 ** 32) - 1) * Math.sqrt(3);
}
