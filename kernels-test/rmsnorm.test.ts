import { describe, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { type LanesVariant, lanesVariants } from '../src/kernels/lanes.ts';
import { padded } from '../src/kernels/matrix.ts';
import { type Addend, rmsNorm } from '../src/kernels/rmsnorm.ts';
import { expectedRmsNorm } from './expected.ts';
import { openTestGpu, padRows, readOutput, readRows, runOnGpu, testBuffers } from './harness.ts';
import { expectInt8Image, int8Words } from './int8-image.ts';
import { Random } from './random.ts';
import { expectClose, sumError } from './tolerance.ts';

const gpu = await openTestGpu();
const asHardware = await openTestGpu({ software: false });
const eps = 1e-6;

interface Case {
  rows: number;
  n: number;
  /** First of the rows that are normalised. */
  first?: number;
  /** Outputs that are added per row, each with a weight; 0: one without. */
  slots?: number;
  /** Whether the int8 image of the result is wanted too. */
  q8?: boolean;
  values?: (random: Random, length: number) => Float32Array;
}

async function check(on: Gpu, variant: LanesVariant, each: Case) {
  const { rows, n, first = 0, slots, q8 = false, values } = each;
  const random = new Random(`rmsnorm ${rows} ${n} ${slots}`);
  const buffers = testBuffers(on);
  const stride = padded(n);
  const all = first + rows;
  const make = values ?? ((r: Random, length: number) => r.normal(length, 3));
  const xBefore = make(random, all * n);
  const gain = random.normal(n);
  const x = await buffers.inputRows(xBefore, n);
  const words = int8Words(rows, n);
  const out = {
    ...(await buffers.outputRows(rows, stride)),
    ...(q8 && { q8: await buffers.output(words) }),
  };
  const gainSlice = await buffers.input(padRows(gain, n, stride));

  let addend: Addend | undefined;
  const sum = Float64Array.from(xBefore);
  const sumSize = Float64Array.from(xBefore, Math.abs);
  if (slots !== undefined) {
    const count = Math.max(1, slots);
    const added = random.normal(all * count * n);
    const scale = slots ? random.normal(all * slots) : undefined;
    for (let row = first; row < all; row++) {
      for (let s = 0; s < count; s++) {
        const weight = scale?.[row * count + s] ?? 1;
        for (let i = 0; i < n; i++) {
          const term = weight * added[(row * count + s) * n + i];
          sum[row * n + i] += term;
          sumSize[row * n + i] += Math.abs(term);
        }
      }
    }
    const addedRows = await buffers.inputRows(added, n);
    addend = scale
      ? { rows: addedRows, scale: await buffers.input(scale), slots: count }
      : { rows: addedRows };
  }

  await runOnGpu(on, (rec) =>
    rmsNorm(rec, { x, gain: gainSlice, out, n, rows, first, eps, addend, variant }),
  );

  const roundings = slots === undefined ? 0 : sumError(Math.max(1, slots) + 1);
  const summed = { values: sum, tolerance: (i: number) => sumSize[i] * roundings };
  expectClose('x', await readRows(on, x, { rows: all, columns: n }, 'zeros'), summed);
  const normalised = {
    values: sum.subarray(first * n),
    tolerance: (i: number) => summed.tolerance(first * n + i),
  };
  const actual = await readRows(on, out, { rows, columns: n }, 'zeros');
  expectClose(`rmsnorm of ${rows} x ${n}`, actual, expectedRmsNorm(normalised, gain, eps));
  if (out.q8) expectInt8Image(actual, n, await readOutput(on, out.q8, words));
}

const cases: readonly Case[] = [
  { rows: 1, n: 1 },
  { rows: 1, n: 88 },
  { rows: 3, n: 90, first: 2 },
  { rows: 5, n: 6, first: 1 },
  { rows: 33, n: 264 },
  { rows: 2, n: 2048 },
  { rows: 9, n: 16, values: (_, length) => new Float32Array(length).fill(0.5) },
  // Tiny and zero rows: eps decides.
  { rows: 4, n: 64, values: (random, length) => random.normal(length, 1e-4) },
  { rows: 2, n: 40, values: (_, length) => new Float32Array(length) },
  {
    rows: 2,
    n: 32,
    values: (_, length) => new Float32Array(length).map((_v, i) => (i % 33 ? 0 : -700)),
  },
];

describe.each(lanesVariants(gpu))('rmsNorm, %s', (variant) => {
  it('normalises', async () => {
    for (const each of cases) await check(gpu, variant, each);
  });

  it('adds a block to the residual stream first', async () => {
    for (const each of cases) await check(gpu, variant, { ...each, slots: 0 });
  });

  it.each([1, 2, 8])('adds %i weighted experts first', async (slots) => {
    for (const each of cases) await check(gpu, variant, { ...each, slots });
  });

  it('stores the int8 image', async () => {
    for (const each of cases) await check(gpu, variant, { ...each, slots: 2, q8: true });
    for (const slots of [undefined, 0]) {
      await check(gpu, variant, {
        rows: 3,
        n: 90,
        first: 2,
        q8: true,
        ...(slots === 0 && { slots }),
      });
    }
  });
});

it('rmsNorm with the workgroups of a hardware GPU', async () => {
  for (const variant of lanesVariants(asHardware)) {
    for (const slots of [undefined, 0, 8]) {
      await check(asHardware, variant, {
        rows: 3,
        n: 2056,
        first: 1,
        ...(slots !== undefined && { slots }),
      });
    }
  }
});
