import type { Tokenizer as Library } from '@huggingface/tokenizers';
import { MowgliError } from '../errors.ts';
import { inSlices, type Steps } from './slices.ts';
import { TokenizerFile } from './tokenizer-file.ts';
import { decodeUtf8 } from './utf8.ts';

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /**
   * What to do with the text of added tokens such as `<|im_end|>`: `parse` (default) makes each its
   * own token, as a rendered prompt needs; `text` encodes it like any other text, so that what a
   * user wrote cannot end the user's turn.
   */
  readonly addedTokens?: 'parse' | 'text';
}

/** Options of {@link Tokenizer.decode}. */
export interface DecodeOptions {
  /**
   * Leave out tokens marked special (`<|im_end|>` ...). Added tokens that are not special, such as
   * `<tool_call>`, stay. Default false.
   */
  readonly skipSpecial?: boolean;
}

/** The part of the library that merges; only its type can be null. */
type Model = NonNullable<Library['model']>;

/** Characters of a text between two chances to stop, or as many more as a place to cut is away: 1 to 20 ms. */
const STEP = 1024;
/** Characters that are taken in one go at most, where others are to get their turn; up to 20 us each. */
const MOST_AT_ONCE = 2 ** 17;
/** More combining marks on one letter than any language has: to sort them takes quadratic time. */
const MANY_MARKS = /\p{M}{1000}/u;

/**
 * A byte-level BPE tokenizer (the kind of every Qwen model), built from Hugging Face's
 * tokenizer.json. Splitting and merging are the work of `@huggingface/tokenizers`; decoding works
 * on the tokens' bytes, because a token may end in the middle of a character.
 */
export class Tokenizer {
  /**
   * Number of tokens: the highest id + 1. A model may have more rows in its embedding; those ids
   * are padding that was never trained and must never be sampled.
   */
  readonly vocabSize: number;
  readonly #library: Library;
  readonly #model: Model;
  readonly #cuts: RegExp | undefined;
  readonly #special: ReadonlySet<number>;
  /** Bytes of all tokens, one after the other; token `id` is `#offsets[id]` to `#offsets[id + 1]`. */
  readonly #bytes: Uint8Array;
  readonly #offsets: Uint32Array;

  /**
   * @param json The parsed tokenizer.json.
   * @param config The parsed tokenizer_config.json, whose `added_tokens_decoder` may list added
   * tokens that tokenizer.json lacks.
   * @param name What messages call the file.
   * @throws MowgliError `TOKENIZER_INVALID` when the file is damaged, of another kind than
   * byte-level BPE, or when the two files disagree.
   */
  constructor(json: unknown, config: unknown = {}, name = 'tokenizer.json') {
    const file = new TokenizerFile(json, config, name);
    this.#library = file.open();
    this.#model = this.#library.model as Model;
    this.#cuts = file.cuts();
    this.vocabSize = file.vocabSize;
    this.#special = new Set(file.added.filter((token) => token.special).map(({ id }) => id));
    const table = file.byteTable();
    this.#bytes = table.bytes;
    this.#offsets = table.offsets;
  }

  /**
   * Builds a tokenizer from the texts of the two files.
   * @throws MowgliError `TOKENIZER_INVALID`, also for text that is not JSON.
   */
  static parse(
    jsonText: string,
    configText?: string,
    names: { readonly json?: string; readonly config?: string } = {},
  ): Tokenizer {
    const name = names.json ?? 'tokenizer.json';
    const config =
      configText === undefined
        ? {}
        : parseJson(configText, names.config ?? 'tokenizer_config.json');
    return new Tokenizer(parseJson(jsonText, name), config, name);
  }

  /**
   * Text to token ids. Nothing is added in front or behind. Text that is not valid UTF-16 is
   * repaired first (each lone surrogate becomes U+FFFD, as UTF-8 encoders do).
   */
  encode(text: string, { addedTokens }: EncodeOptions = {}): number[] {
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd');
    if (addedTokens === 'text') return this.#encodePlain(wellFormed);
    return this.#library.encode(wellFormed, { add_special_tokens: false }).ids;
  }

  /**
   * The same ids, but other work gets its turn about every ten milliseconds. Texts that take less are
   * not waited with.
   * @throws MowgliError `ABORTED` soon after the signal fires, `OPTION_INVALID` for more than 131,072
   * characters in a row, such as letters only, that cannot be cut apart, and for 1,000 combining marks
   */
  encodeInSlices(
    text: string,
    { signal, ...options }: EncodeOptions & { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number[]> {
    return inSlices(this.encodeInSteps(text, options), 'cutting the text into tokens', signal);
  }

  /**
   * The same ids, as work that a caller does step by step.
   * @throws MowgliError `OPTION_INVALID` as `encodeInSlices`
   */
  *encodeInSteps(text: string, options: EncodeOptions = {}): Steps<number[]> {
    const tokens: number[] = [];
    for (let at = 0; at < text.length; yield) {
      const end = this.#cut(text, at + STEP);
      if (this.#cuts && end - at > MOST_AT_ONCE) throw cannotBeCut(end - at);
      const part = text.slice(at, end);
      if (MANY_MARKS.test(part)) throw tooManyMarks();
      for (const token of this.encode(part, options)) tokens.push(token);
      at = end;
    }
    return tokens;
  }

  /**
   * Token ids to text. Bytes that are not valid UTF-8 become U+FFFD.
   * @throws MowgliError `OPTION_INVALID` for an id outside of the vocabulary.
   */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const kept = options.skipSpecial ? ids.filter((id) => !this.#special.has(id)) : ids;
    const parts = kept.map((id) => this.#view(id));
    const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return decodeUtf8(bytes);
  }

  /**
   * The bytes that a token stands for; they need not be whole characters.
   * @throws MowgliError `OPTION_INVALID` for an id outside of the vocabulary.
   */
  tokenBytes(id: number): Uint8Array {
    return this.#view(id).slice();
  }

  /** Whether a token is marked special: control tokens that are no part of the text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /**
   * The id of a token by its spelling in the vocabulary: `<|im_end|>`, or `Ġworld` with the
   * byte-level spelling of an ordinary token. `undefined` when there is none.
   */
  idOf(token: string): number | undefined {
    return this.#model.tokens_to_ids.get(token);
  }

  /** The first place from a position on where a text can be cut without changing a token. */
  #cut(text: string, from: number): number {
    if (!this.#cuts) return text.length;
    this.#cuts.lastIndex = from;
    return this.#cuts.exec(text)?.index ?? text.length;
  }

  #encodePlain(text: string): number[] {
    const { normalizer, pre_tokenizer } = this.#library;
    const normalized = normalizer ? normalizer.normalize(text) : text;
    if (normalized === '') return [];
    const words = pre_tokenizer ? pre_tokenizer.pre_tokenize(normalized) : [normalized];
    return this.#model.encode(words).map((token: string) => this.#model.tokens_to_ids.get(token)!);
  }

  #view(id: number): Uint8Array {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new MowgliError(
        'OPTION_INVALID',
        `token id ${id} is not in the vocabulary (0 to ${this.vocabSize - 1}). Pass ids that this model's tokenizer made.`,
      );
    }
    return this.#bytes.subarray(this.#offsets[id]!, this.#offsets[id + 1]!);
  }
}

function cannotBeCut(characters: number): MowgliError {
  return new MowgliError(
    'OPTION_INVALID',
    `the text holds ${characters} characters in a row without a word's end, which would keep everything else ` +
      `waiting; put white space between words, and leave out runs of more than ${MOST_AT_ONCE} characters.`,
  );
}

function tooManyMarks(): MowgliError {
  return new MowgliError(
    'OPTION_INVALID',
    'the text has a letter with 1,000 combining marks or more, which would keep everything else waiting; ' +
      'leave them out',
  );
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MowgliError(
      'TOKENIZER_INVALID',
      `${name} is not valid JSON (${(cause as Error).message}); the download may have been cut off. Download the file again.`,
      { cause },
    );
  }
}
