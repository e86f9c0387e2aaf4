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

describe.each(representativeTypes)('%s, as other devices would compute', (type) => {
  const chosen = matvecVariant(gpu, type);
  const otherLanes = matvecVariants(gpu).filter((variant) => variant !== chosen);
  const otherTiles = matmulVariants(gpu).filter((variant) => variant !== matmulVariant(gpu));

  it.each(otherLanes)('matvec, %s', (variant) => checkMatvec(type, 'f32', variant, false));
  it.each(otherLanes)('experts by matvec, %s', (variant) =>
    checkExpertMatvec(type, 'f32', variant),
  );
  it.each(otherTiles)('matmul, %s', (variant) => checkMatmul(type, 'f32', variant));
  it.each(otherTiles)('experts by matmul, %s', (variant) =>
    checkExpertMatmul(type, 'f32', variant),
  );
});

// A real GPU multiplies in int8 by dot4I8Packed, a software one by pairs; formats with and without
// offsets, signs, halves.
const hardware = await openTestGpu({ software: false });

describe.each(['Q4_0', 'Q6_K'] as const)('%s in int8, by dot4I8Packed', (type) => {
  const of = [type, 'int8'] as const;
  it.each(matvecVariants(hardware))('matvec, %s', (variant) =>
    checkMatvec(...of, variant, false, hardware),
  );
  it.each(matmulVariants(hardware))('matmul, %s', (variant) =>
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
