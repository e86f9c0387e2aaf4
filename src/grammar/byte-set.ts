/** A set of byte values. */
export class ByteSet {
  static readonly all = ByteSet.range(0, 255);
  /** Equal for equal sets. */
  readonly key: string;
  readonly #words: Uint32Array;

  private constructor(words: Uint32Array) {
    this.#words = words;
    this.key = words.join(',');
  }

  static of(bytes: Iterable<number>): ByteSet {
    const words = new Uint32Array(8);
    for (const byte of bytes) words[byte >> 5]! |= 1 << (byte & 31);
    return new ByteSet(words);
  }

  /** Both ends included. */
  static range(first: number, last: number): ByteSet {
    return ByteSet.ranges([[first, last]]);
  }

  /** Both ends of each included. */
  static ranges(ranges: readonly (readonly [first: number, last: number])[]): ByteSet {
    const words = new Uint32Array(8);
    for (const [first, last] of ranges) {
      for (let byte = first; byte <= last; byte++) words[byte >> 5]! |= 1 << (byte & 31);
    }
    return new ByteSet(words);
  }

  has(byte: number): boolean {
    return (this.#words[byte >> 5]! & (1 << (byte & 31))) !== 0;
  }

  get isEmpty(): boolean {
    return this.#words.every((word) => word === 0);
  }

  union(other: ByteSet): ByteSet {
    return new ByteSet(this.#words.map((word, i) => word | other.#words[i]!));
  }

  intersect(other: ByteSet): ByteSet {
    return new ByteSet(this.#words.map((word, i) => word & other.#words[i]!));
  }

  without(other: ByteSet): ByteSet {
    return new ByteSet(this.#words.map((word, i) => word & ~other.#words[i]!));
  }

  isSubsetOf(other: ByteSet): boolean {
    return this.#words.every((word, i) => (word & ~other.#words[i]!) === 0);
  }
}
