import { MowgliError } from '../errors.ts';

/** log of the sum of exp(logits): what to subtract from a logit for its log-probability. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  const result = max + Math.log(sum);
  if (!Number.isNaN(result)) return result;
  throw new MowgliError(
    'GPU_ERROR',
    'the model gave a logit that is no number. Check the model files; if they are sound, report this with the name of the GPU.',
  );
}

/** A distribution of the next token, as it was kept: log-probability `top - step * level[id]`. */
export interface KeptDistribution {
  readonly top: number;
  readonly step: number;
  readonly levels: Uint16Array;
}

/** How much one distribution of the next token differs from another one. */
export interface Divergence {
  /** Sum of p log(p / q), in nats; p is the one that was kept. */
  readonly kl: number;
  /** Whether both have the same most likely token. */
  readonly sameTop: boolean;
}

/**
 * The Kullback-Leibler divergence of the distribution that `logits` stand for from a kept one. The
 * kept one is normalised again, so that the rounding of its log-probabilities, which are at most half
 * a step off, counts by its square only.
 */
export function divergence(kept: KeptDistribution, logits: Float32Array, norm: number): Divergence {
  const { top, step, levels } = kept;
  let total = 0;
  let sum = 0;
  let keptTop = 0;
  let newTop = 0;
  for (let id = 0; id < levels.length; id++) {
    const logP = top - step * levels[id]!;
    const p = Math.exp(logP);
    total += p;
    sum += p * (logP - (logits[id]! - norm));
    if (levels[id]! < levels[keptTop]!) keptTop = id;
    if (logits[id]! > logits[newTop]!) newTop = id;
  }
  // Two likeliest tokens may have been rounded to one level: then either is the same.
  return { kl: sum / total - Math.log(total), sameTop: levels[newTop] === levels[keptTop] };
}

/** Mean of values that come one by one, and how sure it is. */
export class RunningMean {
  #count = 0;
  #mean = 0;
  #squares = 0;

  add(value: number): void {
    this.#count++;
    const off = value - this.#mean;
    this.#mean += off / this.#count;
    this.#squares += off * (value - this.#mean);
  }

  get count(): number {
    return this.#count;
  }

  get mean(): number {
    return this.#mean;
  }

  /** Standard error of the mean; 0 for fewer than two values. */
  get standardError(): number {
    return this.#count > 1 ? Math.sqrt(this.#squares / (this.#count - 1) / this.#count) : 0;
  }
}
