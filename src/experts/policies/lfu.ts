import type { CacheShape, PolicyName } from '../policy.ts';
import { type RankedOptions, RankedPolicy } from './ranked-policy.ts';

export interface LfuOptions extends RankedOptions {
  /** Tokens after which all counts are halved. */
  halving?: number;
}

/**
 * Least frequently used, among all uses since the beginning, resident or not. Counts are halved from
 * time to time, so that an old favourite leaves in the end.
 */
export class LfuPolicy extends RankedPolicy {
  readonly #counts: Float64Array;
  readonly #halving: number;
  #tokens = 0;

  constructor(name: PolicyName, shape: CacheShape, { halving = 512, ...options }: LfuOptions = {}) {
    super(name, shape, options);
    this.#counts = new Float64Array(shape.layers * shape.experts);
    this.#halving = halving;
  }

  protected override worth(key: number): number {
    return this.#counts[key]!;
  }

  protected override use(key: number, tokens: number): void {
    this.#counts[key]! += tokens;
  }

  protected override tick(tokens: number): void {
    this.#tokens += tokens;
    for (; this.#tokens >= this.#halving; this.#tokens -= this.#halving) {
      for (let key = 0; key < this.#counts.length; key++) this.#counts[key]! /= 2;
    }
  }
}
