import { describe, expect, test } from 'vitest';
import {
  addRmsNorm,
  applyRope,
  argmax,
  attention,
  dot,
  embedding,
  matmul,
  mlp,
  moe,
  rmsNorm,
  ropeTables,
  routerTopK,
  swiglu,
  topK,
} from './ops.ts';
import { normals } from './random.ts';

const f32 = (...values: number[]) => Float32Array.from(values);

describe('linear layers', () => {
  test('embedding takes rows and refuses ids without one', () => {
    expect([...embedding(f32(1, 2, 3, 4, 5, 6), [2, 0], 2)]).toEqual([5, 6, 1, 2]);
    expect(() => embedding(f32(1, 2), [1], 2)).toThrow('token 1 is outside the table of 1 rows');
  });

  test('matmul multiplies every row of x by every row of w', () => {
    const w = f32(1, 2, 3, 4, 5, 6); // [2, 3]
    const x = f32(1, 0, -1, 2, 2, 2); // [2, 3]
    expect([...matmul(w, x, { m: 2, n: 2, k: 3 })]).toEqual([-2, -2, 12, 30]);
    expect(() => matmul(w, x, { m: 2, n: 3, k: 3 })).toThrow('w has 6 elements');
  });

  test.each([0, 1, 3, 4, 5, 11])('dot sums %i products', (n) => {
    const a = Float64Array.from({ length: n + 2 }, (_, i) => i);
    expect(dot(a, 1, a, 2, n)).toBe(
      Array.from({ length: n }, (_, i) => (i + 1) * (i + 2)).reduce((x, y) => x + y, 0),
    );
  });
});

describe('rmsNorm', () => {
  test('divides by the root of the mean square', () => {
    const rms = Math.sqrt((9 + 16) / 2 + 0.5);
    const y = rmsNorm(f32(3, 4, 0, 0), f32(1, 2), 0.5);
    expect([...y]).toEqual([3 * (1 / rms), 4 * (1 / rms) * 2, 0, 0]);
  });

  test('addRmsNorm returns the sum and its norm', () => {
    const { sum, normed } = addRmsNorm(f32(1, 2), f32(2, 2), f32(1, 1), 0);
    expect([...sum]).toEqual([3, 4]);
    expect(normed).toEqual(rmsNorm(f32(3, 4), f32(1, 1), 0));
  });
});

describe('rope', () => {
  const coder = { headDim: 128, ropeTheta: 1e7 };
  const yarn = {
    factor: 4,
    originalMaxPositionEmbeddings: 262144,
    attentionFactor: 0.1 * Math.log(4) + 1,
    betaFast: 32,
    betaSlow: 1,
  };

  // From ROPE_INIT_FUNCTIONS['yarn'] of transformers 5.18, which computes in float32.
  test.each([
    {
      truncate: true,
      frequencies: {
        1: 0.7773650288581848,
        29: 0.0006395118543878198,
        34: 0.00013376670540310442,
        41: 1.1473423910501879e-5,
        42: 7.644889592484105e-6,
        63: 3.21599245012294e-8,
      },
    },
    {
      truncate: false,
      frequencies: {
        1: 0.7773650288581848,
        29: 0.000654163071885705,
        34: 0.00013362578465603292,
        41: 1.0416554687253665e-5,
        42: 6.708633009111509e-6,
        63: 3.21599245012294e-8,
      },
    },
  ])('YaRN frequencies of Qwen3-Coder, truncate $truncate', ({ truncate, frequencies }) => {
    const tables = ropeTables({ ...coder, yarn: { ...yarn, truncate } });
    expect(tables.attentionFactor).toBe(1.138629436111989);
    for (const [i, expected] of Object.entries(frequencies)) {
      // A few roundings to float32, the largest in the power.
      expect(Math.abs(tables.inverseFrequencies[Number(i)] / expected - 1)).toBeLessThan(2 ** -20);
    }
  });

  test('scores depend on the distance of two positions only', () => {
    const tables = ropeTables({ ...coder, yarn: undefined });
    const rotated = (seed: number, start: number) =>
      applyRope(normals(seed, 128), tables, { heads: 1, headDim: 128, start });
    const score = (p: number, q: number) => dot(rotated(1, p), 0, rotated(2, q), 0, 128);
    expect(score(1007, 1000)).toBeCloseTo(score(7, 0), 9);
    expect(score(8, 0)).not.toBeCloseTo(score(7, 0), 1);
  });

  test('turns the pair (i, i + half) anticlockwise, each token by its position', () => {
    const tables = { inverseFrequencies: Float64Array.of(Math.PI / 2, 0), attentionFactor: 2 };
    const x = f32(1, 3, 0, 4, 1, 3, 0, 4); // two tokens, one head of 4
    const y = applyRope(x, tables, { heads: 1, headDim: 4, start: 1 });
    const expected = [0, 6, 2, 8, -2, 6, 0, 8];
    for (let i = 0; i < 8; i++) expect(y[i]).toBeCloseTo(expected[i], 12);
  });
});

describe('attention', () => {
  const shape = { heads: 4, kvHeads: 2, headDim: 8, start: 0 };
  const tokens = 5;
  const q = normals(1, tokens * 4 * 8);
  const k = normals(2, tokens * 2 * 8);
  const v = normals(3, tokens * 2 * 8);
  const out = attention(q, k, v, shape);

  test('the first token sees only itself; query heads share their group', () => {
    const [v0, v1] = [[...v.subarray(0, 8)], [...v.subarray(8, 16)]];
    expect([...out.subarray(0, 32)]).toEqual([...v0, ...v0, ...v1, ...v1]);
  });

  test('equal keys give the mean of the values seen', () => {
    const y = attention(q, new Float32Array(k.length), v, shape);
    for (let i = 0; i < 8; i++) {
      const mean = (v[i] + v[16 + i] + v[32 + i]) / 3;
      expect(y[2 * 32 + i]).toBeCloseTo(mean, 12);
    }
  });

  test('later keys are not seen, earlier ones are there from a start position', () => {
    const last = attention(q.subarray(-64), k, v, { ...shape, start: 3 });
    expect(last).toEqual(out.slice(-64));
    const cut = attention(q.subarray(0, 96), k.subarray(0, 48), v.subarray(0, 48), shape);
    expect(cut).toEqual(out.slice(0, 96));
    expect(() => attention(q, k, v, { ...shape, start: 1 })).toThrow('k holds 5 positions');
  });

  test('scores are scaled by the root of the head size', () => {
    const one = { heads: 1, kvHeads: 1, headDim: 4, start: 1 };
    const y = attention(
      f32(2, 0, 0, 0),
      f32(0, 0, 0, 0, 3, 0, 0, 0),
      f32(0, 0, 0, 0, 1, 1, 1, 1),
      one,
    );
    expect(y[0]).toBeCloseTo(1 / (1 + Math.exp(-3)), 15);
  });
});

describe('mixture of experts', () => {
  test('swiglu', () => {
    const y = swiglu(f32(0, 1, -2), f32(5, 3, 1));
    expect([...y]).toEqual([0, (1 / (1 + Math.exp(-1))) * 3, -2 / (1 + Math.exp(2))]);
  });

  test('the router breaks ties towards the lower index', () => {
    const routing = routerTopK(f32(1, 3, 3, 1, 1, 0, 0, 0, 0, 0), {
      experts: 5,
      k: 3,
      normTopkProb: true,
    });
    expect([...routing.experts]).toEqual([1, 2, 0, 0, 1, 2]);
    for (let i = 3; i < 6; i++) expect(routing.weights[i]).toBeCloseTo(1 / 3, 15);
  });

  test('router weights are softmax probabilities, divided by their sum if asked', () => {
    const logits = f32(0, Math.log(2), Math.log(5));
    const [raw, normed] = [false, true].map(
      (normTopkProb) => routerTopK(logits, { experts: 3, k: 2, normTopkProb }).weights,
    );
    const expected = [5 / 8, 2 / 8, 5 / 7, 2 / 7]; // log(2) and log(5) were rounded to float32
    [...raw, ...normed].forEach((weight, i) => {
      expect(weight).toBeCloseTo(expected[i], 6);
    });
  });

  test('moe is the weighted sum of the experts of each token', () => {
    const experts = [0, 1, 2].map((e) => ({
      gate: normals(10 + e, 6 * 4),
      up: normals(20 + e, 6 * 4),
      down: normals(30 + e, 4 * 6),
    }));
    const x = normals(1, 2 * 4);
    const routing = {
      k: 2,
      experts: Int32Array.of(2, 0, 1, 2),
      weights: Float64Array.of(0.75, 0.25, 1, 0),
    };
    const y = moe(x, routing, (id) => experts[id], 4);
    const [e0, e1, e2] = experts.map((expert) => mlp(x, expert, 4));
    for (let i = 0; i < 4; i++) {
      expect(y[i]).toBeCloseTo(0.75 * e2[i] + 0.25 * e0[i], 12);
      expect(y[4 + i]).toBeCloseTo(e1[4 + i], 12);
    }
  });
});

describe('choosing tokens', () => {
  test('topK and argmax take the lower of equals', () => {
    const row = f32(-1, 7, 2, 7, Number.NEGATIVE_INFINITY);
    expect(argmax(row)).toBe(1);
    const top = topK(row, 3);
    expect([...top.ids]).toEqual([1, 3, 2]);
    expect([...top.values]).toEqual([7, 7, 2]);
  });
});
