import type { ByteSet } from './byte-set.ts';

/** Bytes put into classes: those that an expression does not tell apart are in one class. */
export class ByteClasses {
  readonly id: number;
  /** The class of each byte, numbered in the order of their first bytes. */
  readonly of: Uint8Array;
  /** A byte of each class. */
  readonly examples: Uint8Array;

  constructor(id: number, of: Uint8Array, examples: Uint8Array) {
    this.id = id;
    this.of = of;
    this.examples = examples;
  }
}

/** Makes classes of bytes; equal ones are the same object. */
export class ByteClassTable {
  /** All bytes in one class. */
  readonly whole: ByteClasses;
  readonly #known = new Map<string, ByteClasses>();
  readonly #refined = new Map<number, ByteClasses>();
  readonly #apart = new Map<string, ByteClasses>();

  constructor() {
    this.whole = this.#classes(() => 0);
  }

  /** The bytes of the set, and the others. */
  split(set: ByteSet): ByteClasses {
    return this.#classes((byte) => (set.has(byte) ? 1 : 0));
  }

  /** Each of some bytes by itself, and the others. */
  apart(bytes: readonly number[]): ByteClasses {
    const key = String.fromCharCode(...bytes);
    let classes = this.#apart.get(key);
    if (!classes) {
      const labels = new Uint16Array(256);
      for (const [i, byte] of bytes.entries()) labels[byte] = i + 1;
      classes = this.#classes((byte) => labels[byte]!);
      this.#apart.set(key, classes);
    }
    return classes;
  }

  /** Bytes stay in one class if both have them in one class. */
  refine(a: ByteClasses, b: ByteClasses): ByteClasses {
    if (a === b || b === this.whole) return a;
    if (a === this.whole) return b;
    const key = Math.min(a.id, b.id) * 2 ** 26 + Math.max(a.id, b.id);
    let refined = this.#refined.get(key);
    if (!refined) {
      refined = this.#classes((byte) => a.of[byte]! * 256 + b.of[byte]!);
      this.#refined.set(key, refined);
    }
    return refined;
  }

  #classes(label: (byte: number) => number): ByteClasses {
    const of = new Uint8Array(256);
    const numbers = new Map<number, number>();
    const examples: number[] = [];
    for (let byte = 0; byte < 256; byte++) {
      const name = label(byte);
      let number = numbers.get(name);
      if (number === undefined) {
        number = examples.length;
        numbers.set(name, number);
        examples.push(byte);
      }
      of[byte] = number;
    }
    const key = String.fromCharCode(...of);
    let classes = this.#known.get(key);
    if (!classes) {
      classes = new ByteClasses(this.#known.size, of, Uint8Array.from(examples));
      this.#known.set(key, classes);
    }
    return classes;
  }
}
