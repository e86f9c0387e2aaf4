import { describe, expect, it } from 'vitest';
import { linear } from '../src/kernels/linear.ts';
import { padded, q8Blocks, type Rows } from '../src/kernels/matrix.ts';
import { quantize } from '../src/kernels/quantize.ts';
import { expectedInt8Linear } from './expected.ts';
import { openTestGpu, readOutput, readRows, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { int8Rows } from './reference/int8.ts';
import { matmul } from './reference/ops.ts';
import { expectClose, unit } from './tolerance.ts';

const gpu = await openTestGpu();

/** How far `x / scale * 127` may be from exact, in integers: a division and two roundings. */
const inexact = 127 * 8 * unit;

async function quantized(values: Float32Array, columns: number) {
  const rows = values.length / columns;
  const buffers = testBuffers(gpu);
  const x = await buffers.inputRows(values, columns);
  const words = rows * q8Blocks(x.stride) * 12;
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
    const bytes = new Int8Array(image.buffer, image.byteOffset, 4 * image.length);
    const floats = new Float32Array(image.buffer, image.byteOffset, image.length);
    const { scales } = int8Rows(values, columns);
    const blocks = q8Blocks(padded(columns));
    for (let row = 0; row < rows; row++) {
      for (let block = 0; block < blocks; block++) {
        const at = (row * blocks + block) * 12;
        const scale = floats[at + 8];
        const sums = [0, 0];
        for (let j = 0; j < 32; j++) {
          const integer = bytes[4 * at + j];
          sums[j < 16 ? 0 : 1] += integer;
          const k = 32 * block + j;
          if (k >= columns) {
            expect(integer).toBe(0);
            continue;
          }
          const i = row * columns + k;
          expect(Math.abs(scale - scales[i])).toBeLessThanOrEqual(8 * unit * scales[i]);
          if (scale === 0) expect(integer).toBe(0);
          else expect(Math.abs(values[i] / scale - integer)).toBeLessThanOrEqual(0.5 + inexact);
        }
        expect(floats[at + 9]).toBe(Math.fround(scale * sums[0]));
        expect(floats[at + 10]).toBe(Math.fround(scale * sums[1]));
        expect(floats[at + 11]).toBe(Math.fround(scale * (sums[0] + sums[1])));
      }
    }
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
      const half = int8Rows(values, k).scales.map((scale) => scale * (0.5 + inexact));
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
