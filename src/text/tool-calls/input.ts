/** A parser that may have to wait: each `yield` asks for more text, and the result is returned. */
export type Waiting<T> = Generator<void, T, void>;

const NOT_SPACE = /\S/g;

/**
 * A turn's text as it arrives. Parsers are generators that look ahead as far as they need and wait
 * where the text has not come yet; so they decide by the text alone, never by where it was cut.
 */
export class TextInput {
  #text = '';
  #ended = false;
  #cut = false;
  /**
   * Set by a look ahead that the end of the turn left undecided: what is there may be the beginning
   * of what was looked for.
   */
  ranOut = false;

  push(text: string): void {
    this.#text += text;
  }

  /** No more text comes; `cut`: the model had not finished. */
  end(cut: boolean): void {
    this.#ended = true;
    this.#cut = cut;
  }

  /** What has arrived and is not taken yet. */
  get rest(): string {
    return this.#text;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The turn has ended before the model had finished. */
  get cut(): boolean {
    return this.#cut;
  }

  take(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return taken;
  }

  /** Waits until there is a character at `at`; false when the turn ends before it. */
  *has(at: number): Waiting<boolean> {
    while (at >= this.#text.length) {
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
      if (!(yield* this.has(at + i)) || this.#text[at + i] !== literal[i]) return false;
    }
    return true;
  }

  /** Where white space that begins at `at` ends. */
  *skipSpace(at: number): Waiting<number> {
    do {
      NOT_SPACE.lastIndex = at;
      const found = NOT_SPACE.exec(this.#text);
      if (found) return found.index;
      at = this.#text.length;
    } while (yield* this.has(at));
    return at;
  }
}
