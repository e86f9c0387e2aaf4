import type { Recorder } from '../gpu/recorder.ts';
import { matmul } from './matmul.ts';
import type { Matrix, Rows } from './matrix.ts';
import { matvec } from './matvec.ts';

/** y = x W^T for any number of rows, by the kernel that suits it. */
export function linear(
  rec: Recorder,
  args: { weight: Matrix; x: Rows; y: Rows; rows: number },
): void {
  const { weight, x, y, rows } = args;
  if (rows <= matvecRows(rec)) matvec(rec, { weight, x, y, tokens: rows });
  else matmul(rec, { weight, x, y, rows });
}

/**
 * Up to how many rows a matrix-vector product is the faster one. On a software GPU the matrix
 * product already wins at 3 rows (33 against 12 GFLOP/s at 4); a real GPU is bound by the weights'
 * bytes, and the matrix-vector product reads them once per four rows.
 */
export function matvecRows(rec: Recorder): number {
  return rec.gpu.capabilities.software ? 2 : 8;
}
