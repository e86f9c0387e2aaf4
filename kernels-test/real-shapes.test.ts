import { describe, expect, it } from 'vitest';
import { attention, attentionScratch } from '../src/kernels/attention.ts';
import { embedding } from '../src/kernels/embedding.ts';
import { linear } from '../src/kernels/linear.ts';
import { expertMatmul, groupByExpert, tileCapacity } from '../src/kernels/matmul.ts';
import { type ExpertMatrix, type Rows, rowBytes } from '../src/kernels/matrix.ts';
import { expertDown, expertGateUp } from '../src/kernels/matvec.ts';
import { qkNormRope } from '../src/kernels/qk-norm-rope.ts';
import { rmsNorm } from '../src/kernels/rmsnorm.ts';
import { router } from '../src/kernels/router.ts';
import { swiglu } from '../src/kernels/swiglu.ts';
import { topK, topKScratch } from '../src/kernels/topk.ts';
import { formats } from '../src/quant/index.ts';
import {
  exactly,
  expectedAttention,
  expectedLinear,
  expectedQkNormRope,
  expectedRmsNorm,
  expectedSwiglu,
} from './expected.ts';
import {
  openTestGpu,
  readFloats,
  readOutput,
  readRows,
  roundedTo,
  runOnGpu,
  type TestBuffers,
  testBuffers,
} from './harness.ts';
import { fillCache, readHeads, testCache } from './kv.ts';
import { Random } from './random.ts';
import { ropeTables, routerTopK, topK as topKReference } from './reference/ops.ts';
import { type Expected, expectClose, expectSame, sumError } from './tolerance.ts';

// The shapes of the two models, in BF16, on the kernels that this device would choose. Each kernel is
// compared with the reference on the inputs that it had: what the kernel before it gave.
const gpu = await openTestGpu();
const eps = 1e-6;

/** Distinct rows of large matrices: a prime, so that no shape is a multiple of it. */
const distinctRows = 211;

const models = [
  { name: '30B', hidden: 2048, qHeads: 32, kvHeads: 4, experts: 128, inner: 768 },
  { name: '480B', hidden: 6144, qHeads: 96, kvHeads: 8, experts: 160, inner: 2560 },
] as const;
const headDim = 128;
const topExperts = 8;

type Model = (typeof models)[number];

/** Random weights of a matrix whose rows repeat, as BF16 has them. */
function weightRows(random: Random, columns: number): Float32Array {
  return roundedTo('BF16', random.normal(distinctRows * columns, 1 / Math.sqrt(columns)));
}

/** What a linear layer with repeated rows gives: the distinct rows' products, over and over. */
function expectedRepeated(block: Float32Array, x: Float32Array, m: number, n: number): Expected {
  const once = expectedLinear(block, x, { m, n: distinctRows, k: x.length / m });
  const from = (i: number) => Math.floor(i / n) * distinctRows + ((i % n) % distinctRows);
  const values = new Float64Array(m * n);
  for (let i = 0; i < values.length; i++) values[i] = once.values[from(i)];
  return { values, tolerance: (i) => once.tolerance(from(i)) };
}

/** One row of what is expected of [any, n]. */
function rowOf({ values, tolerance }: Expected, row: number, n: number): Expected {
  return {
    values: values.subarray(row * n, (row + 1) * n),
    tolerance: (i) => tolerance(row * n + i),
  };
}

describe.each(models)('attention block of $name', (model) => {
  it.each([
    { tokens: 1, position: 300 },
    { tokens: 3, position: 0 },
  ])('$tokens tokens from position $position on', (at) => attentionBlock(model, at));
});

async function attentionBlock(
  { name, hidden, qHeads, kvHeads }: Model,
  { tokens, position }: { tokens: number; position: number },
) {
  const random = new Random(`attention block of ${name}`);
  const buffers = testBuffers(gpu);
  const qkvWidth = (qHeads + 2 * kvHeads) * headDim;
  const qWidth = qHeads * headDim;
  const context = position + tokens;
  const qkvBlock = weightRows(random, hidden);
  const oBlock = weightRows(random, qWidth);
  const qkvWeight = await buffers.repeatedMatrix('BF16', qkvBlock, hidden, qkvWidth);
  const oWeight = await buffers.repeatedMatrix('BF16', oBlock, qWidth, hidden);
  const xBefore = random.normal(tokens * hidden);
  const gain = random.normal(hidden);
  const gains = random.normal(2 * headDim);
  const tables = ropeTables({ headDim, ropeTheta: 1e7, yarn: undefined });
  const rope = new Float32Array(tokens * headDim);
  for (let i = 0; i < (tokens * headDim) / 2; i++) {
    const pair = i % (headDim / 2);
    const angle = (position + Math.floor((2 * i) / headDim)) * tables.inverseFrequencies[pair];
    rope.set([Math.cos(angle), Math.sin(angle)], 2 * i);
  }
  const kv = await testCache(buffers, { type: 'f32', capacity: context, headDim, kvHeads });
  const past = random.normal(position * kvHeads * headDim);
  fillCache(buffers, kv, past, past, kvHeads);

  const x = await buffers.inputRows(xBefore, hidden);
  const normed = await buffers.outputRows(tokens, hidden);
  const qkv = await buffers.outputRows(tokens, qkvWidth);
  const q = await buffers.output(tokens * qWidth);
  const attended = await buffers.outputRows(tokens, qWidth);
  const out = await buffers.outputRows(tokens, hidden);
  const scratch = attentionScratch(qHeads, headDim);
  const sums = await buffers.output(scratch.sums);
  const partial = await buffers.output(scratch.partial);
  const gainSlice = await buffers.input(gain);
  const gainsSlice = await buffers.input(gains);
  const ropeSlice = await buffers.input(rope);
  await runOnGpu(gpu, (rec) => {
    const here = { qHeads, kvHeads, position, tokens };
    rmsNorm(rec, { x, gain: gainSlice, out: normed, n: hidden, rows: tokens, eps });
    linear(rec, { weight: qkvWeight, x: normed, y: qkv, rows: tokens });
    qkNormRope(rec, { qkv, rope: ropeSlice, gains: gainsSlice, q, kv, eps, ...here });
    attention(rec, { q, kv, out: attended, sums, partial, ...here });
    linear(rec, { weight: oWeight, x: attended, y: out, rows: tokens });
  });

  const read = (rows: Rows, columns: number) => readRows(gpu, rows, { rows: tokens, columns });
  const normedValues = await read(normed, hidden);
  expectClose('norm', normedValues, expectedRmsNorm(exactly(xBefore), gain, eps));
  const qkvValues = await read(qkv, qkvWidth);
  expectClose('qkv', qkvValues, expectedRepeated(qkvBlock, normedValues, tokens, qkvWidth));
  const qValues = await readFloats(gpu, q, tokens * qWidth);
  const qInput = pickColumns(qkvValues, qkvWidth, 0, qWidth);
  const qAt = { heads: qHeads, headDim, start: position };
  const qGain = gains.subarray(0, headDim);
  expectClose('q', qValues, expectedQkNormRope(qInput, qGain, eps, tables, qAt));
  const [keys, values] = await readHeads(gpu, kv, kvHeads);
  const newKeys = pickColumns(qkvValues, qkvWidth, qWidth, kvHeads * headDim);
  const kAt = { ...qAt, heads: kvHeads };
  expectClose(
    'k',
    keys.subarray(past.length),
    expectedQkNormRope(newKeys, gains.subarray(headDim), eps, tables, kAt),
  );
  const newValues = pickColumns(qkvValues, qkvWidth, qWidth + kvHeads * headDim, kvHeads * headDim);
  expectSame('v', values.subarray(past.length), newValues);
  const attendedValues = await read(attended, qWidth);
  const shape = { heads: qHeads, kvHeads, headDim, start: position };
  expectClose('attention', attendedValues, expectedAttention(qValues, keys, values, shape));
  const o = expectedRepeated(oBlock, attendedValues, tokens, hidden);
  expectClose('o', await read(out, hidden), o);
}

/** Columns [first, first + count) of [rows, width]. */
function pickColumns(values: Float32Array, width: number, first: number, count: number) {
  const rows = values.length / width;
  const out = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    const at = row * width + first;
    out.set(values.subarray(at, at + count), row * count);
  }
  return out;
}

describe.each(models)('MoE block of $name', (model) => {
  it.each([1, 3])('%i tokens', (tokens) => moeBlock(model, tokens));
});

/** Slots that all experts share: expert e is in slot e % slots. */
const slots = 3;

/** Matrices of all experts, in a few slots. */
async function repeatedExperts(
  buffers: TestBuffers,
  random: Random,
  shapes: readonly (readonly [number, number])[],
  experts: number,
) {
  const slotBytes = shapes.reduce(
    (sum, [rows, columns]) => sum + rows * rowBytes('BF16', columns),
    0,
  );
  const perSlab = Math.min(slots, Math.floor(gpu.capabilities.maxBindingBytes / slotBytes));
  const blocks = shapes.map(([, columns]) =>
    Array.from({ length: slots }, () => weightRows(random, columns)),
  );
  const slabs: { slice: ExpertMatrix['slotOf']; firstSlot: number; slots: number }[] = [];
  for (let slot = 0; slot < slots; slot += perSlab) {
    const count = Math.min(perSlab, slots - slot);
    const buffer = await buffers.allocate('test', count * slotBytes);
    slabs.push({ slice: buffer.all(), firstSlot: slot, slots: count });
  }
  const slotOf = await buffers.input(Uint32Array.from({ length: experts }, (_, e) => e % slots));
  let start = 0;
  const matrices = shapes.map(([rows, columns], i): ExpertMatrix => {
    const stride = rowBytes('BF16', columns);
    for (let slot = 0; slot < slots; slot++) {
      const slab = slabs[Math.floor(slot / perSlab)];
      const bytes = formats.BF16.encode(blocks[i][slot]);
      for (let row = 0; row < rows; row += distinctRows) {
        const run = Math.min(distinctRows, rows - row);
        const at = (slot - slab.firstSlot) * slotBytes + start + row * stride;
        gpu.write(slab.slice.buffer, at, bytes.subarray(0, run * stride));
      }
    }
    const offset = start;
    start += rows * stride;
    return { type: 'BF16', rows, columns, slabs, slotBytes, offset, slotOf, table: 0 };
  });
  return { matrices, blocks };
}

async function moeBlock({ name, hidden, experts, inner }: Model, tokens: number) {
  const random = new Random(`MoE block of ${name}`);
  const buffers = testBuffers(gpu);
  const gate = await buffers.matrix('BF16', random.normal(experts * hidden, 0.02), hidden);
  const gateUp = await repeatedExperts(
    buffers,
    random,
    [
      [inner, hidden],
      [inner, hidden],
    ],
    experts,
  );
  const downs = await repeatedExperts(buffers, random, [[hidden, inner]], experts);
  const xValues = random.normal(tokens * hidden);
  const residualBefore = random.normal(tokens * hidden);
  const gain = random.normal(hidden);
  const pairs = tokens * topExperts;

  const x = await buffers.inputRows(xValues, hidden);
  const residual = await buffers.inputRows(residualBefore, hidden);
  const gainSlice = await buffers.input(gain);
  const logits = await buffers.outputRows(tokens, experts);
  const ids = await buffers.output(pairs);
  const weights = await buffers.output(pairs);
  const between = await buffers.outputRows(pairs, inner);
  const bothRows = await buffers.outputRows(pairs, 2 * inner);
  const out = await buffers.outputRows(pairs, hidden);
  const normed = await buffers.outputRows(tokens, hidden);
  const groups = {
    order: await buffers.output(pairs),
    tiles: await buffers.output(4 * tileCapacity(pairs, experts)),
    counts: (await buffers.allocate('counts', 32, 0x100)).all(),
  };
  const [gateMatrix, upMatrix] = gateUp.matrices;
  const down = downs.matrices[0];
  await runOnGpu(gpu, (rec) => {
    linear(rec, { weight: gate.matrix, x, y: logits, rows: tokens });
    router(rec, { logits, experts, topK: topExperts, normalise: true, tokens, ids, weights });
    if (tokens === 1) {
      const chosen = { ids, pairs, topK: topExperts };
      expertGateUp(rec, { gate: gateMatrix, up: upMatrix, x, y: between, ...chosen });
      expertDown(rec, { down, x: between, y: out, ...chosen });
    } else {
      const grouped = { pairs, experts, groups };
      const columns = { columns1: inner, columns2: hidden };
      groupByExpert(rec, { ids, slotOf: down.slotOf, table: 0, ...grouped, ...columns });
      const first = { x, y: bothRows, divisor: topExperts, product: 0, ...grouped } as const;
      expertMatmul(rec, { weight: gateMatrix, ...first });
      expertMatmul(rec, { weight: upMatrix, first: inner, ...first });
      swiglu(rec, { gateUp: bothRows, out: between, n: inner, rows: pairs });
      expertMatmul(rec, { weight: down, x: between, y: out, divisor: 1, product: 1, ...grouped });
    }
    const addend = { rows: out, scale: weights, slots: topExperts };
    rmsNorm(rec, {
      x: residual,
      gain: gainSlice,
      out: normed,
      n: hidden,
      rows: tokens,
      eps,
      addend,
    });
  });

  const logitValues = await readRows(gpu, logits, { rows: tokens, columns: experts });
  const size = { m: tokens, n: experts, k: hidden };
  expectClose('router logits', logitValues, expectedLinear(gate.decoded, xValues, size));
  const routing = routerTopK(logitValues, { experts, k: topExperts, normTopkProb: true });
  const chosen = await readOutput(gpu, ids, pairs);
  expectSame('experts', chosen, routing.experts);
  const weightValues = await readFloats(gpu, weights, pairs);
  const betweenValues = await readRows(gpu, between, { rows: pairs, columns: inner });
  const outValues = await readRows(gpu, out, { rows: pairs, columns: hidden });
  const [gates, ups] = gateUp.blocks.map((blocks) =>
    blocks.map((block) => expectedRepeated(block, xValues, tokens, inner)),
  );
  const [downOuts] = downs.blocks.map((blocks) =>
    blocks.map((block) => expectedRepeated(block, betweenValues, pairs, hidden)),
  );
  const sums = Float64Array.from(residualBefore);
  const sizes = sums.map(Math.abs);
  for (let pair = 0; pair < pairs; pair++) {
    const token = Math.floor(pair / topExperts);
    const slot = chosen[pair] % slots;
    expectClose(
      `gate-up of pair ${pair}`,
      betweenValues.subarray(pair * inner, (pair + 1) * inner),
      expectedSwiglu(rowOf(gates[slot], token, inner), rowOf(ups[slot], token, inner)),
    );
    const y = outValues.subarray(pair * hidden, (pair + 1) * hidden);
    expectClose(`down of pair ${pair}`, y, rowOf(downOuts[slot], pair, hidden));
    for (let i = 0; i < hidden; i++) {
      sums[token * hidden + i] += weightValues[pair] * y[i];
      sizes[token * hidden + i] += Math.abs(weightValues[pair] * y[i]);
    }
  }
  const error = sumError(topExperts + 1);
  const after = { values: sums, tolerance: (i: number) => sizes[i] * error };
  expectClose('residual', await readRows(gpu, residual, { rows: tokens, columns: hidden }), after);
  expectClose(
    'next norm',
    await readRows(gpu, normed, { rows: tokens, columns: hidden }),
    expectedRmsNorm(after, gain, eps),
  );
}

it('embedding and lm_head of 480B, 1.9 GB each, span many bindings', async () => {
  const [vocab, hidden] = [151_936, 6144];
  const random = new Random('lm_head');
  const buffers = testBuffers(gpu);
  const blockRows = 1361; // 16 MB, and a prime
  const block = roundedTo('BF16', random.normal(blockRows * hidden, 0.02));
  const table = await buffers.repeatedMatrix('BF16', block, hidden, vocab);
  const smallest = Math.ceil((vocab * rowBytes('BF16', hidden)) / gpu.capabilities.maxBindingBytes);
  expect(table.parts.length).toBeGreaterThanOrEqual(smallest);

  const xValues = random.normal(hidden);
  const x = await buffers.inputRows(xValues, hidden);
  const logits = await buffers.outputRows(1, vocab);
  const ids = Uint32Array.from(
    table.parts.flatMap(({ firstRow, rows }) => [firstRow, firstRow + rows - 1]),
  );
  const embedded = await buffers.outputRows(ids.length, hidden);
  const idSlice = await buffers.input(ids);
  const [scratchValues, scratchIds] = [
    await buffers.output(topKScratch(vocab)),
    await buffers.output(topKScratch(vocab)),
  ];
  const [topValues, topIds] = [await buffers.output(64), await buffers.output(64)];
  await runOnGpu(gpu, (rec) => {
    linear(rec, { weight: table, x, y: logits, rows: 1 });
    const scratch = { scratchValues, scratchIds };
    topK(rec, {
      logits: logits.slice,
      n: vocab,
      k: 64,
      ...scratch,
      values: topValues,
      ids: topIds,
    });
    embedding(rec, { table, ids: idSlice, out: embedded, tokens: ids.length });
  });

  const actual = await readRows(gpu, logits, { rows: 1, columns: vocab });
  const once = expectedLinear(block, xValues, { m: 1, n: blockRows, k: hidden });
  expectClose('logits', actual, {
    values: Float64Array.from(actual, (_, i) => once.values[i % blockRows]),
    tolerance: (i) => once.tolerance(i % blockRows),
  });
  const best = topKReference(actual, 64);
  expectSame('best tokens', await readOutput(gpu, topIds, 64), best.ids);
  const rows = await readRows(gpu, embedded, { rows: ids.length, columns: hidden });
  ids.forEach((id, t) => {
    const row = id % blockRows;
    expectSame(
      `embedding of ${id}`,
      rows.subarray(t * hidden, (t + 1) * hidden),
      block.subarray(row * hidden, (row + 1) * hidden),
    );
  });
});
