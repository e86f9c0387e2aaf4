import { describe, it } from 'vitest';
import { matmulVariant } from '../src/kernels/matmul.ts';
import { matvecVariant } from '../src/kernels/matvec.ts';
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
  const lanes = matvecVariant(gpu, type);
  const tiles = matmulVariant(gpu);

  it('matvec', () => checkMatvec(type, 'f32', lanes, representativeTypes.includes(type)));
  it('experts by matvec', () => checkExpertMatvec(type, 'f32', lanes));
  it('matmul', () => checkMatmul(type, 'f32', tiles));
  it('experts by matmul', () => checkExpertMatmul(type, 'f32', tiles));
  it('embedding', () => checkEmbedding(type));
});
