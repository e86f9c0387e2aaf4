import { add } from './linear.ts';
import { expectShape, type Values } from './values.ts';

/**
 * Root mean square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467) of each row:
 * `y = x / sqrt(mean(x^2) + eps) * weight`; `x[rows, n]`, `weight[n]` -> `[rows, n]`.
 */
export function rmsNorm(x: Values, weight: Values, eps: number): Float64Array {
  const n = weight.length;
  const rows = x.length / n;
  if (!Number.isInteger(rows)) expectShape('x', x, [Math.ceil(rows), n]);
  const out = new Float64Array(x.length);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < n; i++) squares += x[row * n + i] ** 2;
    const scale = 1 / Math.sqrt(squares / n + eps);
    for (let i = 0; i < n; i++) out[row * n + i] = x[row * n + i] * scale * weight[i];
  }
  return out;
}

/**
 * The residual connection and the normalisation after it, as one step:
 * `sum = x + residual`, `normed = rmsNorm(sum)`; all `[rows, n]`.
 */
export function addRmsNorm(
  x: Values,
  residual: Values,
  weight: Values,
  eps: number,
): { sum: Float64Array; normed: Float64Array } {
  const sum = add(x, residual);
  return { sum, normed: rmsNorm(sum, weight, eps) };
}
