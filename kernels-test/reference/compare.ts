import { argmax } from './sampling.ts';
import { expectShape, type Values } from './values.ts';

/** How far two sets of logits `[positions, vocab]` are apart. */
export interface LogitDifference {
  readonly positions: number;
  readonly maxAbs: number;
  readonly rms: number;
  /** Kullback-Leibler divergence of the token probabilities, nats. */
  readonly klMean: number;
  readonly klMax: number;
  /** Positions with the same most probable token. */
  readonly argmaxAgree: number;
}

/** `expected` is the trusted side: the divergence is `KL(expected || actual)`. NaN stays NaN. */
export function compareLogits(expected: Values, actual: Values, vocab: number): LogitDifference {
  const positions = expected.length / vocab;
  expectShape('actual', actual, [positions, vocab]);
  let maxAbs = 0;
  let squares = 0;
  let klSum = 0;
  let klMax = 0;
  let argmaxAgree = 0;
  for (let p = 0; p < positions; p++) {
    const e = expected.subarray(p * vocab, (p + 1) * vocab);
    const a = actual.subarray(p * vocab, (p + 1) * vocab);
    const eNorm = logSumExp(e);
    const aNorm = logSumExp(a);
    let kl = 0;
    for (let i = 0; i < vocab; i++) {
      const difference = e[i] - a[i];
      maxAbs = Math.max(maxAbs, Math.abs(difference));
      squares += difference ** 2;
      kl += Math.exp(e[i] - eNorm) * (difference - eNorm + aNorm);
    }
    klSum += kl;
    klMax = Math.max(klMax, kl);
    if (argmax(e) === argmax(a)) argmaxAgree++;
  }
  const rms = Math.sqrt(squares / expected.length);
  return { positions, maxAbs, rms, klMean: klSum / positions, klMax, argmaxAgree };
}

/** `ln(sum(exp(row)))`. */
export function logSumExp(row: Values): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) max = Math.max(max, row[i]);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - max);
  return max + Math.log(sum);
}
