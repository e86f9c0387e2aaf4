import { describe, it } from 'vitest';
import { matmulVariant } from '../src/kernels/matmul.ts';
import { matvecVariant } from '../src/kernels/matvec.ts';
import {
  checkExpertMatmul,
  checkExpertMatvec,
  checkMatmul,
  checkMatvec,
  gpu,
  integerTypes,
  representativeTypes,
} from './format-products.ts';

describe.each(integerTypes)('%s with activations in int8, as this device would compute', (type) => {
  const lanes = matvecVariant(gpu, type);
  const tiles = matmulVariant(gpu);

  it('matvec', () => checkMatvec(type, 'int8', lanes, representativeTypes.includes(type)));
  it('experts by matvec', () => checkExpertMatvec(type, 'int8', lanes));
  it('matmul', () => checkMatmul(type, 'int8', tiles));
  it('experts by matmul', () => checkExpertMatmul(type, 'int8', tiles));
});
