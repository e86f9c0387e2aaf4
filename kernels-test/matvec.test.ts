import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { type LanesVariant, lanesVariants } from '../src/kernels/lanes.ts';
import { linear } from '../src/kernels/linear.ts';
import { padded } from '../src/kernels/matrix.ts';
import { expertDown, expertGateUp, matvec, matvecVariants } from '../src/kernels/matvec.ts';
import { formats, type TensorType } from '../src/quant/index.ts';
import { expectedLinear, expectedSwiglu } from './expected.ts';
import { openTestGpu, readOutput, readRows, runOnGpu, testBuffers } from './harness.ts';
import { expectInt8Image, int8Words } from './int8-image.ts';
import { Random } from './random.ts';
import { expectClose } from './tolerance.ts';

const gpu = await openTestGpu();
const withoutF16 = await openTestGpu({ f16: false });
const asHardware = await openTestGpu({ software: false });
const types = Object.keys(formats) as TensorType[];

interface Shape {
  rows: number;
  columns: number;
  tokens: number;
  parts?: readonly number[];
}

type Product = (
  rec: Parameters<typeof matvec>[0],
  args: Omit<Parameters<typeof matvec>[1], 'variant'>,
) => void;

async function checkLinear(on: Gpu, type: TensorType, shape: Shape, product: Product) {
  const { rows, columns, tokens, parts } = shape;
  const random = new Random(`linear ${rows} ${columns} ${tokens}`);
  const buffers = testBuffers(on);
  const w = await buffers.matrix(type, random.normal(rows * columns), columns, parts);
  const values = random.normal(tokens * columns);
  const x = await buffers.inputRows(values, columns);
  const y = await buffers.outputRows(tokens, padded(rows));
  await runOnGpu(on, (rec) => product(rec, { weight: w.matrix, x, y, tokens }));
  expectClose(
    `${type} ${JSON.stringify(shape)}`,
    await readRows(on, y, { rows: tokens, columns: rows }),
    expectedLinear(w.decoded, values, { m: tokens, n: rows, k: columns }),
  );
}

const shapes: readonly Shape[] = [
  { rows: 1, columns: 1, tokens: 1 },
  { rows: 1, columns: 8, tokens: 2 },
  { rows: 3, columns: 90, tokens: 1 },
  { rows: 9, columns: 88, tokens: 3 },
  { rows: 70, columns: 88, tokens: 4, parts: [0, 1, 33] },
  { rows: 33, columns: 250, tokens: 5, parts: [0, 32] },
  { rows: 17, columns: 16, tokens: 8 },
  { rows: 6, columns: 2048, tokens: 2 },
  { rows: 5, columns: 520, tokens: 9 },
];

describe('matvec', () => {
  it.each(lanesVariants(gpu).flatMap((variant) => types.map((type) => ({ variant, type }))))(
    '$variant, $type',
    async ({ variant, type }) => {
      for (const shape of shapes) {
        await checkLinear(gpu, type, shape, (rec, args) => matvec(rec, { ...args, variant }));
      }
    },
  );

  it.each(lanesVariants(gpu))('%s, F16 without f16 in shaders', async (variant) => {
    for (const shape of shapes.slice(3, 6)) {
      await checkLinear(withoutF16, 'F16', shape, (rec, args) => matvec(rec, { ...args, variant }));
    }
  });

  it('with the workgroups of a hardware GPU', async () => {
    for (const variant of lanesVariants(asHardware)) {
      for (const shape of shapes.slice(3, 6)) {
        await checkLinear(asHardware, 'BF16', shape, (rec, args) =>
          matvec(rec, { ...args, variant }),
        );
      }
    }
  });

  it('leaves what it does not own alone: one-hot inputs pick single weights', async () => {
    const columns = 24;
    const random = new Random('one-hot');
    for (const variant of lanesVariants(gpu)) {
      const buffers = testBuffers(gpu);
      const w = await buffers.matrix('BF16', random.normal(10 * columns), columns);
      const values = new Float32Array(columns * columns);
      for (let t = 0; t < columns; t++) values[t * columns + t] = 1;
      const x = await buffers.inputRows(values, columns);
      const y = await buffers.outputRows(columns, 16);
      await runOnGpu(gpu, (rec) =>
        matvec(rec, { weight: w.matrix, x, y, tokens: columns, variant }),
      );
      const actual = await readRows(gpu, y, { rows: columns, columns: 10 });
      for (let t = 0; t < columns; t++) {
        for (let n = 0; n < 10; n++) expect(actual[t * 10 + n]).toBe(w.decoded[n * columns + t]);
      }
    }
  });
});

describe('linear', () => {
  it.each([1, 2, 3, 7, 8, 9, 33])('%i rows, whichever kernel it takes', async (tokens) => {
    for (const on of [gpu, asHardware]) {
      await checkLinear(
        on,
        'BF16',
        { rows: 70, columns: 90, tokens, parts: [0, 40] },
        (rec, args) =>
          linear(rec, { weight: args.weight, x: args.x, y: args.y, rows: args.tokens }),
      );
    }
  });
});

interface MoeShape {
  experts: number;
  topK: number;
  tokens: number;
  hidden: number;
  inner: number;
  absent?: readonly number[];
}

/** Random distinct experts for each token. */
function chooseExperts(random: Random, { experts, topK, tokens }: MoeShape): Uint32Array {
  return Uint32Array.from(
    Array.from({ length: tokens }, () => random.permutation(experts).slice(0, topK)).flat(),
  );
}

async function checkExperts(on: Gpu, type: TensorType, shape: MoeShape, variant: LanesVariant) {
  const { experts, topK, tokens, hidden, inner, absent = [] } = shape;
  const random = new Random(`experts ${JSON.stringify(shape)}`);
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
  const ids = await buffers.input(chosen);
  const isPresent = (q: number) => !gateUp.isAbsent(chosen[q]);

  const xValues = random.normal(tokens * hidden);
  const x = await buffers.inputRows(xValues, hidden);
  const between = await buffers.outputRows(pairs, padded(inner));
  const [gate, up] = gateUp.matrices;
  await runOnGpu(on, (rec) =>
    expertGateUp(rec, { gate, up, x, y: between, ids, pairs, topK, variant }),
  );
  const actual = await readRows(
    on,
    between,
    { rows: pairs, columns: inner },
    'untouched',
    isPresent,
  );
  for (let q = 0; q < pairs; q++) {
    if (!isPresent(q)) continue;
    const row = xValues.subarray(
      Math.floor(q / topK) * hidden,
      (Math.floor(q / topK) + 1) * hidden,
    );
    const [g, u] = gateUp.decoded.map((matrices) =>
      expectedLinear(matrices[chosen[q]], row, { m: 1, n: inner, k: hidden }),
    );
    const part = actual.subarray(q * inner, (q + 1) * inner);
    expectClose(`gate-up ${type} pair ${q}`, part, expectedSwiglu(g, u));
  }

  const innerValues = random.normal(pairs * inner);
  const hiddenIn = await buffers.inputRows(innerValues, inner);
  const out = await buffers.outputRows(pairs, padded(hidden));
  await runOnGpu(on, (rec) =>
    expertDown(rec, { down: downs.matrices[0], x: hiddenIn, y: out, ids, pairs, topK, variant }),
  );
  const outValues = await readRows(
    on,
    out,
    { rows: pairs, columns: hidden },
    'untouched',
    isPresent,
  );
  for (let q = 0; q < pairs; q++) {
    if (!isPresent(q)) continue;
    const row = innerValues.subarray(q * inner, (q + 1) * inner);
    expectClose(
      `down ${type} pair ${q}`,
      outValues.subarray(q * hidden, (q + 1) * hidden),
      expectedLinear(downs.decoded[0][chosen[q]], row, { m: 1, n: hidden, k: inner }),
    );
  }
}

const moeShapes: readonly MoeShape[] = [
  { experts: 1, topK: 1, tokens: 1, hidden: 8, inner: 8 },
  { experts: 5, topK: 2, tokens: 3, hidden: 88, inner: 36, absent: [1, 3] },
  { experts: 160, topK: 8, tokens: 1, hidden: 90, inner: 9 },
  { experts: 6, topK: 4, tokens: 2, hidden: 250, inner: 120, absent: [0] },
];

describe('expertGateUp and expertDown', () => {
  it.each(lanesVariants(gpu).flatMap((variant) => types.map((type) => ({ variant, type }))))(
    '$variant, $type',
    async ({ variant, type }) => {
      // Every format decodes alike in all modes: all shapes in one, one shape in the others.
      for (const shape of type === 'BF16' ? moeShapes : moeShapes.slice(1, 2)) {
        await checkExperts(gpu, type, shape, variant);
      }
    },
  );

  it('without f16 in shaders', async () => {
    await checkExperts(withoutF16, 'F16', moeShapes[1], lanesVariants(withoutF16)[0]);
  });

  it('with the workgroups of a hardware GPU', async () => {
    await checkExperts(asHardware, 'BF16', moeShapes[1], 'shared');
  });

  it.each(matvecVariants(gpu))('the int8 image of gate-up, %s', async (variant) => {
    // A kernel of its own reads the padding too, which is zero in the engine, and poison here.
    const sizes = [
      { type: 'Q4_0', hidden: 96, inner: 9 },
      { type: 'Q4_0', hidden: 96, inner: 36 },
      { type: 'Q4_0', hidden: 96, inner: 120 },
      { type: 'IQ2_S', hidden: 256, inner: 36 }, // one row at a time, and a codebook behind the image
    ] as const;
    const own = [{ type: 'Q4_0', hidden: 96, inner: 40 }] as const;
    for (const { type, hidden, inner } of variant === 'broadcast' ? sizes : own) {
      const random = new Random(`image ${type} ${inner}`);
      const buffers = testBuffers(gpu);
      const shape = { experts: 5, topK: 2, tokens: 3, hidden, inner };
      const { matrices, isAbsent } = await buffers.experts(
        random,
        type,
        shape.experts,
        [
          [inner, shape.hidden],
          [inner, shape.hidden],
        ],
        { absent: [1], slabs: 2, slots: 7 },
      );
      const [gate, up] = matrices;
      const chosen = chooseExperts(random, shape);
      const ids = await buffers.input(chosen);
      const pairs = chosen.length;
      const words = int8Words(pairs, inner);
      const x = await buffers.inputRows(random.normal(shape.tokens * shape.hidden), shape.hidden);
      const q8 = await buffers.output(words);
      const y = { ...(await buffers.outputRows(pairs, padded(inner))), q8 };
      await runOnGpu(gpu, (rec) =>
        expertGateUp(rec, { gate, up, x, y, ids, pairs, topK: shape.topK, variant }),
      );
      const isPresent = (q: number) => !isAbsent(chosen[q]);
      const columns = { rows: pairs, columns: inner };
      const values = await readRows(gpu, y, columns, 'untouched', isPresent);
      const image = await readOutput(gpu, q8, words);
      // A kernel of its own rounds all rows, those of absent experts too.
      if (variant === 'broadcast') expectInt8Image(values, inner, image, isPresent);
      else {
        for (let q = 0; q < pairs; q++) {
          if (!isPresent(q)) continue;
          const perRow = words / pairs;
          const row = values.subarray(q * inner, (q + 1) * inner);
          expectInt8Image(row, inner, image.subarray(q * perRow, (q + 1) * perRow));
        }
      }
    }
  });
});
