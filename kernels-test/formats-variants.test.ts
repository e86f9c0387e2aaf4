import { describe, it } from 'vitest';
import { matmulVariant, matmulVariants } from '../src/kernels/matmul.ts';
import { matvecVariant, matvecVariants } from '../src/kernels/matvec.ts';
import {
  checkExpertMatmul,
  checkExpertMatvec,
  checkMatmul,
  checkMatvec,
  gpu,
  representativeTypes,
} from './format-products.ts';
import { openTestGpu } from './harness.ts';
import { some } from './thorough.ts';

describe.each(representativeTypes.map((type, index) => [type, index] as const))(
  '%s, as other devices would compute',
  (type, index) => {
    const chosen = matvecVariant(gpu, type);
    const otherLanes = matvecVariants(gpu).filter((variant) => variant !== chosen);
    const otherTiles = matmulVariants(gpu).filter((variant) => variant !== matmulVariant(gpu));

    // Each variant with one format of every two.
    it.each(some(otherLanes, 2, index))('matvec, %s', (variant) =>
      checkMatvec(type, 'f32', variant, false),
    );
    it.each(some(otherTiles, 2, index))('matmul, %s', (variant) =>
      checkMatmul(type, 'f32', variant),
    );

    // Experts are the same code on other rows: each variant with one format, each format with one variant.
    const lanes = otherLanes[index % otherLanes.length];
    it(`experts by matvec, ${lanes}`, () => checkExpertMatvec(type, 'f32', lanes));
    const tiles = otherTiles[index % otherTiles.length];
    it(`experts by matmul, ${tiles}`, () => checkExpertMatmul(type, 'f32', tiles));
  },
);

// A real GPU multiplies in int8 by dot4I8Packed, a software one by pairs; formats with and without
// offsets, signs, halves.
const hardware = await openTestGpu({ software: false });

describe.each([
  ['Q4_0', 0],
  ['Q6_K', 1],
] as const)('%s in int8, by dot4I8Packed', (type, index) => {
  const of = [type, 'int8'] as const;
  it.each(some(matvecVariants(hardware), 2, index))('matvec, %s', (variant) =>
    checkMatvec(...of, variant, false, hardware),
  );
  it.each(some(matmulVariants(hardware), 2, index))('matmul, %s', (variant) =>
    checkMatmul(...of, variant, hardware),
  );
  it('experts', async () => {
    await checkExpertMatvec(...of, matvecVariant(hardware, type), hardware);
    await checkExpertMatmul(...of, matmulVariant(hardware), hardware);
  });
});

describe('Q4_K in int8, by pairs', () => {
  const otherLanes = matvecVariants(gpu).filter((variant) => variant !== 'broadcast');
  const otherTiles = matmulVariants(gpu).filter((variant) => variant !== 'broadcast');
  it.each(otherLanes)('matvec, %s', (variant) => checkMatvec('Q4_K', 'int8', variant, false));
  it.each(otherTiles)('matmul, %s', (variant) => checkMatmul('Q4_K', 'int8', variant));
});
