import { MowgliError } from '../errors.ts';

/** What {@link StopMatcher.push} made of a piece of text. */
export interface StopResult {
  /** Text that may be shown now. */
  readonly emit: string;
  /** True once a stop text has been found; the output ends with what was emitted. */
  readonly stopped: boolean;
}

/**
 * Ends a stream of text before the first stop text, without ever showing a part of it: what could
 * still become a stop text is held back. The output depends only on the text, not on how it was
 * cut: it ends where the stop text begins that is completed first (the longest, if several are
 * completed by the same character).
 */
export class StopMatcher {
  readonly #stops: readonly Pattern[];
  #held = '';
  #matched: string | undefined;

  /**
   * @throws MowgliError `OPTION_INVALID` for an empty stop text, which would stop at once.
   */
  constructor(stop: string | readonly string[] = []) {
    const texts = typeof stop === 'string' ? [stop] : stop;
    for (const text of texts) {
      if (typeof text !== 'string' || text === '') {
        throw new MowgliError(
          'OPTION_INVALID',
          `stop: ${JSON.stringify(text)} is not allowed; pass texts of at least one character.`,
        );
      }
    }
    this.#stops = [...new Set(texts)].map((text) => new Pattern(text));
  }

  /** The stop text that was found. */
  get matched(): string | undefined {
    return this.#matched;
  }

  /** Takes the next piece of text. After a stop everything is dropped. */
  push(text: string): StopResult {
    if (this.#matched !== undefined) return { emit: '', stopped: true };
    const all = this.#held + text;
    for (let i = this.#held.length; i < all.length; i++) {
      let found: string | undefined;
      for (const stop of this.#stops) {
        if (stop.advance(all.charCodeAt(i)) && stop.text.length > (found?.length ?? 0)) {
          found = stop.text;
        }
      }
      if (found !== undefined) {
        this.#matched = found;
        this.#held = '';
        return { emit: all.slice(0, i + 1 - found.length), stopped: true };
      }
    }
    const hold = this.#stops.reduce((longest, stop) => Math.max(longest, stop.matched), 0);
    const cut = all.length - hold;
    this.#held = all.slice(cut);
    return { emit: all.slice(0, cut), stopped: false };
  }

  /** The text that was held back and turned out to be no stop text, at the end of the stream. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    for (const stop of this.#stops) stop.reset();
    return text;
  }
}

/** One stop text and how much of it the text so far ends with (Knuth, Morris and Pratt). */
class Pattern {
  readonly text: string;
  /** Length of the longest proper beginning of `text` that the text so far ends with. */
  matched = 0;
  /** For each beginning: the longest shorter beginning that is also its end. */
  readonly #fallback: Uint32Array;

  constructor(text: string) {
    this.text = text;
    this.#fallback = new Uint32Array(text.length + 1);
    for (let length = 2, border = 0; length <= text.length; length++) {
      const unit = text.charCodeAt(length - 1);
      while (border > 0 && text.charCodeAt(border) !== unit) border = this.#fallback[border]!;
      if (text.charCodeAt(border) === unit) border++;
      this.#fallback[length] = border;
    }
  }

  /** Takes one UTF-16 unit; true when it completes the text. */
  advance(unit: number): boolean {
    while (this.matched > 0 && this.text.charCodeAt(this.matched) !== unit) {
      this.matched = this.#fallback[this.matched]!;
    }
    if (this.text.charCodeAt(this.matched) === unit) this.matched++;
    return this.matched === this.text.length;
  }

  reset(): void {
    this.matched = 0;
  }
}
