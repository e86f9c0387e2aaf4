import { describe, expect, it } from 'vitest';
import { Random } from './sampler-random.ts';

/** xoshiro128** 1.1, word for word from the authors' C, in exact integers. */
function* xoshiro(state: bigint[]): Generator<number> {
  const mask = 0xffff_ffffn;
  const rotl = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask;
  const s = [...state] as [bigint, bigint, bigint, bigint];
  for (;;) {
    yield Number((rotl((s[1] * 5n) & mask, 7n) * 9n) & mask);
    const t = (s[1] << 9n) & mask;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11n);
  }
}

/** splitmix32 in exact integers. */
function splitmix(seed: bigint, count: number): bigint[] {
  const mask = 0xffff_ffffn;
  return Array.from({ length: count }, (_, i) => {
    let z = (seed + BigInt(i + 1) * 0x9e3779b9n) & mask;
    z = ((z ^ (z >> 16n)) * 0x21f0aaadn) & mask;
    z = ((z ^ (z >> 15n)) * 0x735a2d97n) & mask;
    return z ^ (z >> 15n);
  });
}

function take<T>(source: Iterator<T>, count: number): T[] {
  return Array.from({ length: count }, () => source.next().value as T);
}

describe('Random', () => {
  it('is compared with a reference that gives the published numbers', () => {
    // State 1, 2, 3, 4: the test vector of Rust's rand_xoshiro, made with the authors' C.
    expect(take(xoshiro([1n, 2n, 3n, 4n]), 10)).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
      4258142804,
    ]);
  });

  it.each([0, 1, 42, 2 ** 32 + 7, Number.MAX_SAFE_INTEGER, -1, -(2 ** 40)])(
    'gives xoshiro128** seeded by splitmix32 for seed %d',
    (seed) => {
      const whole = BigInt.asUintN(64, BigInt(seed));
      const [a, c] = splitmix(whole & 0xffff_ffffn, 2);
      const [b, d] = splitmix((whole >> 32n) ^ 0x6d6f7767n, 2);
      const random = new Random(seed);
      const numbers = Array.from({ length: 1000 }, () => random.nextUint32());
      expect(numbers).toEqual(take(xoshiro([a!, b!, c!, d!]), 1000));
    },
  );

  it('never repeats a sequence for another seed', () => {
    const seeds = [0, 1, 2, 3, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 33];
    const firsts = seeds.map((seed) => {
      const random = new Random(seed);
      return Array.from({ length: 4 }, () => random.nextUint32()).join();
    });
    expect(new Set(firsts).size).toBe(seeds.length);
  });

  it('gives doubles in [0, 1) that are uniform', () => {
    const random = new Random(7);
    const bins = new Array<number>(64).fill(0);
    const n = 64_000;
    for (let i = 0; i < n; i++) {
      const x = random.next();
      if (!(x >= 0 && x < 1)) expect.fail(`${x} is outside of [0, 1)`);
      bins[Math.floor(x * 64)]!++;
    }
    const chi = bins.reduce((sum, k) => sum + (k - n / 64) ** 2 / (n / 64), 0);
    // 63 degrees of freedom: 0.999 quantile.
    expect(chi).toBeLessThan(103.4);
  });
});
