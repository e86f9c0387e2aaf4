import { Tokenizer as Library } from '@huggingface/tokenizers';
import { MowgliError } from '../errors.ts';
import { byteLevelBytes } from './byte-level.ts';
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

/** Tokens that are not made by merging: control tokens and markers. */
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

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
  encode(text: string, options: EncodeOptions = {}): number[] {
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd');
    if (options.addedTokens === 'text') return this.#encodePlain(wellFormed);
    return this.#library.encode(wellFormed, { add_special_tokens: false }).ids;
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

/** What tokenizer.json and tokenizer_config.json say, checked before anything is built on it. */
class TokenizerFile {
  readonly added: readonly AddedToken[];
  readonly vocabSize: number;
  readonly #name: string;
  readonly #json: Record<string, unknown>;
  /** Spelling of every token, by id; ids that the file leaves out are holes. */
  readonly #tokens: string[] = [];
  readonly #isAdded = new Set<number>();

  constructor(json: unknown, config: unknown, name: string) {
    this.#name = name;
    this.#json = this.#record(json, 'the file');
    const model = this.#record(this.#json.model, 'model');
    if (model.type !== undefined && model.type !== 'BPE') {
      this.#unsupported(`its model is ${JSON.stringify(model.type)}`);
    }
    if (!mentionsByteLevel(this.#json.decoder)) {
      this.#unsupported('its decoder is not ByteLevel');
    }
    const vocab = this.#record(model.vocab, 'model.vocab');
    for (const token of Object.keys(vocab)) this.#claim(vocab[token], token, 'model.vocab');
    this.#checkMerges(model.merges, vocab);
    this.added = this.#addedTokens(this.#record(config ?? {}, 'tokenizer_config.json'));
    if (this.#tokens.length === 0) this.#invalid('model.vocab is empty');
    this.vocabSize = this.#tokens.length;
  }

  /** The library's tokenizer, with all added tokens. */
  open(): Library {
    try {
      return new Library(
        { post_processor: null, ...this.#json, added_tokens: this.added },
        // Qwen's tokenizers do no such clean-up; without a config the library would.
        { clean_up_tokenization_spaces: false },
      );
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      return this.#invalid(`it has a part that is not supported (${reason})`, cause);
    }
  }

  /** The bytes of all tokens in one array, which is far smaller than 150,000 arrays. */
  byteTable(): { bytes: Uint8Array; offsets: Uint32Array } {
    const encoder = new TextEncoder();
    const offsets = new Uint32Array(this.vocabSize + 1);
    const parts: Uint8Array[] = [];
    for (let id = 0; id < this.vocabSize; id++) {
      const token = this.#tokens[id] ?? '';
      // Added tokens are written as they are. Their spelling may look byte-level without being so.
      const part = this.#isAdded.has(id) ? encoder.encode(token) : byteLevelBytes(token);
      if (part === undefined) {
        this.#invalid(`token ${JSON.stringify(token)} (id ${id}) is not spelled in bytes`);
      }
      parts.push(part);
      offsets[id + 1] = offsets[id]! + part.length;
    }
    const bytes = new Uint8Array(offsets[this.vocabSize]!);
    for (const [id, part] of parts.entries()) bytes.set(part, offsets[id]!);
    return { bytes, offsets };
  }

  #addedTokens(config: Record<string, unknown>): AddedToken[] {
    const listed = this.#json.added_tokens ?? [];
    if (!Array.isArray(listed)) this.#invalid('added_tokens is not a list');
    const added = listed.map((entry: unknown, i) => {
      const token = this.#record(entry, `added_tokens[${i}]`);
      return this.#addedToken(token.id, token, `added_tokens[${i}]`);
    });
    const known = new Map(added.map((token) => [token.id, token.content]));
    const more = this.#record(config.added_tokens_decoder ?? {}, 'added_tokens_decoder');
    for (const [id, entry] of Object.entries(more)) {
      const where = `tokenizer_config.json: added_tokens_decoder["${id}"]`;
      const token = this.#record(entry, where);
      if (known.get(Number(id)) === token.content) continue;
      added.push(this.#addedToken(Number(id), token, where));
    }
    return added;
  }

  #addedToken(id: unknown, token: Record<string, unknown>, where: string): AddedToken {
    const { content } = token;
    if (typeof content !== 'string' || content === '') this.#invalid(`${where} has no content`);
    const number = this.#claim(id, content, where);
    this.#isAdded.add(number);
    // The library reads further fields (lstrip, normalized ...) from the same object.
    return { ...token, id: number, content, special: token.special === true };
  }

  /** Gives an id to a token, once. */
  #claim(id: unknown, token: string, where: string): number {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 0xff_ffff) {
      this.#invalid(`${where}: token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}`);
    }
    const other = this.#tokens[id];
    if (other !== undefined && other !== token) {
      this.#invalid(
        `${where}: id ${id} is given to both ${JSON.stringify(other)} and ${JSON.stringify(token)}`,
      );
    }
    this.#tokens[id] = token;
    return id;
  }

  /** A merge of tokens that do not exist would silently lose text. */
  #checkMerges(merges: unknown, vocab: Record<string, unknown>): void {
    if (!Array.isArray(merges)) this.#invalid('model.merges is not a list');
    for (const [i, merge] of merges.entries()) {
      const pair = typeof merge === 'string' ? merge.split(' ') : merge;
      const valid =
        Array.isArray(pair) &&
        pair.length === 2 &&
        Object.hasOwn(vocab, pair[0]) &&
        Object.hasOwn(vocab, pair[1]) &&
        Object.hasOwn(vocab, pair[0] + pair[1]);
      if (!valid) {
        this.#invalid(`model.merges[${i}] (${JSON.stringify(merge)}) does not fit the vocabulary`);
      }
    }
  }

  #record(value: unknown, where: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#invalid(`${where} is not an object`);
    }
    return value as Record<string, unknown>;
  }

  #invalid(problem: string, cause?: unknown): never {
    throw new MowgliError(
      'TOKENIZER_INVALID',
      `${this.#name}: ${problem}. Download the model's tokenizer files again; tokenizer.json and tokenizer_config.json must come from the same model.`,
      { cause },
    );
  }

  #unsupported(problem: string): never {
    throw new MowgliError(
      'TOKENIZER_INVALID',
      `${this.#name}: ${problem}; only byte-level BPE (the tokenizer of the Qwen models) is supported. Use the tokenizer.json of a Qwen3 model.`,
    );
  }
}

/** Whether a decoder, or one in a sequence, is ByteLevel. */
function mentionsByteLevel(decoder: unknown): boolean {
  if (typeof decoder !== 'object' || decoder === null) return false;
  const { type, decoders } = decoder as { type?: unknown; decoders?: unknown };
  return type === 'ByteLevel' || (Array.isArray(decoders) && decoders.some(mentionsByteLevel));
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
