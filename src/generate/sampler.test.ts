import { describe, expect, it } from 'vitest';
import { MowgliError } from '../errors.ts';
import { adjusted, resolveSampling, Sampler, type SamplerNeeds, TokenHistory } from './sampler.ts';
import { Random } from './sampler-random.ts';
import type { SamplingOptions } from './types.ts';

function make(options: SamplingOptions, vocabSize: number): Sampler {
  return new Sampler(resolveSampling({ seed: 1, ...options }), vocabSize);
}

function gaussian(random: Random, n: number, scale = 2): Float32Array {
  return Float32Array.from({ length: n }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
    return scale * radius * Math.cos(2 * Math.PI * random.next());
  });
}

/** The distribution after all steps, in the plainest way and in doubles. */
function reference(
  logits: Float32Array,
  options: SamplingOptions,
  prompt: readonly number[] = [],
  output: readonly number[] = [],
): number[] {
  const o = resolveSampling({ seed: 0, ...options });
  let x = Array.from(logits);
  x = x.map((l, id) => {
    const seen = prompt.includes(id) || output.includes(id);
    return seen ? (l > 0 ? l / o.repetitionPenalty : l * o.repetitionPenalty) : l;
  });
  x = x.map((l, id) => {
    const count = output.filter((other) => other === id).length;
    const presence = count > 0 ? o.presencePenalty : 0;
    return l + (o.logitBias.get(id) ?? 0) - presence - o.frequencyPenalty * count;
  });
  if (o.temperature === 0) {
    const best = x.indexOf(Math.max(...x));
    return x.map((_, id) => (id === best ? 1 : 0));
  }
  let p = softmax(x.map((l) => l / o.temperature));
  const order = [...p.keys()].sort((a, b) => x[b]! - x[a]! || a - b);
  const keep = (ids: readonly number[]) => {
    const total = ids.reduce((sum, id) => sum + p[id]!, 0);
    p = p.map((v, id) => (ids.includes(id) ? v / total : 0));
  };
  if (o.topK > 0) keep(order.slice(0, o.topK));
  if (o.topP < 1) {
    let sum = 0;
    const kept: number[] = [];
    for (const id of order) {
      kept.push(id);
      sum += p[id]!;
      if (sum >= o.topP) break;
    }
    keep(kept);
  }
  if (o.minP > 0) keep(order.filter((id) => p[id]! >= o.minP * p[order[0]!]!));
  return p;
}

function softmax(x: readonly number[]): number[] {
  const max = Math.max(...x);
  const e = x.map((v) => Math.exp(v - max));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
}

/**
 * Pearson's statistic as a normal deviate (Wilson and Hilferty). Bins with less than 5 expected
 * draws are put together.
 */
function deviate(counts: readonly number[], p: readonly number[], draws: number): number {
  let chi = 0;
  let bins = 0;
  let restCount = 0;
  let restP = 0;
  for (const [id, probability] of p.entries()) {
    if (probability * draws < 5) {
      restCount += counts[id]!;
      restP += probability;
      continue;
    }
    chi += (counts[id]! - probability * draws) ** 2 / (probability * draws);
    bins++;
  }
  if (restP * draws >= 1) {
    chi += (restCount - restP * draws) ** 2 / (restP * draws);
    bins++;
  }
  const k = bins - 1;
  if (k < 1) return 0;
  return ((chi / k) ** (1 / 3) - (1 - 2 / (9 * k))) / Math.sqrt(2 / (9 * k));
}

const PROMPT = [0, 3, 3, 9, 14];
const OUTPUT = [2, 2, 2, 9, 17, 4];

function history(): TokenHistory {
  const result = new TokenHistory(PROMPT);
  for (const id of OUTPUT) result.push(id);
  return result;
}

/** The GPU's half, imitated: sparse adjustments, then the k highest logits. */
function gpuCandidates(sampler: Sampler, logits: Float32Array, past: TokenHistory, k: number) {
  const x = Float32Array.from(logits);
  for (const change of sampler.adjustments(past)) x[change.id] = adjusted(x[change.id]!, change);
  const ids = [...x.keys()].sort((a, b) => x[b]! - x[a]! || a - b).slice(0, k);
  // A GPU's top-k is in no particular order.
  ids.reverse();
  return { ids: Uint32Array.from(ids), logits: Float32Array.from(ids, (id) => x[id]!) };
}

const SETTINGS: [string, SamplingOptions][] = [
  ['nothing', {}],
  ['temperature 0.5', { temperature: 0.5 }],
  ['temperature 3', { temperature: 3 }],
  ['top-k 5', { topK: 5 }],
  ['top-k beyond the vocabulary', { topK: 1000 }],
  ['top-p 0.5', { topP: 0.5 }],
  ['top-p 0.95', { topP: 0.95 }],
  ['top-p 0.999999', { topP: 0.999999 }],
  ['min-p 0.1', { minP: 0.1 }],
  ['min-p 1', { minP: 1 }],
  ['top-p and min-p', { topP: 0.9, minP: 0.05 }],
  ['Qwen3-Coder', { temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05 }],
  ['all filters', { temperature: 1.3, topK: 12, topP: 0.9, minP: 0.08 }],
  ['repetition', { repetitionPenalty: 1.8 }],
  ['repetition below 1', { repetitionPenalty: 0.6 }],
  ['presence', { presencePenalty: 1.5 }],
  ['frequency', { frequencyPenalty: 0.7 }],
  ['negative penalties', { presencePenalty: -1, frequencyPenalty: -0.5 }],
  ['bias', { logitBias: { 5: 4, 6: -Infinity, 0: -2 } }],
  [
    'everything',
    {
      temperature: 0.9,
      topK: 15,
      topP: 0.92,
      minP: 0.02,
      repetitionPenalty: 1.3,
      presencePenalty: 0.4,
      frequencyPenalty: 0.3,
      logitBias: { 1: 1.5, 2: -Infinity },
    },
  ],
];

describe('Sampler', () => {
  it.each(SETTINGS)('draws from the reference distribution: %s', (_, options) => {
    const n = 24;
    const logits = gaussian(new Random(11), n);
    const expected = reference(logits, options, PROMPT, OUTPUT);
    const sampler = make(options, n);
    const past = history();
    const draws = 20_000;
    const counts = new Array<number>(n).fill(0);
    for (let i = 0; i < draws; i++) counts[sampler.sample(logits, past)]!++;
    // Nothing that a filter removes is ever drawn.
    expect(counts.map((count, id) => expected[id]! === 0 && count > 0)).not.toContain(true);
    // One in 30,000 by chance, and the seed is fixed.
    expect(deviate(counts, expected, draws)).toBeLessThan(4);
  });

  it('keeps exactly the reference’s tokens, for random settings', () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new Random(seed);
      const n = 2 + Math.floor(random.next() * 60);
      // Coarse logits make ties common.
      const logits = gaussian(random, n).map((x) => (seed % 2 ? Math.round(x) : x));
      const options: SamplingOptions = {
        temperature: 0.3 + random.next(),
        topK: random.next() < 0.5 ? 0 : 1 + Math.floor(random.next() * n),
        topP: random.next() < 0.3 ? 1 : random.next(),
        minP: random.next() < 0.5 ? 0 : random.next() * 0.5,
        seed,
      };
      const expected = reference(logits, options);
      const sampler = make(options, n);
      const past = new TokenHistory();
      for (let i = 0; i < 200; i++) {
        const id = sampler.sample(logits, past);
        expect(expected[id], `seed ${seed}: token ${id}`).toBeGreaterThan(0);
      }
    }
  });

  it('gives the same sequence for the same seed, and another for another', () => {
    const logits = gaussian(new Random(3), 500);
    const run = (seed: number) => {
      const sampler = make({ seed }, 500);
      return Array.from({ length: 50 }, () => sampler.sample(logits, new TokenHistory())).join();
    };
    expect(run(5)).toBe(run(5));
    expect(run(5)).not.toBe(run(6));
  });

  it('draws the same from the GPU’s candidates as from all logits', () => {
    let compared = 0;
    for (const [name, options] of SETTINGS) {
      for (const topK of [options.topK ?? 0, 1, 7, 20, 64]) {
        const all = make({ ...options, topK, seed: 9 }, 200);
        const few = make({ ...options, topK, seed: 9 }, 200);
        if (few.needs.kind === 'logits') continue;
        const past = new TokenHistory([1, 2, 3]);
        for (let step = 0; step < 40; step++) {
          // Rounding makes ties, also at the edge of the top-k.
          const logits = gaussian(new Random(step), 200).map((x) => Math.round(x * 4) / 4);
          const k = few.needs.kind === 'candidates' ? few.needs.k : 1;
          const { ids, logits: found } = gpuCandidates(few, logits, past, k);
          const id = all.sample(logits, past);
          expect(few.sampleCandidates(ids, found), `${name}, top-k ${topK}, ${step}`).toBe(id);
          past.push(id);
          compared++;
        }
      }
    }
    expect(compared).toBeGreaterThan(1000);
  });

  it('says what it needs', () => {
    const needs = (options: SamplingOptions): SamplerNeeds => make(options, 100).needs;
    expect(needs({ temperature: 0, repetitionPenalty: 1.1 })).toEqual({ kind: 'argmax' });
    expect(needs({ topK: 1 })).toEqual({ kind: 'argmax' });
    expect(needs({ topP: 0 })).toEqual({ kind: 'argmax' });
    expect(needs({ topK: 20, topP: 0.8 })).toEqual({ kind: 'candidates', k: 20 });
    expect(needs({ topK: 64 })).toEqual({ kind: 'candidates', k: 64 });
    expect(needs({ topK: 65 })).toEqual({ kind: 'logits' });
    expect(needs({ topP: 0.8 })).toEqual({ kind: 'logits' });
    expect(needs({})).toEqual({ kind: 'logits' });
    expect(make({}, 100).adjusts).toBe(false);
    expect(make({ frequencyPenalty: 0.1 }, 100).adjusts).toBe(true);
    expect(make({ logitBias: { 3: 1 } }, 100).adjusts).toBe(true);
  });

  describe('greedy', () => {
    it('takes the highest, and of equal ones the lowest id', () => {
      const sampler = make({ temperature: 0 }, 5);
      expect(sampler.sample(Float32Array.of(1, 3, 2, 3, 0), new TokenHistory())).toBe(1);
      expect(sampler.sampleCandidates([3, 1], [3, 3])).toBe(1);
      expect(sampler.sample(new Float32Array(5).fill(-7), new TokenHistory())).toBe(0);
    });

    it('takes penalties into account', () => {
      const sampler = make({ temperature: 0, repetitionPenalty: 2 }, 3);
      const logits = Float32Array.of(4, 3, 1);
      expect(sampler.sample(logits, new TokenHistory())).toBe(0);
      expect(sampler.sample(logits, new TokenHistory([0]))).toBe(1);
      expect(sampler.sample(logits, new TokenHistory([0, 1]))).toBe(0);
    });
  });

  describe('adjustments', () => {
    it('count the prompt for repetition only', () => {
      const options = { repetitionPenalty: 1.5, presencePenalty: 0.5, frequencyPenalty: 0.25 };
      const found = make({ ...options, logitBias: { 20: 3 } }, 24).adjustments(history());
      const byId = new Map(found.map((change) => [change.id, change]));
      expect([...byId.keys()].sort((a, b) => a - b)).toEqual([0, 2, 3, 4, 9, 14, 17, 20]);
      expect(found).toHaveLength(byId.size);
      expect(byId.get(0)).toEqual({ id: 0, repetition: 1.5, add: 0 });
      expect(byId.get(2)).toEqual({ id: 2, repetition: 1.5, add: -0.5 - 3 * 0.25 });
      expect(byId.get(9)).toEqual({ id: 9, repetition: 1.5, add: -0.5 - 0.25 });
      expect(byId.get(20)).toEqual({ id: 20, repetition: 1, add: 3 });
    });

    it('are few when few options are set', () => {
      expect(make({}, 24).adjustments(history())).toEqual([]);
      const ids = (options: SamplingOptions) =>
        make(options, 24)
          .adjustments(history())
          .map(({ id }) => id)
          .sort((a, b) => a - b);
      expect(ids({ presencePenalty: 1 })).toEqual([2, 4, 9, 17]);
      expect(ids({ logitBias: { 8: -Infinity } })).toEqual([8]);
    });

    it('leave out ids that are padding', () => {
      const past = new TokenHistory([5, 30]);
      expect(
        make({ repetitionPenalty: 1.2 }, 24)
          .adjustments(past)
          .map(({ id }) => id),
      ).toEqual([5]);
    });

    it('follow the sign of the logit, in float32', () => {
      const change = { id: 0, repetition: 1.1, add: 0.3 };
      const f = Math.fround;
      expect(adjusted(2, change)).toBe(f(f(2 / f(1.1)) + f(0.3)));
      expect(adjusted(-2, change)).toBe(f(f(-2 * f(1.1)) + f(0.3)));
      expect(adjusted(5, { id: 0, repetition: 1, add: -Infinity })).toBe(-Infinity);
    });

    it('do not touch the caller’s logits', () => {
      const logits = Float32Array.of(1, 2, 3);
      make({ repetitionPenalty: 2, logitBias: { 2: -Infinity } }, 3).sample(
        logits,
        new TokenHistory([0, 1]),
      );
      expect([...logits]).toEqual([1, 2, 3]);
    });
  });

  describe('what must never be drawn', () => {
    it('a padding row, however high', () => {
      for (const options of [{ temperature: 0 }, {}, { topK: 3 }, { topP: 0.9 }]) {
        const sampler = make(options, 3);
        const logits = Float32Array.of(-50, -51, -52, 1000, Number.NaN, Infinity);
        for (let i = 0; i < 50; i++) {
          expect(sampler.sample(logits, new TokenHistory())).toBeLessThan(3);
        }
        expect(sampler.sampleCandidates([3, 4, 1, 0xffffffff], [9, Number.NaN, -5, 0])).toBe(1);
      }
    });

    it('a padding row, when all tokens are -Infinity', () => {
      const sampler = make({}, 2);
      const logits = Float32Array.of(-Infinity, -Infinity, 5);
      expect(() => sampler.sample(logits, new TokenHistory())).toThrow(/-Infinity for every token/);
      expect(() => sampler.sampleCandidates([2], [5])).toThrow(MowgliError);
    });

    it('a forbidden token, even as the GPU’s largest negative number', () => {
      const sampler = make({ topK: 4, logitBias: { 1: -Infinity } }, 4);
      const lowest = -3.4028234663852886e38;
      for (let i = 0; i < 100; i++) {
        expect(sampler.sampleCandidates([1, 2], [lowest, lowest])).toBe(2);
        expect(sampler.sample(Float32Array.of(0, 99, 0, 0), new TokenHistory())).not.toBe(1);
      }
    });

    it('anything, when every token is forbidden', () => {
      const sampler = make({ logitBias: { 0: -Infinity, 1: -Infinity } }, 2);
      expect(() => sampler.sample(Float32Array.of(1, 2), new TokenHistory())).toThrow(
        /logitBias leaves no token/,
      );
    });

    it('a token of -Infinity among others', () => {
      const sampler = make({ temperature: 100 }, 3);
      for (let i = 0; i < 200; i++) {
        expect(sampler.sample(Float32Array.of(0, -Infinity, 0), new TokenHistory())).not.toBe(1);
      }
    });
  });

  it.each([Number.NaN, Infinity])('stops at a logit of %d', (broken) => {
    for (const options of [{ temperature: 0 }, {}, { topK: 2 }]) {
      const sampler = make(options, 3);
      let code: string | undefined;
      try {
        sampler.sample(Float32Array.of(1, broken, 2), new TokenHistory());
      } catch (error) {
        code = (error as MowgliError).code;
      }
      expect(code).toBe('GPU_ERROR');
      expect(() => sampler.sampleCandidates([0, 1], [1, broken])).toThrow(/token 1/);
    }
  });

  it('refuses too few logits and biases on no token', () => {
    expect(() => make({}, 9).sample(new Float32Array(8), new TokenHistory())).toThrow(
      /8 logits for a vocabulary of 9/,
    );
    expect(() => make({ logitBias: { 9: 1 } }, 9)).toThrow(/logitBias: 9 is not a token/);
  });

  it('stays finite at extreme temperatures', () => {
    const logits = Float32Array.of(-3e38, 3e38, 0, 1);
    for (const temperature of [5e-324, 1e-30, 1e30, Number.MAX_VALUE]) {
      const sampler = make({ temperature, topP: 0.99 }, 4);
      for (let i = 0; i < 20; i++) {
        const id = sampler.sample(logits, new TokenHistory());
        if (temperature < 1) expect(id).toBe(1);
      }
    }
  });
});
