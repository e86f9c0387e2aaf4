import { describe, it } from 'vitest';
import { matmulVariant } from '../src/kernels/matmul.ts';
import { matvecVariant } from '../src/kernels/matvec.ts';
import {
  checkExpertMatmul,
  checkExpertMatvec,
  checkMatmul,
  checkMatvec,
  gpu,
  hasBatches,
  hasExperts,
  integerTypes,
} from './format-products.ts';

describe.each(integerTypes)('%s with activations in int8, as this device would compute', (type) => {
  const lanes = matvecVariant(gpu, type);
  const tiles = matmulVariant(gpu);
  const experts = hasExperts(type, 'int8');

  it('matvec', () => checkMatvec(type, 'int8', lanes, hasBatches(type)));
  it.runIf(experts.matvec)('experts by matvec', () => checkExpertMatvec(type, 'int8', lanes));
  it('matmul', () => checkMatmul(type, 'int8', tiles));
  it.runIf(experts.matmul)('experts by matmul', () => checkExpertMatmul(type, 'int8', tiles));
});
