import {
  type AttentionShape,
  attention,
  matmul,
  qkNormRope,
  type RopeTables,
  rmsNorm,
  swiglu,
} from './reference/ops.ts';
import type { Values } from './reference/values.ts';
import {
  divisionError,
  type Expected,
  expError,
  inverseSqrtError,
  sumError,
  unit,
} from './tolerance.ts';

// The references of `reference/ops.ts`, each with the tolerance that follows from how the kernels
// compute the same thing in binary32.

function magnitudes(values: Values): Float64Array {
  return Float64Array.from(values, Math.abs);
}

/** `x[m, k]` times the transpose of `w[n, k]`: each value is a sum of k products. */
export function expectedLinear(
  w: Values,
  x: Values,
  size: { m: number; n: number; k: number },
): Expected {
  const sizes = matmul(magnitudes(w), magnitudes(x), size);
  const error = sumError(size.k + 1);
  return { values: matmul(w, x, size), tolerance: (i) => sizes[i] * error };
}

/**
 * The same with activations in int8. Sums of 16 or 32 integers are exact; what is rounded is a few
 * terms for each: the sum times the scales, and what a format's offset adds. Neither passes three
 * times the sum of the magnitudes that the weights of a group of 32 may have, since the offset is
 * within the range of the values or near it.
 */
export function expectedInt8Linear(
  w: Values,
  x: Values,
  size: { m: number; n: number; k: number },
): Expected {
  const bounds = Float64Array.from(w);
  for (let row = 0; row < size.n; row++) {
    for (let begin = 0; begin < size.k; begin += 32) {
      const group = bounds.subarray(row * size.k + begin, row * size.k + begin + 32);
      group.fill(3 * group.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    }
  }
  const sizes = matmul(bounds, magnitudes(x), size);
  const error = sumError(4 * Math.ceil(size.k / 32) + 4);
  return { values: matmul(w, x, size), tolerance: (i) => sizes[i] * error };
}

/**
 * `silu(gate) * up`, computed as `gate / (1 + exp(-gate)) * up`. The derivative of silu is at most
 * 1.1.
 */
export function expectedSwiglu(gate: Expected, up: Expected): Expected {
  const values = swiglu(gate.values, up.values);
  return {
    values,
    tolerance: (i) => {
      const g = gate.values[i];
      const gateError = 1.1 * gate.tolerance(i);
      const own = Math.abs(values[i]) * (expError(g) + divisionError + 3 * unit);
      const silu = Math.abs(g / (1 + Math.exp(-g)));
      return own + gateError * Math.abs(up.values[i]) + up.tolerance(i) * (silu + gateError);
    },
  };
}

/** Inputs of a kernel, which have no error. */
export function exactly(values: Values): Expected {
  return { values: Float64Array.from(values), tolerance: () => 0 };
}

/** Relative error of x / sqrt(mean(x^2) + eps) * gain for n elements: the mean's counts half. */
function normError(n: number): number {
  return (sumError(n + 1) + divisionError + unit) / 2 + inverseSqrtError + 2 * unit;
}

/** RMSNorm of each row of x, whose own errors count as well. */
export function expectedRmsNorm(x: Expected, gain: Values, eps: number): Expected {
  const n = gain.length;
  const values = rmsNorm(x.values, gain, eps);
  const own = normError(n);
  // The divisor is off, relatively, by no more than the inputs are off together.
  const divisorError = new Float64Array(values.length / n);
  for (let row = 0; row < divisorError.length; row++) {
    let squares = n * eps;
    let errors = 0;
    for (let i = row * n; i < (row + 1) * n; i++) {
      squares += x.values[i] ** 2;
      errors += x.tolerance(i) ** 2;
    }
    divisorError[row] = Math.sqrt(errors / squares);
  }
  return {
    values,
    tolerance: (i) => {
      const row = Math.floor(i / n);
      const scale = x.values[i] === 0 ? 0 : Math.abs(values[i] / x.values[i]);
      return Math.abs(values[i]) * (own + divisorError[row]) + scale * x.tolerance(i);
    },
  };
}

/** RMSNorm per head, then the rotation: two products and their sum, with cos and sin in binary32. */
export function expectedQkNormRope(
  x: Values,
  gain: Values,
  eps: number,
  tables: RopeTables,
  at: { heads: number; headDim: number; start: number },
): Expected {
  const normed = rmsNorm(x, gain, eps);
  const half = at.headDim / 2;
  const relative = tables.attentionFactor * (normError(at.headDim) + 3 * unit);
  return {
    values: qkNormRope(x, gain, eps, tables, at),
    tolerance: (i) => {
      const other = i % at.headDim < half ? i + half : i - half;
      return (Math.abs(normed[i]) + Math.abs(normed[other])) * relative;
    },
  };
}

/** Attention by online softmax over keys and values as they are stored. */
export function expectedAttention(
  q: Values,
  k: Values,
  v: Values,
  shape: AttentionShape,
): Expected {
  const { headDim, start, heads } = shape;
  const context = start + q.length / (heads * headDim);
  // By Cauchy-Schwarz no score, nor the sum of the magnitudes in it, passes |q| |k| / sqrt(headDim).
  const scoreSize = (longest(q, headDim) * longest(k, headDim)) / Math.sqrt(headDim);
  const scoreError = scoreSize * (sumError(headDim + 2) + unit);
  // A weight is exp() of a difference of scores. It is scaled by another exp() each time that the
  // maximum grows, about ln(context) times, and once more when runs are joined.
  const rescales = 2 + Math.ceil(2 * Math.log(context));
  const weightError = 2 * scoreError + (1 + rescales) * (expError(2 * scoreSize) + unit);
  // Both the sum of the weighted values and the sum of the weights are off by so much.
  const relative = 2 * (weightError + sumError(context + 1)) + divisionError;
  const sizes = attention(q, k, magnitudes(v), shape);
  return { values: attention(q, k, v, shape), tolerance: (i) => sizes[i] * relative };
}

/** Length of the longest vector of `n` values. */
function longest(values: Values, n: number): number {
  let most = 0;
  for (let at = 0; at < values.length; at += n) {
    let squares = 0;
    for (let i = at; i < at + n; i++) squares += values[i] ** 2;
    most = Math.max(most, squares);
  }
  return Math.sqrt(most);
}
