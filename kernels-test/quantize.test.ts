import { describe, it } from 'vitest';
import { linear } from '../src/kernels/linear.ts';
import { padded, type Rows } from '../src/kernels/matrix.ts';
import { quantize } from '../src/kernels/quantize.ts';
import { expectedInt8Linear } from './expected.ts';
import { openTestGpu, readOutput, readRows, runOnGpu, testBuffers } from './harness.ts';
import { expectInt8Image, int8Inexact, int8Words } from './int8-image.ts';
import { Random } from './random.ts';
import { int8Rows } from './reference/int8.ts';
import { matmul } from './reference/ops.ts';
import { expectClose } from './tolerance.ts';

const gpu = await openTestGpu();

async function quantized(values: Float32Array, columns: number) {
  const rows = values.length / columns;
  const buffers = testBuffers(gpu);
  const x = await buffers.inputRows(values, columns);
  const words = int8Words(rows, columns);
  const q8 = await buffers.output(words);
  await runOnGpu(gpu, (rec) => quantize(rec, { ...x, q8 }, rows));
  return { buffers, x: { ...x, q8 } satisfies Rows, image: await readOutput(gpu, q8, words) };
}

describe('quantize', () => {
  it.each([
    { rows: 1, columns: 32 },
    { rows: 3, columns: 61 },
    { rows: 67, columns: 200 },
    { rows: 5, columns: 2048 },
  ])('$rows rows of $columns', async ({ rows, columns }) => {
    const random = new Random(`quantize ${rows} ${columns}`);
    const values = random.normal(rows * columns, 3);
    values.fill(0, 0, 32); // a block of zeros
    const { image } = await quantized(values, columns);
    expectInt8Image(values, columns, image);
  });

  // Each activation moves by half its block's scale at most, each product by that times the weight.
  it.each(['Q4_0', 'Q6_K', 'IQ2_S'] as const)('keeps products of %s near', async (type) => {
    const [n, k] = [37, 512];
    for (const m of [1, 11]) {
      const random = new Random(`near ${type} ${m}`);
      const values = random.normal(m * k);
      const { buffers, x } = await quantized(values, k);
      const w = await buffers.randomMatrix(random, type, n, k);
      const y = await buffers.outputRows(m, padded(n));
      await runOnGpu(gpu, (rec) => linear(rec, { weight: w.matrix, x, y, rows: m }));
      const half = int8Rows(values, k).scales.map((scale) => scale * (0.5 + int8Inexact));
      const moved = matmul(
        w.decoded.map((weight) => Math.abs(weight)),
        half,
        { m, n, k },
      );
      const rounded = expectedInt8Linear(w.decoded, values, { m, n, k });
      expectClose(`${type}, ${m} rows`, await readRows(gpu, y, { rows: m, columns: n }), {
        values: rounded.values,
        tolerance: (i) => moved[i] + rounded.tolerance(i),
      });
    }
  });
});
