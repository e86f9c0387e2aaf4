import { describe, it } from 'vitest';
import { manyRowsVariant } from '../src/kernels/lanes.ts';
import { matmulVariant } from '../src/kernels/matmul.ts';
import {
  blockTypes,
  checkEmbedding,
  checkExpertMatmul,
  checkExpertMatvec,
  checkMatmul,
  checkMatvec,
  gpu,
  representativeTypes,
} from './format-products.ts';

describe.each(blockTypes)('%s, as this device would compute', (type) => {
  const lanes = manyRowsVariant(gpu);
  const tiles = matmulVariant(gpu);

  it('matvec', () => checkMatvec(type, lanes, representativeTypes.includes(type)));
  it('experts by matvec', () => checkExpertMatvec(type, lanes));
  it('matmul', () => checkMatmul(type, tiles));
  it('experts by matmul', () => checkExpertMatmul(type, tiles));
  it('embedding', () => checkEmbedding(type));
});
