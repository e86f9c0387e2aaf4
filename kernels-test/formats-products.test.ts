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
  hasBatches,
  hasExperts,
} from './format-products.ts';

describe.each(blockTypes)('%s, as this device would compute', (type) => {
  const lanes = matvecVariant(gpu, type);
  const tiles = matmulVariant(gpu);
  const experts = hasExperts(type, 'f32');

  it('matvec', () => checkMatvec(type, 'f32', lanes, hasBatches(type)));
  it.runIf(experts.matvec)('experts by matvec', () => checkExpertMatvec(type, 'f32', lanes));
  it('matmul', () => checkMatmul(type, 'f32', tiles));
  it.runIf(experts.matmul)('experts by matmul', () => checkExpertMatmul(type, 'f32', tiles));
  it('embedding', () => checkEmbedding(type));
});
