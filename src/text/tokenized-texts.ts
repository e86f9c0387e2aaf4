import type { Steps } from './slices.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Characters from which looking a text up is much less than cutting it into tokens. */
const WORTH_IT = 64;

/** Remembers the tokens of texts, for conversations repeat nearly all of theirs from prompt to prompt. */
export class TokenizedTexts {
  readonly #tokenizer: Pick<Tokenizer, 'encodeInSteps'>;
  readonly #capacity: number;
  /** The text used longest ago first. */
  readonly #known = new Map<string, Uint32Array>();
  #characters = 0;

  /** @param capacity characters to remember at most; texts used longest ago go first */
  constructor(tokenizer: Pick<Tokenizer, 'encodeInSteps'>, capacity: number) {
    this.#tokenizer = tokenizer;
    this.#capacity = capacity;
  }

  /**
   * The tokens of a text, as `Tokenizer.encodeInSteps` gives them.
   * @throws MowgliError as that
   */
  *encodeInSteps(text: string): Steps<ArrayLike<number>> {
    const known = this.#known.get(text);
    if (known) {
      this.#known.delete(text);
      this.#known.set(text, known);
      return known;
    }
    const tokens = yield* this.#tokenizer.encodeInSteps(text);
    if (text.length >= WORTH_IT && text.length <= this.#capacity) this.#remember(text, tokens);
    return tokens;
  }

  #remember(text: string, tokens: readonly number[]): void {
    // Others may have been at it between two steps.
    if (this.#known.has(text)) return;
    this.#known.set(detached(text), Uint32Array.from(tokens));
    this.#characters += text.length;
    for (const oldest of this.#known.keys()) {
      if (this.#characters <= this.#capacity) return;
      this.#known.delete(oldest);
      this.#characters -= oldest.length;
    }
  }
}

/** The same text by itself: a part of a longer text would keep all of that in memory. */
export function detached(text: string): string {
  return structuredClone(text);
}
