import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { type LanesVariant, lanesVariants } from '../src/kernels/lanes.ts';
import { padded } from '../src/kernels/matrix.ts';
import { router } from '../src/kernels/router.ts';
import { openTestGpu, readFloats, readOutput, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { routerTopK } from './reference/ops.ts';
import { divisionError, expError, expectClose, expectSame, sumError, unit } from './tolerance.ts';

const gpu = await openTestGpu();
const asHardware = await openTestGpu({ software: false });

interface Case {
  tokens: number;
  experts: number;
  topK: number;
  normalise: boolean;
}

async function route(on: Gpu, variant: LanesVariant, values: Float32Array, shape: Case) {
  const { tokens, experts, topK, normalise } = shape;
  const buffers = testBuffers(on);
  const logits = await buffers.inputRows(values, experts, padded(experts) + 8);
  const ids = await buffers.output(tokens * topK);
  const weights = await buffers.output(tokens * topK);
  await runOnGpu(on, (rec) =>
    router(rec, { logits, experts, topK, normalise, tokens, ids, weights, variant }),
  );
  return {
    ids: await readOutput(on, ids, tokens * topK),
    weights: await readFloats(on, weights, tokens * topK),
  };
}

async function check(on: Gpu, variant: LanesVariant, shape: Case, values?: Float32Array) {
  const { tokens, experts, topK, normalise } = shape;
  const logits =
    values ?? new Random(`router ${JSON.stringify(shape)}`).normal(tokens * experts, 4);
  const actual = await route(on, variant, logits, shape);
  const expected = routerTopK(logits, { experts, k: topK, normTopkProb: normalise });
  expectSame('ids', actual.ids, expected.experts);
  // exp of a difference that is rounded once, for numerator and sum; then the sum and a division.
  let range = 0;
  for (let t = 0; t < tokens; t++) {
    const row = logits.subarray(t * experts, (t + 1) * experts).filter(Number.isFinite);
    range = Math.max(range, Math.max(...row) - Math.min(...row));
  }
  const relative = 2 * (expError(range) + range * unit) + sumError(experts) + divisionError;
  expectClose('weights', actual.weights, {
    values: expected.weights,
    // A weight below the normal range of binary32 may come out as zero.
    tolerance: (i) => Math.max(expected.weights[i] * relative, 2 ** -126),
  });
}

const cases: readonly Case[] = [
  { tokens: 1, experts: 1, topK: 1, normalise: true },
  { tokens: 2, experts: 5, topK: 5, normalise: true },
  { tokens: 33, experts: 128, topK: 8, normalise: true },
  { tokens: 9, experts: 160, topK: 8, normalise: true },
  { tokens: 3, experts: 60, topK: 4, normalise: true },
];

describe.each(lanesVariants(gpu))('router, %s', (variant) => {
  it.each([true, false])('chooses and weighs; weights normalised: %s', async (normalise) => {
    for (const shape of cases) await check(gpu, variant, { ...shape, normalise });
  });

  it('prefers the lower index among equals', async () => {
    const shape = { tokens: 3, experts: 40, topK: 8, normalise: true };
    const logits = new Float32Array(120).fill(-1); // token 0: all equal
    for (let e = 0; e < 40; e++) logits[40 + e] = e % 3; // token 1: 13 of the best, far apart
    for (let e = 0; e < 40; e++) logits[80 + e] = e < 36 ? 0 : -0; // zeros of both signs are equal
    await check(gpu, variant, shape, logits);
  });

  it('takes -Infinity for the smallest logit', async () => {
    const shape = { tokens: 2, experts: 20, topK: 4, normalise: true };
    const logits = new Float32Array(40).fill(Number.NEGATIVE_INFINITY);
    logits.set([3, 2, 1], 0);
    logits.set([1, 2, 3, 4, 5], 25);
    await check(gpu, variant, shape, logits);
    await check(gpu, variant, { ...shape, normalise: false }, logits);
  });

  it('chooses logits that are not numbers, so that the weights tell of them', async () => {
    const shape = { tokens: 3, experts: 20, topK: 4, normalise: true };
    const logits = new Random('nan').normal(60);
    logits.fill(Number.NaN, 0, 20);
    logits.fill(Number.NaN, 27, 28);
    const { ids, weights } = await route(gpu, variant, logits, shape);
    expectSame('ids of the token without numbers', ids.subarray(0, 4), [0, 1, 2, 3]);
    expect(ids[4]).toBe(7);
    const others = routerTopK(
      logits.slice(20, 40).map((logit) => (Number.isNaN(logit) ? Number.NEGATIVE_INFINITY : logit)),
      { experts: 20, k: 3, normTopkProb: true },
    );
    expectSame('rest of the token with one that is no number', ids.subarray(5, 8), others.experts);
    for (const weight of weights.subarray(0, 8)) expect(weight).toBeNaN();
    const numbers = routerTopK(logits.subarray(40), { experts: 20, k: 4, normTopkProb: true });
    expectSame('ids of the token with numbers', ids.subarray(8), numbers.experts);
    for (const weight of weights.subarray(8)) expect(weight).toBeGreaterThan(0);
  });
});

it('router with the workgroups of a hardware GPU', async () => {
  for (const variant of lanesVariants(asHardware)) await check(asHardware, variant, cases[3]);
});
