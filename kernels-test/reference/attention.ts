import { dot } from './linear.ts';
import { expectShape, type Values } from './values.ts';

/** Shapes of an attention. Query `t` is at position `start + t`; key `s` at position `s`. */
export interface AttentionShape {
  /** Query heads. */
  readonly heads: number;
  /** Key/value heads; each serves `heads / kvHeads` consecutive query heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Position of the first query: how many tokens came before. */
  readonly start: number;
}

/**
 * Causal grouped-query attention (Vaswani et al. 2017; Ainslie et al. 2023, arXiv:2305.13245):
 * `softmax(q k^T / sqrt(headDim)) v` over the keys at or before the query's position.
 * `q[T, heads, headDim]`, `k` and `v[S, kvHeads, headDim]`, `S >= start + T` -> `[T, heads, headDim]`.
 */
export function attention(
  q: Values,
  k: Values,
  v: Values,
  { heads, kvHeads, headDim, start }: AttentionShape,
): Float64Array {
  const tokens = q.length / (heads * headDim);
  if (!Number.isInteger(tokens)) expectShape('q', q, [Math.ceil(tokens), heads, headDim]);
  const keys = k.length / (kvHeads * headDim);
  if (!Number.isInteger(keys)) expectShape('k', k, [Math.ceil(keys), kvHeads, headDim]);
  if (keys < start + tokens) {
    throw new RangeError(`k holds ${keys} positions; the queries reach ${start + tokens}`);
  }
  expectShape('v', v, [keys, kvHeads, headDim]);

  const out = new Float64Array(q.length);
  for (let t = 0; t < tokens; t++) {
    const visible = start + t + 1;
    const scores = new Float64Array(visible);
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor(head / (heads / kvHeads));
      const qAt = (t * heads + head) * headDim;
      for (let s = 0; s < visible; s++) {
        const kAt = (s * kvHeads + kvHead) * headDim;
        scores[s] = dot(q, qAt, k, kAt, headDim) / Math.sqrt(headDim);
      }
      const weights = softmax(scores);
      for (let s = 0; s < visible; s++) {
        const vAt = (s * kvHeads + kvHead) * headDim;
        for (let i = 0; i < headDim; i++) out[qAt + i] += weights[s] * v[vAt + i];
      }
    }
  }
  return out;
}

/** `exp(x) / sum(exp(x))` of one row, shifted by its maximum so that nothing overflows. */
export function softmax(x: Values): Float64Array {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < x.length; i++) max = Math.max(max, x[i]);
  const out = new Float64Array(x.length);
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    out[i] = Math.exp(x[i] - max);
    sum += out[i];
  }
  for (let i = 0; i < out.length; i++) out[i] /= sum;
  return out;
}
