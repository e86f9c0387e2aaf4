import { expectShape, type Values } from './values.ts';

/** Sum of `a[ai + i] * b[bi + i]` for `i` below `n`. */
export function dot(a: Values, ai: number, b: Values, bi: number, n: number): number {
  // Four partial sums: one would wait for the previous addition at every step.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[ai + i] * b[bi + i];
    s1 += a[ai + i + 1] * b[bi + i + 1];
    s2 += a[ai + i + 2] * b[bi + i + 2];
    s3 += a[ai + i + 3] * b[bi + i + 3];
  }
  for (; i < n; i++) s0 += a[ai + i] * b[bi + i];
  return s0 + s1 + (s2 + s3);
}

/** Rows `ids` of `table[vocab, n]` -> `[ids.length, n]`. */
export function embedding(table: Values, ids: ArrayLike<number>, n: number): Float64Array {
  const out = new Float64Array(ids.length * n);
  for (let t = 0; t < ids.length; t++) {
    const row = ids[t] * n;
    if (!(row >= 0 && row + n <= table.length)) {
      throw new RangeError(`token ${ids[t]} is outside the table of ${table.length / n} rows`);
    }
    out.set(table.subarray(row, row + n), t * n);
  }
  return out;
}

/** `x[m, k]` times the transpose of `w[n, k]` -> `[m, n]`: a linear layer without bias. */
export function matmul(
  w: Values,
  x: Values,
  { m, n, k }: { m: number; n: number; k: number },
): Float64Array {
  expectShape('w', w, [n, k]);
  expectShape('x', x, [m, k]);
  const out = new Float64Array(m * n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < m; i++) out[i * n + j] = dot(w, j * k, x, i * k, k);
  }
  return out;
}

/** `a + b`, element by element: the residual connection. */
export function add(a: Values, b: Values): Float64Array {
  expectShape('b', b, [a.length]);
  return Float64Array.from(a, (value, i) => value + b[i]);
}
