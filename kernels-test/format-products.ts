import { expect } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import type { Recorder } from '../src/gpu/recorder.ts';
import { embedding } from '../src/kernels/embedding.ts';
import {
  expertMatmul,
  groupByExpert,
  type MatmulVariant,
  matmul,
  tileCapacity,
} from '../src/kernels/matmul.ts';
import { padded, paddedFor, type Rows } from '../src/kernels/matrix.ts';
import {
  expertDown,
  expertGateUp,
  expertMatvec,
  type MatvecVariant,
  matvec,
} from '../src/kernels/matvec.ts';
import { type NumberType, numberFormats } from '../src/quant/index.ts';
import { expectedInt8Linear, expectedLinear, expectedSwiglu } from './expected.ts';
import { openTestGpu, readRows, runOnGpu, type TestBuffers, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { int8Rows } from './reference/int8.ts';
import { embedding as referenceEmbedding } from './reference/ops.ts';
import type { Values } from './reference/values.ts';
import { thorough } from './thorough.ts';
import { expectClose, expectSame } from './tolerance.ts';

// Every kernel with every format whose values share scales, against float64 products of what the
// CPU decodes. The weights are blocks of random bits: every scale, sign and number occurs. Floats are
// the business of the kernels' own tests.

/** The GPU of these checks, unless they are given another. */
export const gpu = await openTestGpu();
const indirectUsage = 0x100;

/** Every format whose values share scales. */
export const blockTypes = (Object.keys(numberFormats) as NumberType[]).filter(
  (type) => type !== 'F8_E4M3' && numberFormats[type].blockElements > 1,
);
/** One of each kind: with units of several octets or without, and blocks beginning at any byte. */
export const representativeTypes: readonly NumberType[] = ['Q4_0', 'Q6_K', 'IQ3_S', 'F8_B128'];

/** Rows of one block (which need not end on a word) and of several; in F8_B128 they end anywhere. */
function columnsOf(type: NumberType): readonly [one: number, several: number] {
  const { blockElements } = numberFormats[type];
  return type === 'F8_B128' ? [90, 300] : [blockElements, 3 * blockElements];
}

/** How activations meet the weights. */
export type Arithmetic = 'f32' | 'int8';

/** Formats that can be multiplied in int8. */
export const integerTypes = blockTypes.filter((type) => numberFormats[type].hasIntegers);

/** Whether to multiply several tokens at once by matvec, too, whose kernel is the longest to compile. */
export function hasBatches(type: NumberType): boolean {
  return thorough || representativeTypes.includes(type);
}

/**
 * The kernels of experts to test a format in: they are the same code on other rows, so each format has
 * each of them in one of the arithmetics.
 */
export function hasExperts(type: NumberType, arithmetic: Arithmetic) {
  const all = thorough || !integerTypes.includes(type) || type === 'Q4_0';
  const matvec = (blockTypes.indexOf(type) % 2 === 0) === (arithmetic === 'f32');
  return { matvec: all || matvec, matmul: all || !matvec };
}

/**
 * Rows of x, with the zeros that blocks want past the columns, and what they stand for. In int8,
 * their floats are poison.
 */
async function inputFor(
  buffers: TestBuffers,
  type: NumberType,
  arithmetic: Arithmetic,
  values: Float32Array,
  columns: number,
): Promise<{ rows: Rows; values: Values }> {
  const stride = paddedFor(type, columns);
  if (arithmetic === 'f32')
    return { rows: await buffers.inputRows(values, columns, stride), values };
  const { image, values: quantized } = int8Rows(values, columns);
  const rows = await buffers.outputRows(values.length / columns, stride);
  return { rows: { ...rows, q8: await buffers.input(image) }, values: quantized };
}

const expectedOf = { f32: expectedLinear, int8: expectedInt8Linear };

interface LinearShape {
  rows: number;
  columns: number;
  tokens: number;
  parts?: readonly number[];
}

async function checkLinear(
  type: NumberType,
  arithmetic: Arithmetic,
  shape: LinearShape,
  what: string,
  product: (
    rec: Recorder,
    args: Pick<Parameters<typeof matvec>[1], 'weight' | 'x' | 'y' | 'tokens'>,
  ) => void,
  on: Gpu,
) {
  const { rows, columns, tokens, parts } = shape;
  const random = new Random(`${type} ${rows} ${columns} ${tokens}`);
  const buffers = testBuffers(on);
  const w = await buffers.randomMatrix(random, type, rows, columns, parts);
  const values = random.normal(tokens * columns, 1 / Math.sqrt(columns));
  const x = await inputFor(buffers, type, arithmetic, values, columns);
  const y = await buffers.outputRows(tokens, padded(rows));
  await runOnGpu(on, (rec) => product(rec, { weight: w.matrix, x: x.rows, y, tokens }));
  expectClose(
    `${what}, ${type} ${arithmetic} ${JSON.stringify(shape)}`,
    await readRows(on, y, { rows: tokens, columns: rows }),
    expectedOf[arithmetic](w.decoded, x.values, { m: tokens, n: rows, k: columns }),
  );
}

/** @param batches also several tokens at once */
export async function checkMatvec(
  type: NumberType,
  arithmetic: Arithmetic,
  variant: MatvecVariant,
  batches: boolean,
  on = gpu,
) {
  const [one, several] = columnsOf(type);
  const single = [
    { rows: 1, columns: one, tokens: 1 },
    { rows: 7, columns: several, tokens: 1 },
    { rows: 45, columns: one, tokens: 1, parts: [0, 1, 38] },
    { rows: 6, columns: 9 * one, tokens: 1 },
  ];
  const together = [
    { rows: 45, columns: one, tokens: 4, parts: [0, 3, 20] },
    { rows: 9, columns: several, tokens: 7 },
  ];
  for (const shape of batches ? [...single, ...together] : single) {
    await checkLinear(
      type,
      arithmetic,
      shape,
      `matvec, ${variant}`,
      (rec, args) => matvec(rec, { ...args, variant }),
      on,
    );
  }
}

export async function checkMatmul(
  type: NumberType,
  arithmetic: Arithmetic,
  variant: MatmulVariant,
  on = gpu,
) {
  const [one, several] = columnsOf(type);
  // All in one pipeline: the tile of 5 to 16 rows.
  for (const shape of [
    { rows: 1, columns: one, tokens: 9 },
    { rows: 45, columns: one, tokens: 9, parts: [0, 1, 38] },
    { rows: 67, columns: several, tokens: 13 },
    { rows: 259, columns: one, tokens: 5 },
  ]) {
    await checkLinear(
      type,
      arithmetic,
      shape,
      `matmul, ${variant}`,
      (rec, { tokens, ...args }) => matmul(rec, { ...args, rows: tokens, variant }),
      on,
    );
  }
}

export async function checkEmbedding(type: NumberType) {
  const [one, several] = columnsOf(type);
  for (const [columns, parts] of [
    [one, [0, 1, 30]],
    [several, [0, 7]],
  ] as const) {
    const vocab = 43;
    const random = new Random(`embedding ${type} ${columns}`);
    const buffers = testBuffers(gpu);
    const table = await buffers.randomMatrix(random, type, vocab, columns, parts);
    const ids = Uint32Array.of(0, vocab - 1, ...parts, parts[1] - 1, random.below(vocab));
    const out = await buffers.outputRows(ids.length, padded(columns) + 8);
    const idSlice = await buffers.input(ids);
    await runOnGpu(gpu, (rec) =>
      embedding(rec, { table: table.matrix, ids: idSlice, out, tokens: ids.length }),
    );
    const width = padded(columns);
    const written = await readRows(gpu, out, { rows: ids.length, columns: width });
    const expected = referenceEmbedding(table.decoded, ids, columns);
    for (let t = 0; t < ids.length; t++) {
      const row = written.subarray(t * width, (t + 1) * width);
      expectSame(
        `embedding, ${type}, token ${t}`,
        row.subarray(0, columns),
        expected.slice(t * columns, (t + 1) * columns),
      );
      expect(row.subarray(columns).every((value) => value === 0)).toBe(true);
    }
  }
}

/** Gate, up and down of some experts in two kinds of slots, the pairs that chose them, and inputs. */
async function expertCase(type: NumberType, arithmetic: Arithmetic, tokens: number, on: Gpu) {
  const [one, several] = columnsOf(type);
  const [experts, topK, inner, outer] = [5, 2, 37, 29];
  const absent = [1];
  const random = new Random(`experts ${type} ${tokens}`);
  const buffers = testBuffers(on);
  const gateUp = await buffers.experts(
    random,
    type,
    experts,
    [
      [inner, several],
      [inner, several],
    ],
    { absent, slabs: 2, slots: experts + 3 },
  );
  const downs = await buffers.experts(random, type, experts, [[outer, one]], { absent, slabs: 3 });
  const chosen = Uint32Array.from(
    Array.from({ length: tokens }, () => random.permutation(experts).slice(0, topK)).flat(),
  );
  const pairs = chosen.length;
  const hidden = await inputFor(
    buffers,
    type,
    arithmetic,
    random.normal(tokens * several),
    several,
  );
  const between = await inputFor(buffers, type, arithmetic, random.normal(pairs * one), one);
  return {
    buffers,
    experts,
    topK,
    pairs,
    chosen,
    ids: await buffers.input(chosen),
    gate: { matrix: gateUp.matrices[0], rows: inner, decoded: gateUp.decoded[0] },
    up: { matrix: gateUp.matrices[1], rows: inner, decoded: gateUp.decoded[1] },
    down: { matrix: downs.matrices[0], rows: outer, decoded: downs.decoded[0] },
    on,
    arithmetic,
    x: hidden.rows,
    betweenX: between.rows,
    isPresent: (q: number) => !absent.includes(chosen[q]),
    hiddenOf: (q: number) =>
      hidden.values.slice(Math.floor(q / topK) * several, (Math.floor(q / topK) + 1) * several),
    betweenOf: (q: number) => between.values.slice(q * one, (q + 1) * one),
  };
}

type ExpertCase = Awaited<ReturnType<typeof expertCase>>;

/** What the expert of pair q should make of `input` by one of its matrices. */
function expectedPair(of: ExpertCase, w: ExpertCase['gate'], q: number, x: Values) {
  return expectedOf[of.arithmetic](w.decoded[of.chosen[q]], x, { m: 1, n: w.rows, k: x.length });
}

/** Checks the products of every pair whose expert is there, and that the others were left alone. */
async function expectPairs(
  what: string,
  of: ExpertCase,
  y: Rows,
  expected: (q: number) => ReturnType<typeof expectedPair>[],
) {
  const columns = expected(0).reduce((sum, { values }) => sum + values.length, 0);
  const shape = { rows: of.pairs, columns };
  const actual = await readRows(of.on, y, shape, 'untouched', of.isPresent);
  for (let q = 0; q < of.pairs; q++) {
    if (!of.isPresent(q)) continue;
    let at = q * columns;
    for (const part of expected(q)) {
      const n = part.values.length;
      expectClose(`${what}, pair ${q}`, actual.subarray(at, at + n), part);
      at += n;
    }
  }
}

export async function checkExpertMatvec(
  type: NumberType,
  arithmetic: Arithmetic,
  variant: MatvecVariant,
  on = gpu,
) {
  const of = await expertCase(type, arithmetic, 3, on);
  const { buffers, gate, up, down, x, topK, pairs, ids } = of;
  const inner = await buffers.outputRows(pairs, padded(gate.rows));
  const both = await buffers.outputRows(pairs, padded(2 * gate.rows));
  const out = await buffers.outputRows(pairs, padded(down.rows));
  const shared = { ids, pairs, topK, variant };
  await runOnGpu(on, (rec) => {
    expertGateUp(rec, { ...shared, gate: gate.matrix, up: up.matrix, x, y: inner });
    const product = { ...shared, x, y: both, divisor: topK };
    expertMatvec(rec, { ...product, weight: gate.matrix });
    expertMatvec(rec, { ...product, weight: up.matrix, first: gate.rows });
    expertDown(rec, { ...shared, down: down.matrix, x: of.betweenX, y: out });
  });
  const gateAndUp = (q: number) => [
    expectedPair(of, gate, q, of.hiddenOf(q)),
    expectedPair(of, up, q, of.hiddenOf(q)),
  ];
  await expectPairs(`gate-up, ${type} ${arithmetic}, ${variant}`, of, inner, (q) => {
    const [g, u] = gateAndUp(q);
    return [expectedSwiglu(g, u)];
  });
  await expectPairs(`gate and up, ${type} ${arithmetic}, ${variant}`, of, both, gateAndUp);
  await expectPairs(`down, ${type} ${arithmetic}, ${variant}`, of, out, (q) => [
    expectedPair(of, down, q, of.betweenOf(q)),
  ]);
}

export async function checkExpertMatmul(
  type: NumberType,
  arithmetic: Arithmetic,
  variant: MatmulVariant,
  on = gpu,
) {
  const of = await expertCase(type, arithmetic, 17, on);
  const { buffers, experts, gate, up, down, topK, pairs, ids } = of;
  const both = await buffers.outputRows(pairs, padded(2 * gate.rows));
  const out = await buffers.outputRows(pairs, padded(down.rows));
  // The tiles of a product name slots, so each kind of slots has its own.
  for (const [first, products] of [
    [
      gate.matrix,
      [
        { weight: gate.matrix, x: of.x, y: both, divisor: topK },
        { weight: up.matrix, x: of.x, y: both, divisor: topK, first: gate.rows },
      ],
    ],
    [down.matrix, [{ weight: down.matrix, x: of.betweenX, y: out, divisor: 1 }]],
  ] as const) {
    const groups = {
      order: await buffers.output(pairs),
      tiles: await buffers.output(4 * tileCapacity(pairs, experts)),
      counts: (await buffers.allocate('counts', 32, indirectUsage)).all(),
    };
    const shared = { pairs, experts, groups, variant };
    const { slotOf, table, rows } = first;
    await runOnGpu(on, (rec) => {
      groupByExpert(rec, { ...shared, ids, slotOf, table, columns1: rows, columns2: rows });
      for (const product of products) expertMatmul(rec, { ...shared, ...product, product: 1 });
    });
  }
  await expectPairs(`grouped gate and up, ${type} ${arithmetic}, ${variant}`, of, both, (q) => [
    expectedPair(of, gate, q, of.hiddenOf(q)),
    expectedPair(of, up, q, of.hiddenOf(q)),
  ]);
  await expectPairs(`grouped down, ${type} ${arithmetic}, ${variant}`, of, out, (q) => [
    expectedPair(of, down, q, of.betweenOf(q)),
  ]);
}
