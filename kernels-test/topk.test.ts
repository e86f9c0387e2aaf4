import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { adjustLogits } from '../src/kernels/adjust-logits.ts';
import { type LanesVariant, lanesVariants } from '../src/kernels/lanes.ts';
import { maxTopK, noId, topK, topKScratch } from '../src/kernels/topk.ts';
import { openTestGpu, readFloats, readOutput, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { topK as reference } from './reference/ops.ts';
import { expectSame } from './tolerance.ts';

const gpu = await openTestGpu();
const asHardware = await openTestGpu({ software: false });

/** A zero of either sign may stand for both: they are equal. */
const withoutSign = (value: number) => (value === 0 ? 0 : value);

/** Checks against the reference, which is asked about the numbers only: NaN comes before them. */
async function check(on: Gpu, variant: LanesVariant, logits: Float32Array, k: number) {
  const n = logits.length;
  const buffers = testBuffers(on);
  // What lies behind the logits is larger than any of them.
  const input = await buffers.input(
    Float32Array.from({ length: n + 64 }, (_, i) => logits[i] ?? Number.POSITIVE_INFINITY),
  );
  const scratchValues = await buffers.output(topKScratch(n));
  const scratchIds = await buffers.output(topKScratch(n));
  const values = await buffers.output(k);
  const ids = await buffers.output(k);
  await runOnGpu(on, (rec) =>
    topK(rec, { logits: input, n, k, scratchValues, scratchIds, values, ids, variant }),
  );
  const indices = [...logits.keys()];
  const broken = indices.filter((i) => Number.isNaN(logits[i])).slice(0, k);
  const numbers = indices.filter((i) => !Number.isNaN(logits[i]));
  const best = reference(
    Float32Array.from(numbers, (i) => logits[i]),
    k - broken.length,
  );
  const found = broken.length + best.ids.length;
  const expected = new Uint32Array(k).fill(noId);
  expected.set([...broken, ...Array.from(best.ids, (id) => numbers[id])]);
  expectSame(`ids, n ${n}, k ${k}`, await readOutput(on, ids, k), expected);
  const actual = (await readFloats(on, values, k)).subarray(0, found);
  for (const value of actual.subarray(0, broken.length)) expect(value).toBeNaN();
  const ofNumbers = actual.subarray(broken.length);
  expectSame('values', ofNumbers.map(withoutSign), best.values.map(withoutSign));
}

describe.each(lanesVariants(gpu))('topK, %s', (variant) => {
  it.each([
    [1, 1],
    [3, 3],
    [63, 5],
    [64, 64],
    [65, 64],
    [4095, 7],
    [4097, 64],
    [5000, 1],
    [20_000, maxTopK],
  ])('of %i values the best %i', async (n, k) => {
    await check(gpu, variant, new Random(`topk ${n}`).normal(n, 10), k);
  });

  it('gives the lower index first among equals, also across slices', async () => {
    await check(gpu, variant, new Float32Array(3000), 40);
    await check(
      gpu,
      variant,
      new Float32Array(5000).map((_, i) => (i % 700 ? -1 : 2)),
      10,
    );
    await check(
      gpu,
      variant,
      new Float32Array(2100).map((_, i) => (i % 2 ? 0 : -0)),
      10,
    );
  });

  it('gives NaN before all numbers, and tells when nothing is left', async () => {
    const random = new Random('topk nan');
    const logits = random.normal(2500, 1e30);
    logits.set([Number.POSITIVE_INFINITY, Number.NaN], 1700);
    for (const k of [1, 2, 20]) await check(gpu, variant, logits, k);
    // Of either sign, and with any bits.
    const bits = Uint32Array.of(0x7fc00000, 0xffc00001, 0x7f800001, 0xffffffff);
    logits.set(new Float32Array(bits.buffer), 640);
    for (const k of [1, 3, 20]) await check(gpu, variant, logits, k);
    const few = new Float32Array(2500).fill(Number.NaN);
    few.set([3, -5, 3], 1022);
    await check(gpu, variant, few, 8);
    await check(gpu, variant, new Float32Array(30).fill(Number.NaN), 1);
    await check(gpu, variant, Float32Array.of(4, 7), 5);
  });

  it('takes infinities for the largest and the smallest value', async () => {
    const logits = new Float32Array(1500).fill(Number.NEGATIVE_INFINITY);
    logits.set([1, -3e38, 0, Number.POSITIVE_INFINITY], 1100);
    await check(gpu, variant, logits, 12);
    await check(gpu, variant, new Float32Array(9).fill(Number.NEGATIVE_INFINITY), 3);
  });
});

it('topK with the workgroups of a hardware GPU', async () => {
  for (const variant of lanesVariants(asHardware)) {
    await check(asHardware, variant, new Random('hardware').normal(4000), 20);
  }
});

describe('adjustLogits', () => {
  it.each([1, 5, 200])('changes %i tokens and no other', async (n) => {
    const random = new Random(`adjust ${n}`);
    const logits = random.normal(1000, 5);
    logits[3] = 0;
    const tokens = random.permutation(1000).slice(0, n);
    const entries = new Uint32Array(4 * n);
    const floats = new Float32Array(entries.buffer);
    const expected = logits.slice();
    // Powers of two and small integers, so that every rounding is known.
    tokens.forEach((id, i) => {
      const repetition = 2 ** random.below(3);
      const add = [0, 0.5, -100, Number.NEGATIVE_INFINITY][random.below(4)];
      entries[4 * i] = id;
      floats[4 * i + 1] = repetition;
      floats[4 * i + 2] = add;
      expected[id] =
        Math.fround(logits[id] > 0 ? logits[id] / repetition : logits[id] * repetition) + add;
    });
    const buffers = testBuffers(gpu);
    const slice = await buffers.input(logits);
    const entrySlice = await buffers.input(entries);
    await runOnGpu(gpu, (rec) => adjustLogits(rec, { logits: slice, entries: entrySlice, n }));
    expectSame('logits', await readFloats(gpu, slice, 1000), expected);
  });
});
