import type { Values } from './values.ts';

/** The `k` largest of one row, largest first; equal values in the order of their index. */
export function topK(row: Values, k: number): { ids: Int32Array; values: Float64Array } {
  const ids = Int32Array.from(row.keys())
    .sort((a, b) => row[b] - row[a] || a - b)
    .slice(0, k);
  return { ids, values: Float64Array.from(ids, (id) => row[id]) };
}

/** Index of the largest value of one row; the lowest of equals. */
export function argmax(row: Values): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}
