/**
 * The random numbers of synthetic weights: functions of a counter, so that any part can be made by
 * itself. All in 32-bit unsigned arithmetic.
 */

export const golden = 0x9e3779b9;

/** Chris Wellons' lowbias32, with a second key in the middle. */
export function mix(x: number, key = 0): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15) ^ key, 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** What makes one tensor's numbers differ from another's. */
export interface Keys {
  readonly k1: number;
  readonly k2: number;
}

/** From the seed and the tensor's name (FNV-1a of its UTF-8). */
export function tensorKeys(seed: number, name: string): Keys {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  const k1 = mix(hash ^ mix(seed + golden));
  return { k1, k2: mix(k1 + golden) };
}

/** What `mix` is given for the number `counter`, of up to 53 bits. */
export function counterWord(counter: number, { k1 }: Keys): number {
  return ((counter % 2 ** 32) + k1 + Math.imul(Math.floor(counter / 2 ** 32), golden)) | 0;
}

/** Distinct values of a tensor: as many as keep the table of a tensor in the first-level cache. */
export const levels = 4096;

/** Quantiles of the standard normal distribution, at the middles of equal shares; |z| <= 3.67. */
export const normalLevels = Float64Array.from({ length: levels }, (_, level) =>
  normalQuantile((level + 0.5) / levels),
);

/** Newton's method on the distribution function, from the centre outwards; for p not near 0 or 1. */
function normalQuantile(p: number): number {
  if (p < 0.5) return -normalQuantile(1 - p); // exactly symmetric
  let z = 0;
  for (let step = 0; step < 100; step++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    const change = (normalDistribution(z, density) - p) / density;
    z -= change;
    if (Math.abs(change) < 1e-9) break; // it converges quadratically: the next change is nothing
  }
  return z;
}

/** 1/2 + density * (z + z^3/3 + z^5/(3 5) + ...), a series that converges fast for |z| < 5. */
function normalDistribution(z: number, density: number): number {
  let term = z;
  let sum = z;
  for (let odd = 3; term > sum * 1e-17; odd += 2) {
    term *= (z * z) / odd;
    sum += term;
  }
  return 0.5 + density * sum;
}
