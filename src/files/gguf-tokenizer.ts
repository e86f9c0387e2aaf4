import { MowgliError } from '../errors.ts';
import { qwen2Words } from '../text/qwen-words.ts';
import { metadataFields } from './gguf-config.ts';
import { GgufArray, type GgufMetadata, GgufStrings } from './gguf-types.ts';
import { type JsonObject, show } from './json.ts';

/** Kinds of tokens in `tokenizer.ggml.token_type`. */
export const tokenKinds = { normal: 1, control: 3, userDefined: 4, unused: 5 } as const;

/** Names of this way of cutting words in `tokenizer.ggml.pre`. */
const qwen2Names = ['qwen2', 'deepseek-r1-qwen'];

/** The files of a Hugging Face tokenizer, parsed. */
export interface TokenizerFiles {
  readonly tokenizerJson: JsonObject;
  readonly tokenizerConfig: JsonObject;
}

/**
 * Hugging Face's `tokenizer.json` and `tokenizer_config.json` for the tokenizer in a GGUF file's
 * metadata: the same ids for the same text. `undefined` when there is no tokenizer in it.
 *
 * Tokens that only fill up the embedding (kind "unused") are left out. GGUF files mark some added
 * tokens as control tokens that Hugging Face does not (`<|fim_prefix|>` and the like); the mark says
 * what a detokenizer may skip and does not change ids.
 *
 * @throws MowgliError `TOKENIZER_INVALID` when it is damaged or not a byte-level BPE of Qwen's kind,
 * `FILE_INVALID` when a token is not UTF-8.
 */
export function ggufTokenizer(metadata: GgufMetadata, name: string): TokenizerFiles | undefined {
  const fields = metadataFields(metadata, name);
  const model = fields.optionalString('tokenizer.ggml.model') ?? 'none';
  if (model === 'none' || model === 'no_vocab') return undefined;
  const unsupported = (problem: string) =>
    new MowgliError(
      'TOKENIZER_INVALID',
      `${name}: ${problem} is not supported; use a file of a Qwen3 model`,
    );
  if (model !== 'gpt2') throw unsupported(`tokenizer.ggml.model ${show(model)}`);
  const pre = fields.optionalString('tokenizer.ggml.pre');
  if (pre === undefined || !qwen2Names.includes(pre)) {
    throw unsupported(`tokenizer.ggml.pre ${show(pre)}`);
  }

  const tokens = strings(metadata, 'tokenizer.ggml.tokens', name);
  const vocab: [string, number][] = [];
  const added: JsonObject[] = [];
  const kinds = kindsOf(metadata, tokens.length, name);
  for (const [id, token] of tokens.entries()) {
    const kind = kinds?.[id];
    if (kind === tokenKinds.unused) continue;
    if (kind === tokenKinds.control || kind === tokenKinds.userDefined) {
      added.push(addedToken(id, token, kind === tokenKinds.control));
    } else {
      vocab.push([token, id]);
    }
  }
  return {
    tokenizerJson: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: { type: 'NFC' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          {
            type: 'Split',
            pattern: { Regex: qwen2Words },
            behavior: 'Isolated',
            invert: false,
          },
          byteLevel,
        ],
      },
      post_processor: byteLevel,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: '',
        end_of_word_suffix: '',
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: uniqueKeys(vocab, name),
        merges: strings(metadata, 'tokenizer.ggml.merges', name).map((merge) => pair(merge, name)),
      },
    },
    tokenizerConfig: {
      ...specialTokens(metadata, tokens),
      ...chatTemplates(metadata),
    },
  };
}

const byteLevel = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: false,
  use_regex: false,
};

function addedToken(id: number, content: string, special: boolean): JsonObject {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, content, ...plain, special };
}

function strings(metadata: GgufMetadata, key: string, name: string): string[] {
  const value = metadata.get(key);
  if (value instanceof GgufArray && value.elements instanceof GgufStrings) {
    return [...value.elements];
  }
  throw invalid(name, `${key} must be an array of strings, but it is ${show(value)}`);
}

/** The kind of every token; `undefined` when all are normal. */
function kindsOf(metadata: GgufMetadata, tokens: number, name: string): Int32Array | undefined {
  const key = 'tokenizer.ggml.token_type';
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  const kinds = value instanceof GgufArray ? value.elements : undefined;
  if (kinds instanceof Int32Array && kinds.length === tokens) return kinds;
  throw invalid(name, `${key} must be an array of ${tokens} i32, but it is ${show(value)}`);
}

/** As an object, in which a later entry of the same key would silently replace an earlier one. */
function uniqueKeys(entries: readonly [string, number][], name: string): JsonObject {
  const object = Object.fromEntries(entries);
  if (Object.keys(object).length === entries.length) return object;
  const seen = new Set<string>();
  const twice = entries.find(([token]) => seen.size === seen.add(token).size);
  throw invalid(name, `tokenizer.ggml.tokens has ${show(twice?.[0])} twice`);
}

/** "a b": neither part can contain a space, which byte-level BPE writes as another character. */
function pair(merge: string, name: string): [string, string] {
  const parts = merge.split(' ');
  if (parts.length === 2) return parts as [string, string];
  throw invalid(name, `the merge ${show(merge)} is not two tokens with a space between them`);
}

/** Tokens that templates refer to, by what `tokenizer_config.json` calls them. */
function specialTokens(metadata: GgufMetadata, tokens: readonly string[]): JsonObject {
  const names = { bos: 'bos_token', eos: 'eos_token', padding: 'pad_token', unknown: 'unk_token' };
  const entries = Object.entries(names).flatMap(([role, name]) => {
    const id = metadata.get(`tokenizer.ggml.${role}_token_id`);
    const token = typeof id === 'number' ? tokens[id] : undefined;
    return token === undefined ? [] : [[name, token]];
  });
  return Object.fromEntries(entries);
}

/** One template, or several by name: `tokenizer.chat_template` and `tokenizer.chat_template.<name>`. */
function chatTemplates(metadata: GgufMetadata): JsonObject {
  const key = 'tokenizer.chat_template';
  const main = metadata.get(key);
  const named = [...metadata].flatMap(([other, template]) =>
    other.startsWith(`${key}.`) ? [{ name: other.slice(key.length + 1), template }] : [],
  );
  if (named.length === 0) return main === undefined ? {} : { chat_template: main };
  const all = main === undefined ? named : [{ name: 'default', template: main }, ...named];
  return { chat_template: all };
}

function invalid(name: string, problem: string): MowgliError {
  return new MowgliError('TOKENIZER_INVALID', `${name}: ${problem}; download the file again`);
}
