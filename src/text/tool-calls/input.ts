/** A parser that may have to wait: each `yield` asks for more text, and the result is returned. */
export type Waiting<T> = Generator<void, T, void>;

/** How often a turn may be read over again, all in all. */
const MAX_REREADS = 16;
/** Code units that are made a string at once: arguments of one call. */
const SLICE = 4096;

/**
 * A turn's text as it arrives. Parsers are generators that look ahead as far as they need and wait
 * where the text has not come yet; so they decide by the text alone, never by where it was cut.
 * Places are counted from the beginning of what is not taken yet.
 */
export class TextInput {
  /**
   * What is not taken yet, as UTF-16, from `#start` to `#end`. A string that grows would be copied
   * whole each time that it is looked into, and much may wait to be decided.
   */
  #units = new Uint16Array();
  #start = 0;
  #end = 0;
  #ended = false;
  #cut = false;
  /** How much was taken. */
  #taken = 0;
  #reread = 0;
  /**
   * Set by a look ahead that the end of the turn left undecided: what is there may be the beginning
   * of what was looked for.
   */
  ranOut = false;

  push(text: string): void {
    if (this.#end + text.length > this.#units.length) this.#makeRoom(text.length);
    for (let i = 0; i < text.length; i++) this.#units[this.#end++] = text.charCodeAt(i);
  }

  /** No more text comes; `cut`: the model had not finished. */
  end(cut: boolean): void {
    this.#ended = true;
    this.#cut = cut;
  }

  /** How much has arrived and is not taken yet. */
  get length(): number {
    return this.#end - this.#start;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The turn has ended before the model had finished. */
  get cut(): boolean {
    return this.#cut;
  }

  /** The character at `at`; '' where there is none. */
  charAt(at: number): string {
    return at >= 0 && at < this.length ? String.fromCharCode(this.#units[this.#start + at]!) : '';
  }

  slice(from: number, to: number): string {
    const units = this.#units.subarray(this.#start + from, this.#start + Math.min(to, this.length));
    let text = '';
    for (let at = 0; at < units.length; at += SLICE) {
      text += String.fromCharCode(...units.subarray(at, at + SLICE));
    }
    return text;
  }

  /** Where the first of some code units is, from `at` on; the end of what has arrived if nowhere. */
  find(isOne: (unit: number) => boolean, at: number): number {
    const units = this.#units;
    let found = this.#start + at;
    while (found < this.#end && !isOne(units[found]!)) found++;
    return found - this.#start;
  }

  take(length: number): string {
    const taken = this.slice(0, length);
    this.skip(length);
    return taken;
  }

  skip(length: number): void {
    this.#start += length;
    this.#taken += length;
  }

  /**
   * Whether what stands before `at` may be read again from `from` on; if so, it is counted as done. A
   * turn that does it too often would take time that grows with the square of its length.
   */
  mayReread(from: number, at: number): boolean {
    const reread = this.#reread + at - from;
    if (reread > MAX_REREADS * (this.#taken + at)) return false;
    this.#reread = reread;
    return true;
  }

  /** Waits until there is a character at `at`; false when the turn ends before it. */
  *has(at: number): Waiting<boolean> {
    while (at >= this.length) {
      if (this.#ended) {
        this.ranOut = true;
        return false;
      }
      yield;
    }
    return true;
  }

  /** Whether `literal` stands at `at`. */
  *startsWith(literal: string, at = 0): Waiting<boolean> {
    for (let i = 0; i < literal.length; i++) {
      if (!(yield* this.has(at + i)) || this.charAt(at + i) !== literal[i]) return false;
    }
    return true;
  }

  /** Where white space that begins at `at` ends. */
  *skipSpace(at: number): Waiting<number> {
    do {
      at = this.find(isNotSpace, at);
    } while (at === this.length && (yield* this.has(at)));
    return at;
  }

  /** Makes room for `length` more, and for as much again: moving is paid for by what comes later. */
  #makeRoom(length: number): void {
    const left = this.#units.subarray(this.#start, this.#end);
    const room = 2 * (left.length + length);
    if (room > this.#units.length) this.#units = new Uint16Array(room);
    this.#units.set(left);
    this.#start = 0;
    this.#end = left.length;
  }
}

/** Finds any of these characters; for {@link TextInput.find}. */
export function anyOf(characters: string): (unit: number) => boolean {
  const units = [...characters].map((character) => character.charCodeAt(0));
  return (unit) => units.includes(unit);
}

/** White space as of `trim()`. */
function isNotSpace(unit: number): boolean {
  if (unit < 0x80) return unit !== 0x20 && (unit < 0x09 || unit > 0x0d);
  return /\S/.test(String.fromCharCode(unit));
}
