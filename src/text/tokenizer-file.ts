import { Tokenizer as Library } from '@huggingface/tokenizers';
import { MowgliError } from '../errors.ts';
import { byteLevelBytes } from './byte-level.ts';
import { qwen2Words } from './qwen-words.ts';

/** Tokens that are not made by merging: control tokens and markers. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly lstrip?: unknown;
  readonly rstrip?: unknown;
  readonly single_word?: unknown;
  readonly normalized?: unknown;
}

/** What tokenizer.json and tokenizer_config.json say, checked before anything is built on it. */
export class TokenizerFile {
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

  /** Finds where texts can be cut; `undefined` where something is done in another way than by Qwen's. */
  cuts(): RegExp | undefined {
    const { normalizer, pre_tokenizer } = this.#json;
    const composes = isRecord(normalizer) && normalizer.type === 'NFC';
    if (!(composes || !normalizer) || !cutsIntoQwensWords(pre_tokenizer)) return undefined;
    if (this.added.some((token) => reachingOptions.some((option) => token[option])))
      return undefined;
    const inAdded = new Set(this.added.flatMap(({ content }) => [...content]));
    const next = [...afterWords].filter((character) => !inAdded.has(character));
    if (next.length === 0) return undefined;
    return new RegExp(
      `(?<=[\\p{L}\\p{N}])(?=[${next.join('').replace(/[\\\]^-]/g, '\\$&')}])`,
      'gu',
    );
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
    return isRecord(value) ? value : this.#invalid(`${where} is not an object`);
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

/** Options of added tokens that change where they are found, or the text around them. */
const reachingOptions = ['lstrip', 'rstrip', 'single_word', 'normalized'] as const;

/**
 * Characters that begin a word of their own behind a letter or a digit, whatever comes next: letters are
 * taken to the last, digits one by one, and nothing looks back. None of them is ever composed with what is
 * before it.
 */
const afterWords =
  ' \n\r\t!"#$%&\'()*+,-./:;=?@[\\]^`{}~\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f';

function cutsIntoQwensWords(preTokenizer: unknown): boolean {
  const { type, pretokenizers } = isRecord(preTokenizer) ? preTokenizer : {};
  if (type !== 'Sequence' || !Array.isArray(pretokenizers) || pretokenizers.length !== 2) {
    return false;
  }
  const [split, bytes]: unknown[] = pretokenizers;
  if (!isRecord(split) || split.type !== 'Split' || !isRecord(bytes)) return false;
  if (split.behavior !== 'Isolated' || split.invert) return false;
  if (!isRecord(split.pattern) || split.pattern.Regex !== qwen2Words) return false;
  return bytes.type === 'ByteLevel' && !bytes.add_prefix_space && bytes.use_regex === false;
}

/** Whether a decoder, or one in a sequence, is ByteLevel. */
function mentionsByteLevel(decoder: unknown): boolean {
  if (typeof decoder !== 'object' || decoder === null) return false;
  const { type, decoders } = decoder as { type?: unknown; decoders?: unknown };
  return type === 'ByteLevel' || (Array.isArray(decoders) && decoders.some(mentionsByteLevel));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
