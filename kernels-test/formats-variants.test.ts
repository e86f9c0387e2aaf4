import { describe, it } from 'vitest';
import { lanesVariants, manyRowsVariant } from '../src/kernels/lanes.ts';
import { matmulVariant, matmulVariants } from '../src/kernels/matmul.ts';
import {
  checkExpertMatmul,
  checkExpertMatvec,
  checkMatmul,
  checkMatvec,
  gpu,
  representativeTypes,
} from './format-products.ts';

describe.each(representativeTypes)('%s, as other devices would compute', (type) => {
  const otherLanes = lanesVariants(gpu).filter((variant) => variant !== manyRowsVariant(gpu));
  const otherTiles = matmulVariants(gpu).filter((variant) => variant !== matmulVariant(gpu));

  it.each(otherLanes)('matvec, %s', (variant) => checkMatvec(type, variant, false));
  it.each(otherLanes)('experts by matvec, %s', (variant) => checkExpertMatvec(type, variant));
  it.each(otherTiles)('matmul, %s', (variant) => checkMatmul(type, variant));
  it.each(otherTiles)('experts by matmul, %s', (variant) => checkExpertMatmul(type, variant));
});
