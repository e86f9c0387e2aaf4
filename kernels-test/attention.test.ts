import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import {
  type AttentionVariant,
  attention,
  attentionScratch,
  attentionVariants,
} from '../src/kernels/attention.ts';
import { headWidth, type KvType } from '../src/kernels/kv-cache.ts';
import { padded } from '../src/kernels/matrix.ts';
import { expectedAttention } from './expected.ts';
import { openTestGpu, padRows, readRows, roundedTo, runOnGpu, testBuffers } from './harness.ts';
import { fillCache, testCache } from './kv.ts';
import { Random } from './random.ts';
import { some } from './thorough.ts';
import { expectClose } from './tolerance.ts';

const gpu = await openTestGpu();
const asHardware = await openTestGpu({ software: false });

interface Case {
  headDim: number;
  group: number;
  kvHeads: number;
  tokens: number;
  position: number;
  parts?: readonly number[];
  type?: KvType;
  splits?: number;
  /** Standard deviation of q: large values make the softmax pick single positions. */
  spread?: number;
}

async function check(on: Gpu, variant: AttentionVariant, shape: Case) {
  const {
    headDim,
    group,
    kvHeads,
    tokens,
    position,
    parts,
    type = 'f32',
    splits,
    spread = 1,
  } = shape;
  const random = new Random(`attention ${JSON.stringify(shape)}`);
  const buffers = testBuffers(on);
  const qHeads = group * kvHeads;
  const context = position + tokens;
  const capacity = context + 3;
  const width = 4 * headWidth(headDim);
  const stored = (values: Float32Array) => (type === 'f16' ? roundedTo('F16', values) : values);
  const queries = random.normal(tokens * qHeads * headDim, spread);
  const keys = stored(random.normal(context * kvHeads * headDim));
  const values = stored(random.normal(context * kvHeads * headDim));

  const q = await buffers.input(padRows(queries, headDim, width));
  const kv = await testCache(buffers, {
    type,
    capacity,
    headDim,
    kvHeads,
    ...(parts && { parts }),
  });
  fillCache(buffers, kv, keys, values, kvHeads);
  const out = await buffers.outputRows(tokens, padded(qHeads * headDim) + 8);
  const scratch = attentionScratch(qHeads, headDim);
  const sums = await buffers.output(scratch.sums);
  const partial = await buffers.output(scratch.partial);
  await runOnGpu(on, (rec) =>
    attention(rec, {
      q,
      kv,
      out,
      sums,
      partial,
      qHeads,
      kvHeads,
      position,
      tokens,
      variant,
      ...(splits !== undefined && { splits }),
    }),
  );

  expectClose(
    `attention, ${variant}, ${JSON.stringify(shape)}`,
    await readRows(on, out, { rows: tokens, columns: qHeads * headDim }),
    expectedAttention(queries, keys, values, { heads: qHeads, kvHeads, headDim, start: position }),
  );
}

describe.each(attentionVariants(gpu))('attention, %s', (variant) => {
  // Tokens times group: 1, 2, 4 and 8 or more queries per work item are different pipelines.
  it.each([
    { headDim: 128, group: 1, kvHeads: 1, tokens: 1, position: 0 },
    { headDim: 128, group: 1, kvHeads: 3, tokens: 1, position: 70, parts: [0, 1] },
    { headDim: 128, group: 1, kvHeads: 2, tokens: 2, position: 9 },
    { headDim: 128, group: 4, kvHeads: 2, tokens: 1, position: 60 },
    { headDim: 128, group: 8, kvHeads: 4, tokens: 1, position: 33, parts: [0, 3] },
    { headDim: 128, group: 12, kvHeads: 2, tokens: 3, position: 100 },
    { headDim: 128, group: 4, kvHeads: 2, tokens: 33, position: 0 },
    { headDim: 128, group: 8, kvHeads: 1, tokens: 9, position: 130, spread: 30 },
    { headDim: 128, group: 8, kvHeads: 2, tokens: 5, position: 64, parts: [0, 1], type: 'f16' },
    { headDim: 128, group: 8, kvHeads: 2, tokens: 1, position: 65, type: 'f16' },
  ] satisfies Case[])(
    'heads of $headDim in $kvHeads groups of $group, $tokens tokens from $position on',
    (shape) => check(gpu, variant, shape),
  );

  it.each(some([6, 10, 24, 64, 256, 80], 2, variant === 'shared' ? 0 : 1))(
    'heads of %i',
    async (headDim) => {
      const type = headDim % 4 ? 'f16' : 'f32';
      await check(gpu, variant, { headDim, group: 4, kvHeads: 2, tokens: 7, position: 61, type });
      await check(gpu, variant, { headDim, group: 4, kvHeads: 1, tokens: 128, position: 0, type });
    },
  );

  it.each([2, 3, 7, 16])('context cut into %i runs', async (splits) => {
    const shape = { headDim: 128, group: 8, kvHeads: 2, position: 197, splits };
    await check(gpu, variant, { ...shape, tokens: 1 });
    await check(gpu, variant, { ...shape, tokens: 4, parts: [0, 1] });
    // Runs that begin past what the first token sees.
    await check(gpu, variant, { ...shape, tokens: 4, position: 0, kvHeads: 1 });
  });

  it('chooses runs by itself', async () => {
    for (const position of [126, 254, 255, 256, 1000, 2047, 2300]) {
      await check(gpu, variant, { headDim: 128, group: 8, kvHeads: 1, tokens: 1, position });
    }
    await check(gpu, variant, {
      headDim: 128,
      group: 8,
      kvHeads: 1,
      tokens: 4,
      position: 300,
      type: 'f16',
    });
    await check(gpu, variant, {
      headDim: 6,
      group: 2,
      kvHeads: 2,
      tokens: 1,
      position: 400,
      type: 'f16',
    });
  });
});

describe('attention', () => {
  it('takes the mean of the values when all keys are equal', async () => {
    for (const variant of attentionVariants(gpu)) {
      const headDim = 128;
      const buffers = testBuffers(gpu);
      const context = 300;
      const values = new Float32Array(context * headDim).map((_, i) => Math.floor(i / headDim));
      const kv = await testCache(buffers, { type: 'f32', capacity: context, headDim, kvHeads: 1 });
      fillCache(buffers, kv, new Float32Array(context * headDim).fill(1), values, 1);
      const q = await buffers.input(new Float32Array(8 * headDim).fill(0.3));
      const out = await buffers.outputRows(1, 8 * headDim);
      const scratch = attentionScratch(8, headDim);
      const sums = await buffers.output(scratch.sums);
      const partial = await buffers.output(scratch.partial);
      const at = { position: context - 1, tokens: 1, qHeads: 8, kvHeads: 1 };
      await runOnGpu(gpu, (rec) => attention(rec, { q, kv, out, sums, partial, ...at, variant }));
      const actual = await readRows(gpu, out, { rows: 1, columns: 8 * headDim });
      for (const value of actual) expect(value).toBeCloseTo((context - 1) / 2, 2);
    }
  });

  it('with the workgroups of a hardware GPU', async () => {
    for (const variant of attentionVariants(asHardware)) {
      await check(asHardware, variant, {
        headDim: 128,
        group: 8,
        kvHeads: 2,
        tokens: 3,
        position: 300,
      });
    }
  });
});
