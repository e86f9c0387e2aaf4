import { expect, it } from 'vitest';
import { padded } from '../src/kernels/matrix.ts';
import { swiglu } from '../src/kernels/swiglu.ts';
import { exactly, expectedSwiglu } from './expected.ts';
import { openTestGpu, readRows, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { expectClose } from './tolerance.ts';

const gpu = await openTestGpu();

it.each([
  { rows: 1, n: 1 },
  { rows: 2, n: 36 },
  { rows: 33, n: 90 },
  { rows: 5, n: 768 },
])('swiglu of $rows rows of $n', async ({ rows, n }) => {
  const random = new Random(`swiglu ${rows} ${n}`);
  const gateUp = random.normal(rows * 2 * n, 5);
  gateUp[0] = rows % 2 ? 80 : 0;
  const buffers = testBuffers(gpu);
  const input = await buffers.inputRows(gateUp, 2 * n, padded(2 * n) + 8);
  const out = await buffers.outputRows(rows, padded(n) + 8);
  await runOnGpu(gpu, (rec) => swiglu(rec, { gateUp: input, out, n, rows }));
  const gate = new Float32Array(rows * n);
  const up = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) {
    gate.set(gateUp.subarray(2 * row * n, (2 * row + 1) * n), row * n);
    up.set(gateUp.subarray((2 * row + 1) * n, (2 * row + 2) * n), row * n);
  }
  const actual = await readRows(gpu, out, { rows, columns: n }, 'zeros');
  expectClose('swiglu', actual, expectedSwiglu(exactly(gate), exactly(up)));
});

it('swiglu of gates so low that exp overflows is zero', async () => {
  const buffers = testBuffers(gpu);
  const input = await buffers.inputRows(Float32Array.of(-200, -90, 3, 2), 4);
  const out = await buffers.outputRows(1, 8);
  await runOnGpu(gpu, (rec) => swiglu(rec, { gateUp: input, out, n: 2, rows: 1 }));
  for (const value of await readRows(gpu, out, { rows: 1, columns: 2 }, 'zeros')) {
    expect(Math.abs(value)).toBeLessThan(1e-36);
  }
});
