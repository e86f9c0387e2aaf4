/** Counts what is under way, and lets one wait for the end of it. */
export class Tally {
  #count = 0;
  #onNone = () => {};

  begin(): void {
    this.#count++;
  }

  end(): void {
    this.#count--;
    if (this.#count === 0) this.#onNone();
  }

  /** Waits until nothing is under way, but not longer than that; answers whether it came to be. */
  async endsWithin(ms: number): Promise<boolean> {
    if (this.#count === 0) return true;
    return new Promise((resolve) => {
      const late = setTimeout(resolve, ms, false);
      this.#onNone = () => {
        clearTimeout(late);
        resolve(true);
      };
    });
  }
}
