import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import {
  type ExpertGroups,
  expertMatmul,
  groupByExpert,
  type MatmulVariant,
  matmul,
  matmulVariants,
  tileCapacity,
} from '../src/kernels/matmul.ts';
import { noSlot, padded } from '../src/kernels/matrix.ts';
import { formats, type TensorType } from '../src/quant/index.ts';
import { expectedLinear } from './expected.ts';
import {
  openTestGpu,
  readOutput,
  readRows,
  runOnGpu,
  type TestBuffers,
  testBuffers,
} from './harness.ts';
import { Random } from './random.ts';
import { expectClose } from './tolerance.ts';

const gpu = await openTestGpu();
const withoutF16 = await openTestGpu({ f16: false });
const asHardware = await openTestGpu({ software: false });
const types = Object.keys(formats) as TensorType[];
const indirectUsage = 0x100;

interface Shape {
  rows: number;
  columns: number;
  k: number;
  parts?: readonly number[];
}

async function check(on: Gpu, type: TensorType, variant: MatmulVariant, shape: Shape) {
  const { rows, columns, k, parts } = shape;
  const random = new Random(`matmul ${rows} ${columns} ${k}`);
  const buffers = testBuffers(on);
  const w = await buffers.matrix(type, random.normal(columns * k), k, parts);
  const values = random.normal(rows * k);
  const x = await buffers.inputRows(values, k);
  const y = await buffers.outputRows(rows, padded(columns));
  await runOnGpu(on, (rec) => matmul(rec, { weight: w.matrix, x, y, rows, variant }));
  expectClose(
    `${type} ${JSON.stringify(shape)}`,
    await readRows(on, y, { rows, columns }),
    expectedLinear(w.decoded, values, { m: rows, n: columns, k }),
  );
}

// Rows choose the tile: up to 4, 8, 16, 32 and 64 of them.
const shapes: readonly Shape[] = [
  { rows: 1, columns: 1, k: 1 },
  { rows: 3, columns: 70, k: 90, parts: [0, 1, 40] },
  { rows: 4, columns: 300, k: 88 },
  { rows: 5, columns: 36, k: 8 },
  { rows: 9, columns: 130, k: 250, parts: [0, 128] },
  { rows: 33, columns: 65, k: 72 },
  { rows: 129, columns: 40, k: 24 },
  { rows: 7, columns: 10, k: 2048 },
];

describe('matmul', () => {
  it.each(matmulVariants(gpu).flatMap((variant) => types.map((type) => ({ variant, type }))))(
    '$variant, $type',
    async ({ variant, type }) => {
      for (const shape of type === 'BF16' ? shapes : shapes.slice(3, 5)) {
        await check(gpu, type, variant, shape);
      }
    },
  );

  it.each(matmulVariants(gpu))('%s, F16 without f16 in shaders', async (variant) => {
    await check(withoutF16, 'F16', variant, shapes[4]);
  });
});

interface MoeShape {
  experts: number;
  topK: number;
  tokens: number;
  absent?: readonly number[];
  /** Send every token to the same experts, which makes the tiles full. */
  crowded?: boolean;
}

function chooseExperts(random: Random, { experts, topK, tokens, crowded }: MoeShape): Uint32Array {
  const choose = () => random.permutation(experts).slice(0, topK);
  const same = choose();
  return Uint32Array.from(Array.from({ length: tokens }, () => (crowded ? same : choose())).flat());
}

async function expertGroups(
  buffers: TestBuffers,
  pairs: number,
  experts: number,
): Promise<ExpertGroups> {
  return {
    order: await buffers.output(pairs),
    tiles: await buffers.output(4 * tileCapacity(pairs, experts)),
    counts: (await buffers.allocate('counts', 32, indirectUsage)).all(),
  };
}

const moeShapes: readonly MoeShape[] = [
  { experts: 1, topK: 1, tokens: 1 },
  { experts: 4, topK: 2, tokens: 33, absent: [2] },
  { experts: 160, topK: 8, tokens: 9, absent: [7, 150] },
  { experts: 5, topK: 2, tokens: 40, crowded: true },
  { experts: 3, topK: 3, tokens: 70 },
];

describe('groupByExpert', () => {
  it.each(
    [gpu, asHardware].flatMap((on) => matmulVariants(on).map((variant) => ({ on, variant }))),
  )('sorts pairs into tiles for $variant', async ({ on, variant }) => {
    for (const shape of moeShapes) {
      const { experts, absent = [] } = shape;
      const random = new Random(`group ${JSON.stringify(shape)}`);
      const chosen = chooseExperts(random, shape);
      const pairs = chosen.length;
      const buffers = testBuffers(on);
      const table = 5;
      const slotOf = new Uint32Array(table + experts).map((_, i) => 1000 + i);
      for (const e of absent) slotOf[table + e] = noSlot;
      const groups = await expertGroups(buffers, pairs, experts);
      const ids = await buffers.input(chosen);
      const slotOfSlice = await buffers.input(slotOf);
      await runOnGpu(on, (rec) =>
        groupByExpert(rec, {
          ids,
          pairs,
          experts,
          slotOf: slotOfSlice,
          table,
          columns1: 100,
          columns2: 1000,
          groups,
          variant,
        }),
      );
      const order = await readOutput(on, groups.order, pairs);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: pairs }, (_, i) => i));
      const [countBytes] = await on.read([groups.counts]);
      const [x1, count, z1, x2, count2, z2] = new Uint32Array(countBytes);
      expect([z1, count2, z2]).toEqual([1, count, 1]);
      expect(x2).toBeGreaterThan(x1);
      const tiles = await readOutput(on, groups.tiles, 4 * count);
      const seen = new Uint8Array(pairs);
      for (let i = 0; i < count; i++) {
        const [slot, start, rows, expert] = tiles.subarray(4 * i, 4 * i + 4);
        expect(slot).toBe(slotOf[table + expert]);
        expect(rows).toBeGreaterThan(0);
        for (let q = start; q < start + rows; q++) {
          expect(chosen[order[q]]).toBe(expert);
          expect(seen[q]++).toBe(0);
        }
      }
      for (let q = 0; q < pairs; q++) {
        expect(seen[q]).toBe(slotOf[table + chosen[order[q]]] === noSlot ? 0 : 1);
      }
    }
  });
});

async function checkExperts(on: Gpu, type: TensorType, variant: MatmulVariant, shape: MoeShape) {
  const { experts, topK, tokens, absent = [] } = shape;
  const [inner, hidden] = [70, 90];
  const random = new Random(`grouped ${JSON.stringify(shape)}`);
  const buffers = testBuffers(on);
  const slots = { absent, slabs: 2, slots: experts + 3 };
  const gateUp = await buffers.experts(
    random,
    type,
    experts,
    [
      [inner, hidden],
      [inner, hidden],
    ],
    slots,
  );
  const downs = await buffers.experts(random, type, experts, [[hidden, inner]], {
    ...slots,
    slabs: 3,
  });
  const chosen = chooseExperts(random, shape);
  const pairs = chosen.length;
  const isPresent = (q: number) => !gateUp.isAbsent(chosen[q]);
  const ids = await buffers.input(chosen);
  const values = random.normal(tokens * hidden);
  const x = await buffers.inputRows(values, hidden);
  const downValues = random.normal(pairs * inner);
  const downX = await buffers.inputRows(downValues, inner);
  const between = await buffers.outputRows(pairs, padded(2 * inner));
  const out = await buffers.outputRows(pairs, padded(hidden));
  const [gate, up] = gateUp.matrices;
  const down = downs.matrices[0];

  // Gate and up side by side in one row; then, on inputs of its own, down. Each needs the groups of
  // its own slots.
  const shared = { pairs, experts, variant };
  for (const [weights, products] of [
    [
      gate,
      [
        { weight: gate, first: 0 },
        { weight: up, first: inner },
      ],
    ],
    [down, [{ weight: down, first: 0 }]],
  ] as const) {
    const groups = await expertGroups(buffers, pairs, experts);
    await runOnGpu(on, (rec) => {
      const { slotOf, table } = weights;
      groupByExpert(rec, {
        ...shared,
        ids,
        slotOf,
        table,
        columns1: inner,
        columns2: hidden,
        groups,
      });
      for (const product of products) {
        expertMatmul(rec, {
          ...shared,
          ...product,
          ...(weights === gate
            ? { x, y: between, divisor: topK }
            : { x: downX, y: out, divisor: 1 }),
          groups,
          product: weights === gate ? 0 : 1,
        });
      }
    });
  }

  const compare = (
    what: string,
    actual: Float32Array,
    matrices: readonly Float32Array[],
    inputs: (q: number) => Float32Array,
    at: { stride: number; first: number; n: number; k: number },
  ) => {
    for (let q = 0; q < pairs; q++) {
      if (!isPresent(q)) continue;
      const start = q * at.stride + at.first;
      expectClose(
        `${what}, ${type}, pair ${q} of ${JSON.stringify(shape)}`,
        actual.subarray(start, start + at.n),
        expectedLinear(matrices[chosen[q]], inputs(q), { m: 1, n: at.n, k: at.k }),
      );
    }
  };
  const row = (array: Float32Array, width: number, i: number) =>
    array.subarray(i * width, (i + 1) * width);
  const both = await readRows(
    on,
    between,
    { rows: pairs, columns: 2 * inner },
    'untouched',
    isPresent,
  );
  const token = (q: number) => row(values, hidden, Math.floor(q / topK));
  const at = { stride: 2 * inner, n: inner, k: hidden };
  compare('gate', both, gateUp.decoded[0], token, { ...at, first: 0 });
  compare('up', both, gateUp.decoded[1], token, { ...at, first: inner });
  compare(
    'down',
    await readRows(on, out, { rows: pairs, columns: hidden }, 'untouched', isPresent),
    downs.decoded[0],
    (q) => row(downValues, inner, q),
    { stride: hidden, first: 0, n: hidden, k: inner },
  );
}

describe('expertMatmul', () => {
  it.each(matmulVariants(gpu).flatMap((variant) => types.map((type) => ({ variant, type }))))(
    '$variant, $type',
    async ({ variant, type }) => {
      for (const shape of type === 'BF16' ? moeShapes : moeShapes.slice(1, 2)) {
        await checkExperts(gpu, type, variant, shape);
      }
    },
  );

  it('without f16 in shaders', async () => {
    await checkExperts(withoutF16, 'F16', matmulVariants(withoutF16)[0], moeShapes[1]);
  });
});
