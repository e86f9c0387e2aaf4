/** Something takes more work than was granted; whoever granted it says what that was. */
export class TooMuchWork extends Error {}

/**
 * Counts work, so that no schema takes all of a program's time: what a machine and its load make of it
 * does not matter. A unit is one to four microseconds: half of an expression that is made, or a few steps
 * of a loop.
 */
export class Work {
  #left = Number.POSITIVE_INFINITY;

  /** @throws TooMuchWork when that is more than is left */
  spend(units: number): void {
    if (units > this.#left) {
      this.#left = 0;
      throw new TooMuchWork('it takes too much work');
    }
    this.#left -= units;
  }

  /**
   * Does something with a number of units at most.
   * @throws TooMuchWork
   */
  within<T>(units: number, what: () => T): T {
    const before = this.#left;
    this.#left = Math.min(before, units);
    const granted = this.#left;
    try {
      return what();
    } finally {
      this.#left = before - (granted - this.#left);
    }
  }
}
