import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { headWidth, type KvType } from '../src/kernels/kv-cache.ts';
import { type LanesVariant, lanesVariants } from '../src/kernels/lanes.ts';
import { padded } from '../src/kernels/matrix.ts';
import { qkNormRope } from '../src/kernels/qk-norm-rope.ts';
import { exactly, expectedQkNormRope } from './expected.ts';
import { openTestGpu, poison, readFloats, readOutput, runOnGpu, testBuffers } from './harness.ts';
import { decodeHeads, testCache } from './kv.ts';
import { Random } from './random.ts';
import { expectClose, f16Error } from './tolerance.ts';

const gpu = await openTestGpu();
const asHardware = await openTestGpu({ software: false });
const eps = 1e-6;

interface Case {
  headDim: number;
  qHeads: number;
  kvHeads: number;
  tokens: number;
  position: number;
  parts?: readonly number[];
  type: KvType;
}

async function check(on: Gpu, variant: LanesVariant, shape: Case) {
  const { headDim, qHeads, kvHeads, tokens, position, type, parts } = shape;
  const random = new Random(`rope ${JSON.stringify(shape)}`);
  const buffers = testBuffers(on);
  const heads = qHeads + 2 * kvHeads;
  const values = random.normal(tokens * heads * headDim, 2);
  const gains = random.normal(2 * headDim);
  const half = headDim / 2;
  // As YaRN does: some frequencies, and a factor on both cos and sin.
  const tables = {
    inverseFrequencies: Float64Array.from({ length: half }, (_, i) => 1e4 ** (-i / half)),
    attentionFactor: 1.2,
  };
  const rope = new Float32Array(tokens * headDim);
  for (let t = 0; t < tokens; t++) {
    tables.inverseFrequencies.forEach((frequency, i) => {
      const angle = (position + t) * frequency;
      rope[(t * half + i) * 2] = Math.cos(angle) * tables.attentionFactor;
      rope[(t * half + i) * 2 + 1] = Math.sin(angle) * tables.attentionFactor;
    });
  }

  const capacity = position + tokens + 2;
  const width = 4 * headWidth(headDim);
  const qkv = await buffers.inputRows(values, heads * headDim, padded(heads * headDim) + 8);
  const ropeSlice = await buffers.input(rope);
  const gainSlice = await buffers.input(gains);
  const q = await buffers.output(tokens * qHeads * width);
  const kv = await testCache(buffers, {
    type,
    capacity,
    headDim,
    kvHeads,
    ...(parts && { parts }),
  });
  await runOnGpu(on, (rec) =>
    qkNormRope(rec, {
      qkv,
      rope: ropeSlice,
      gains: gainSlice,
      q,
      kv,
      qHeads,
      kvHeads,
      position,
      tokens,
      eps,
      variant,
    }),
  );

  /** Heads [first, first + count) of every token: [tokens, count, headDim]. */
  const pick = (first: number, count: number) => {
    const out = new Float32Array(tokens * count * headDim);
    for (let t = 0; t < tokens; t++) {
      const from = (t * heads + first) * headDim;
      out.set(values.subarray(from, from + count * headDim), t * count * headDim);
    }
    return out;
  };
  const turned = (first: number, count: number, gain: Float32Array) =>
    expectedQkNormRope(pick(first, count), gain, eps, tables, {
      heads: count,
      headDim,
      start: position,
    });
  const what = `${variant} ${JSON.stringify(shape)}`;

  const qOut = await readFloats(on, q, tokens * qHeads * width);
  const qExpected = turned(0, qHeads, gains.subarray(0, headDim));
  const qActual = new Float32Array(tokens * qHeads * headDim);
  for (let row = 0; row < tokens * qHeads; row++) {
    const head = qOut.subarray(row * width, (row + 1) * width);
    qActual.set(head.subarray(0, headDim), row * headDim);
    expect(head.subarray(headDim).every((value) => value === 0)).toBe(true);
  }
  expectClose(`q, ${what}`, qActual, qExpected);

  const kExpected = turned(qHeads, kvHeads, gains.subarray(headDim));
  const vExpected = exactly(pick(qHeads + kvHeads, kvHeads));
  for (const part of kv.parts) {
    for (const [name, slice, { values: expected, tolerance }] of [
      ['k', part.keys, kExpected],
      ['v', part.values, vExpected],
    ] as const) {
      const rowWords = type === 'f16' ? width / 2 : width;
      const words = await readOutput(on, slice, part.heads * capacity * rowWords);
      const cache = decodeHeads(kv, words);
      for (let head = 0; head < part.heads; head++) {
        for (let s = 0; s < capacity; s++) {
          const row = head * capacity + s;
          if (s < position || s >= position + tokens) {
            const rest = words.subarray(row * rowWords, (row + 1) * rowWords);
            expect(rest.every((word) => word === poison)).toBe(true);
            continue;
          }
          const at = ((s - position) * kvHeads + part.firstHead + head) * headDim;
          const stored = cache.subarray(row * width, (row + 1) * width);
          expectClose(
            `${name} of head ${part.firstHead + head}, position ${s}, ${what}`,
            stored.subarray(0, headDim),
            {
              values: expected.subarray(at, at + headDim),
              tolerance: (i) =>
                tolerance(at + i) + (type === 'f16' ? f16Error(expected[at + i]) : 0),
            },
          );
          expect(stored.subarray(headDim).every((value) => value === 0)).toBe(true);
        }
      }
    }
  }
}

describe.each(lanesVariants(gpu))('qkNormRope, %s', (variant) => {
  it.each(['f32', 'f16'] as const)('heads of 128, cache in %s', async (type) => {
    const shape = { headDim: 128, type };
    await check(gpu, variant, { ...shape, qHeads: 1, kvHeads: 1, tokens: 1, position: 0 });
    await check(gpu, variant, { ...shape, qHeads: 8, kvHeads: 2, tokens: 3, position: 5 });
    await check(gpu, variant, {
      ...shape,
      qHeads: 12,
      kvHeads: 4,
      tokens: 2,
      position: 700,
      parts: [0, 1, 3],
    });
  });

  // 6 and 10 leave part of the last vec4 empty; 24 is less than a lane each on many GPUs.
  it.each(variant === 'subgroup' ? [2, 6, 10, 24, 64, 80, 256] : [6, 80])(
    'heads of %i',
    async (headDim) => {
      const type = headDim % 4 ? 'f16' : 'f32';
      await check(gpu, variant, { headDim, type, qHeads: 4, kvHeads: 1, tokens: 9, position: 3 });
      await check(gpu, variant, {
        headDim,
        type,
        qHeads: 3,
        kvHeads: 3,
        tokens: 2,
        position: 0,
        parts: [0, 2],
      });
    },
  );
});

it('qkNormRope of more heads than one dimension of a dispatch may have workgroups', async () => {
  const shape = {
    headDim: 2,
    type: 'f32',
    qHeads: 94,
    kvHeads: 1,
    tokens: 700,
    position: 0,
  } as const;
  await check(gpu, 'shared', shape);
});

it('qkNormRope with the workgroups of a hardware GPU', async () => {
  for (const variant of lanesVariants(asHardware)) {
    const shape = {
      headDim: 128,
      type: 'f32',
      qHeads: 8,
      kvHeads: 2,
      tokens: 3,
      position: 5,
    } as const;
    await check(asHardware, variant, shape);
  }
});
