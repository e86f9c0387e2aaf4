/**
 * Which share of tokens uses each expert lately: the sum of its uses, each weighted 2^(-age / halfLife)
 * with the age in tokens, over the same sum as if every token used it. The mean over several half-lives
 * sees both a topic's favourites and the model's.
 */
export class UseFrequency {
  readonly #decays: readonly number[];
  /** Per half-life and key, as of the last tick. */
  readonly #sums: readonly Float64Array[];
  /** Per half-life: what turns a sum into a share. */
  readonly #scales: Float64Array;
  /** Per key: tokens that use it in the step under way. */
  readonly #uses: Float64Array;
  #tokens = 0;

  constructor(keys: number, halfLives: readonly number[]) {
    this.#decays = halfLives.map((halfLife) => 2 ** (-1 / halfLife));
    this.#sums = halfLives.map(() => new Float64Array(keys));
    this.#scales = new Float64Array(halfLives.length).fill(1 / halfLives.length);
    this.#uses = new Float64Array(keys);
  }

  /** 0 for an expert never used, to 1 for one that every token uses. */
  of(key: number): number {
    const now = this.#uses[key]! > 0 ? 1 : 0;
    let frequency = 0;
    for (let i = 0; i < this.#sums.length; i++) {
      frequency += (this.#sums[i]![key]! + now) * this.#scales[i]!;
    }
    return Math.min(1, frequency);
  }

  use(key: number, tokens: number): void {
    this.#uses[key]! += tokens;
  }

  /** The step of `tokens` tokens is over. It counts as if each expert's uses were spread evenly over it. */
  tick(tokens: number): void {
    this.#tokens += tokens;
    for (const [i, decay] of this.#decays.entries()) {
      const sums = this.#sums[i]!;
      const kept = decay ** tokens;
      const perUse = (1 - kept) / (1 - decay) / tokens;
      for (let key = 0; key < sums.length; key++) {
        sums[key] = sums[key]! * kept + this.#uses[key]! * perUse;
      }
      const all = (1 - decay ** (this.#tokens + 1)) / (1 - decay);
      this.#scales[i] = 1 / all / this.#decays.length;
    }
    this.#uses.fill(0);
  }
}
