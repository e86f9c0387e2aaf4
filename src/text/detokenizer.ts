import type { DecodeOptions, Tokenizer } from './tokenizer.ts';
import { Utf8Stream } from './utf8.ts';

/**
 * Decodes a stream of tokens into pieces of text that can be shown at once. A character whose bytes
 * are spread over tokens is held back until it is whole, so no piece ends in half a character; all
 * pieces together, with the last one from {@link flush}, are exactly `tokenizer.decode` of all ids.
 */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecial: boolean;
  readonly #stream = new Utf8Stream();

  constructor(tokenizer: Tokenizer, options: DecodeOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = options.skipSpecial ?? false;
  }

  /**
   * The text that one more token makes certain; often empty in the middle of a character.
   * @throws MowgliError `OPTION_INVALID` for an id outside of the vocabulary.
   */
  push(id: number): string {
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) return '';
    return this.#stream.push(this.#tokenizer.tokenBytes(id));
  }

  /** The end of the text: an unfinished character becomes U+FFFD. The stream may then start anew. */
  flush(): string {
    return this.#stream.flush();
  }
}
