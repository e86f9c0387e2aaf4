/**
 * The sampler's random numbers: xoshiro128** 1.1 (Blackman and Vigna,
 * https://prng.di.unimi.it/xoshiro128starstar.c), its state filled by splitmix32 from the seed. The
 * same seed gives the same numbers on every machine and in every browser, which `Math.random` does
 * not.
 */
export class Random {
  readonly #state: Uint32Array;

  /** @param seed Any integer that a number holds exactly, negative ones included. */
  constructor(seed: number) {
    // Both halves of the 53 bits count, so that no two seeds share a sequence.
    const low = seed >>> 0;
    const high = Math.floor(seed / 2 ** 32) >>> 0;
    const a = splitmix32(low);
    const b = splitmix32(high ^ 0x6d6f7767);
    this.#state = Uint32Array.of(a(), b(), a(), b());
    // The one state that xoshiro can never leave.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** A uniform integer of 32 bits. */
  nextUint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** A uniform number in [0, 1) with all 53 bits of a double's mantissa random. */
  next(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** splitmix32: turns a counter into well mixed words, so that near seeds give unrelated states. */
function splitmix32(seed: number): () => number {
  let counter = seed;
  return () => {
    counter = (counter + 0x9e3779b9) | 0;
    let z = counter ^ (counter >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}
