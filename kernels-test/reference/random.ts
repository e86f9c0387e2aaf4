/** Uniform numbers in [0, 1), the same for the same seed (Tommy Ettinger's mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `n` normally distributed values of mean 0 (Box and Muller 1958), rounded to float32. */
export function normals(seed: number, n: number, standardDeviation = 1): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: n }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random())); // 1 - u is never 0
    return standardDeviation * radius * Math.cos(2 * Math.PI * random());
  });
}
