/** Tokens of each side of a comparison, and tokens between two comparisons. */
const trialTokens = 6;
const settledTokens = 96;

/**
 * Whether something pays, found out by trying: some tokens with it, some without, and the quicker way
 * for a while; then again, since what is quicker changes with the text, the cache and the machine.
 */
export class Trial {
  #left = trialTokens;
  #phase: 'with' | 'without' | 'settled' = 'without';
  /** Milliseconds per token of the present comparison: the median decides, so that outliers do not. */
  readonly #times: { with: number[]; without: number[] } = { with: [], without: [] };
  #on = false;

  /** Whether to do it for the next token. */
  get on(): boolean {
    return this.#on;
  }

  /** A token took `ms`. */
  took(ms: number): void {
    if (this.#phase !== 'settled') this.#times[this.#phase].push(ms);
    if (--this.#left > 0) return;
    if (this.#phase === 'without') {
      this.#begin('with', trialTokens, true);
    } else if (this.#phase === 'with') {
      const pays = median(this.#times.with) < median(this.#times.without);
      this.#begin('settled', settledTokens, pays);
    } else {
      this.#times.with.length = 0;
      this.#times.without.length = 0;
      this.#begin('without', trialTokens, false);
    }
  }

  #begin(phase: 'with' | 'without' | 'settled', tokens: number, on: boolean): void {
    this.#phase = phase;
    this.#left = tokens;
    this.#on = on;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
