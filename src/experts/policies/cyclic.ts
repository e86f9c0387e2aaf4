import type { CacheShape, PolicyName } from '../policy.ts';
import { type RankedOptions, RankedPolicy } from './ranked-policy.ts';
import { UseFrequency } from './use-frequency.ts';

/** In tokens: what a topic favours, and what the model favours. */
const halfLives = [16, 256];

/** Weight of the past, per step, in the mean number of experts loaded per token. */
const loadMemory = 0.9;

/** An expert that is likely to stay this many tokens stays, for all that matters. */
const longestStay = 1000;

/**
 * Evicts what is least likely to be asked for while it would still be here, knowing that a pass comes to
 * the layers in turn.
 *
 * An expert whose layer is `away` layers ahead, and which a token uses with probability p, is next asked
 * for in away / layers + n tokens with probability p (1 - p)^n. It serves only if it has not been evicted
 * by then. Where experts stay T tokens on average, T = slots / loads per token, let it survive t tokens
 * with probability g^t, g = exp(-1 / T). So its worth is the sum over n,
 *
 *     g^(away / layers) p / (1 - (1 - p) g)
 *
 * With few slots the layers that come next win, as the optimum has it and LRU does not; with many, the
 * experts used most.
 */
export class CyclicPolicy extends RankedPolicy {
  readonly #frequency: UseFrequency;
  /** g^(away / layers), by `away`. */
  readonly #survival: Float64Array;
  #loads = 0;
  /** Mean number of experts loaded per token; 0 before the first step. */
  #loadRate = 0;

  constructor(name: PolicyName, shape: CacheShape, options: RankedOptions = {}) {
    super(name, shape, options);
    this.#frequency = new UseFrequency(shape.layers * shape.experts, halfLives);
    this.#survival = new Float64Array(shape.layers + 1);
    this.#expectStay(1);
  }

  override insert(key: number, predicted?: boolean): void {
    this.#loads++;
    super.insert(key, predicted);
  }

  protected override worth(key: number): number {
    return this.#frequency.of(key);
  }

  protected override use(key: number, tokens: number): void {
    this.#frequency.use(key, tokens);
  }

  protected override tick(tokens: number): void {
    this.#frequency.tick(tokens);
    const loads = this.#loads / tokens;
    this.#loads = 0;
    this.#loadRate =
      this.#loadRate === 0 ? loads : loadMemory * this.#loadRate + (1 - loadMemory) * loads;
    this.#expectStay(this.shape.slots / this.#loadRate);
  }

  protected override acrossLayers(p: number, away: number): number {
    const survivesToken = this.#survival[this.shape.layers]!;
    return (this.#survival[away]! * p) / (1 - (1 - p) * survivesToken);
  }

  #expectStay(tokens: number): void {
    const stay = Math.min(tokens, longestStay);
    const { layers } = this.shape;
    for (let away = 0; away <= layers; away++) {
      this.#survival[away] = Math.exp(-away / layers / stay);
    }
  }
}
