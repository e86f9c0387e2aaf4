import { randomBytes } from 'node:crypto';
import type { GeneratedLogprob, Usage } from '../index.ts';
import type { ServedModel } from './served-model.ts';

/** What the parts of a generation are for a client. */
export interface Answer<T> {
  /** The chunks of a stream that a part leads to. */
  chunks(part: T): Iterable<object>;
  /** The whole answer; the last part is its end. */
  whole(parts: readonly T[]): object;
}

/** What every piece of an answer says of it. */
export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

/** @param prefix what the id begins with; the rest cannot be guessed */
export function answerHead(prefix: string, model: string): AnswerHead {
  const id = prefix + randomBytes(18).toString('base64url');
  return { id, created: Math.floor(Date.now() / 1000), model };
}

/** Usage in the form of OpenAI's API. */
export function usageFields({ promptTokens, completionTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/** What probabilities are told with: the tokens' texts and bytes. */
export type TokenTexts = Pick<ServedModel, 'detokenize' | 'tokenBytes'>;

/** `choices[].logprobs` of a chat: of all tokens, those of reasoning and calls included. */
export function chatLogprobs(texts: TokenTexts, logprobs: readonly GeneratedLogprob[]) {
  const entry = ({ token, logprob }: { token: number; logprob: number }) => ({
    token: texts.detokenize([token]),
    logprob: finite(logprob),
    bytes: [...texts.tokenBytes(token)],
  });
  const content = logprobs.map((of) => ({ ...entry(of), top_logprobs: of.top.map(entry) }));
  return { content, refusal: null };
}

/** `choices[].logprobs` of a completion. */
export function completionLogprobs(
  texts: TokenTexts,
  logprobs: readonly GeneratedLogprob[],
  offsets: TextOffsets,
) {
  return {
    tokens: logprobs.map(({ token }) => texts.detokenize([token])),
    token_logprobs: logprobs.map(({ logprob }) => finite(logprob)),
    top_logprobs: logprobs.map(({ top }) =>
      // Backwards: of tokens with the same text, as parts of characters have it, the likeliest counts.
      Object.fromEntries(
        top.toReversed().map(({ token, logprob }) => [texts.detokenize([token]), finite(logprob)]),
      ),
    ),
    text_offset: logprobs.map(({ token }) => offsets.next(token)),
  };
}

/** Where the tokens of an answer begin in its text, in characters (code points). */
export class TextOffsets {
  readonly #texts: TokenTexts;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #characters = 0;

  constructor(texts: TokenTexts) {
    this.#texts = texts;
  }

  /** Where the next token begins: of one that goes on with a character, where that begins. */
  next(token: number): number {
    // Special tokens are no part of the text.
    if (this.#texts.detokenize([token], { skipSpecial: true }) === '') return this.#characters;
    const bytes = this.#texts.tokenBytes(token);
    const goesOn = (bytes[0]! & 0xc0) === 0x80;
    if (!goesOn) this.#count(this.#decoder.decode()); // What is unfinished stays so.
    const begin = this.#characters;
    this.#count(this.#decoder.decode(bytes, { stream: true }));
    return begin;
  }

  #count(text: string): void {
    this.#characters += Array.from(text).length;
  }
}

/** JSON has no infinity; OpenAI's API says -9999 for what is as good as impossible. */
function finite(logprob: number): number {
  return Math.max(logprob, -9999);
}
