/** A set of places in a list: a bit for each. It does not change. */
export class Positions {
  readonly #words: Uint32Array;
  #key: string | undefined;

  private constructor(words: Uint32Array) {
    this.#words = words;
  }

  static none(length: number): Positions {
    return new Positions(new Uint32Array(Math.ceil(length / 32)));
  }

  static all(length: number): Positions {
    return Positions.where(length, () => true);
  }

  static where(length: number, test: (at: number) => boolean): Positions {
    const set = Positions.none(length);
    for (let at = 0; at < length; at++) if (test(at)) set.#words[at >> 5]! |= 1 << (at & 31);
    return set;
  }

  /** Equal for equal sets of one list. */
  get key(): string {
    this.#key ??= this.#words.join(',');
    return this.#key;
  }

  has(at: number): boolean {
    return (this.#words[at >> 5]! & (1 << (at & 31))) !== 0;
  }

  without(at: number): Positions {
    const words = this.#words.slice();
    words[at >> 5]! &= ~(1 << (at & 31));
    return new Positions(words);
  }

  /** Those behind a place. */
  behind(at: number): Positions {
    const words = this.#words.slice();
    words.fill(0, 0, at >> 5);
    words[at >> 5]! &= (-2 << (at & 31)) >>> 0;
    return new Positions(words);
  }

  /** The first one that is in another set, too; -1 when there is none. */
  firstIn(other: Positions): number {
    for (const [i, word] of this.#words.entries()) {
      const both = word & other.#words[i]!;
      if (both !== 0) return i * 32 + 31 - Math.clz32(both & -both);
    }
    return -1;
  }

  forEach(visit: (at: number) => void): void {
    for (const [i, word] of this.#words.entries()) {
      for (let left = word; left !== 0; left &= left - 1) {
        visit(i * 32 + 31 - Math.clz32(left & -left));
      }
    }
  }
}
