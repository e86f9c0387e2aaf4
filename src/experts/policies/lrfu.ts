import type { CacheShape, PolicyName } from '../policy.ts';
import { type RankedOptions, RankedPolicy } from './ranked-policy.ts';
import { UseFrequency } from './use-frequency.ts';

export interface LrfuOptions extends RankedOptions {
  /** Tokens after which a use counts half. */
  halfLife?: number;
}

/**
 * Frequency and recency in one number (LRFU, Lee et al. 2001): uses count the less the longer ago they
 * were. A short half-life makes it LRU, an endless one LFU. Uses count whether the expert was resident
 * or not.
 */
export class LrfuPolicy extends RankedPolicy {
  readonly #frequency: UseFrequency;

  constructor(
    name: PolicyName,
    shape: CacheShape,
    { halfLife = 32, ...options }: LrfuOptions = {},
  ) {
    super(name, shape, options);
    this.#frequency = new UseFrequency(shape.layers * shape.experts, [halfLife]);
  }

  protected override worth(key: number): number {
    return this.#frequency.of(key);
  }

  protected override use(key: number, tokens: number): void {
    this.#frequency.use(key, tokens);
  }

  protected override tick(tokens: number): void {
    this.#frequency.tick(tokens);
  }
}
