import { describe, expect, it } from 'vitest';
import { embedding } from '../src/kernels/embedding.ts';
import { padded } from '../src/kernels/matrix.ts';
import { formats, type TensorType } from '../src/quant/index.ts';
import { openTestGpu, readRows, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { embedding as reference } from './reference/ops.ts';
import { expectSame } from './tolerance.ts';

const gpus = [await openTestGpu(), await openTestGpu({ f16: false })];

describe.each(gpus)('embedding, f16 in shaders: $capabilities.f16', (gpu) => {
  describe.each(Object.keys(formats) as TensorType[])('%s', (type) => {
    it.each([
      { vocab: 1, columns: 1, parts: [0], tokens: 1 },
      { vocab: 7, columns: 8, parts: [0], tokens: 2 },
      { vocab: 50, columns: 90, parts: [0], tokens: 33 },
      { vocab: 50, columns: 88, parts: [0, 1, 30, 49], tokens: 9 },
      { vocab: 20, columns: 2048, parts: [0, 10], tokens: 5 },
    ])(
      '$tokens tokens of a $vocab x $columns table in parts from $parts',
      async ({ vocab, columns, parts, tokens }) => {
        const random = new Random(`embedding ${vocab} ${columns}`);
        const buffers = testBuffers(gpu);
        const table = await buffers.matrix(type, random.normal(vocab * columns), columns, parts);
        // The first and last row of every part, then any.
        const borders = parts.flatMap((row) => [row, row - 1]).filter((row) => row >= 0);
        const ids = Uint32Array.from(
          { length: tokens },
          (_, t) => borders[t] ?? random.below(vocab),
        );
        const out = await buffers.outputRows(tokens, padded(columns) + 8);
        const idSlice = await buffers.input(ids);
        await runOnGpu(gpu, (rec) =>
          embedding(rec, { table: table.matrix, ids: idSlice, out, tokens }),
        );
        // Padding columns are decoded like the others: they are zeros in the table.
        const written = await readRows(gpu, out, { rows: tokens, columns: padded(columns) });
        const expected = reference(table.decoded, ids, columns);
        for (let t = 0; t < tokens; t++) {
          const row = written.subarray(t * padded(columns), (t + 1) * padded(columns));
          expectSame(
            `token ${t}`,
            row.subarray(0, columns),
            expected.slice(t * columns, (t + 1) * columns),
          );
          expect(row.subarray(columns).every((value) => value === 0)).toBe(true);
        }
      },
    );
  });

  it.each(['F16', 'BF16'] as const)('decodes every finite pattern of %s', async (type) => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = new Float32Array(65536);
    formats[type].decode(new Uint8Array(patterns.buffer), values);
    const finite = values.map((value) => (Number.isFinite(value) ? value : 0));
    const buffers = testBuffers(gpu);
    const table = await buffers.matrix(type, finite, 8192);
    const ids = Uint32Array.from({ length: 8 }, (_, i) => i);
    const out = await buffers.outputRows(8, 8192);
    const idSlice = await buffers.input(ids);
    await runOnGpu(gpu, (rec) =>
      embedding(rec, { table: table.matrix, ids: idSlice, out, tokens: 8 }),
    );
    const written = await readRows(gpu, out, { rows: 8, columns: 8192 });
    // WGSL allows to flush what is subnormal in binary32; bf16 has such values.
    const smallest = 2 ** -126;
    const flushed = (x: number) => (Math.abs(x) < smallest ? 0 : x);
    expectSame('values', written.map(flushed), finite.map(flushed));
  });
});
