import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { ggufConfig, ggufGenerationDefaults } from './gguf-config.ts';
import { readGgufHeader } from './gguf-header.ts';
import type { GgufMetadata } from './gguf-types.ts';
import { encodeGgufHeader, type GgufEntry } from './gguf-write.ts';
import { MemorySource } from './memory.ts';
import { parseModelConfig } from './model-config.ts';
import type { TensorInfo } from './tensors.ts';

/**
 * The metadata of published GGUF files of Qwen3-Coder-30B-A3B-Instruct, as llama.cpp prints them when
 * it loads one (https://github.com/ggml-org/llama.cpp/issues/17067 and others).
 */
const coder30b: Record<string, GgufEntry> = {
  'general.architecture': ['string', 'qwen3moe'],
  'general.type': ['string', 'model'],
  'general.name': ['string', 'Qwen3-Coder-30B-A3B-Instruct'],
  'general.file_type': ['u32', 15],
  'qwen3moe.block_count': ['u32', 48],
  'qwen3moe.context_length': ['u32', 262144],
  'qwen3moe.embedding_length': ['u32', 2048],
  'qwen3moe.feed_forward_length': ['u32', 5472],
  'qwen3moe.attention.head_count': ['u32', 32],
  'qwen3moe.attention.head_count_kv': ['u32', 4],
  'qwen3moe.rope.freq_base': ['f32', 10_000_000],
  'qwen3moe.attention.layer_norm_rms_epsilon': ['f32', 1e-6],
  'qwen3moe.expert_used_count': ['u32', 8],
  'qwen3moe.attention.key_length': ['u32', 128],
  'qwen3moe.attention.value_length': ['u32', 128],
  'qwen3moe.expert_count': ['u32', 128],
  'qwen3moe.expert_feed_forward_length': ['u32', 768],
  'qwen3moe.expert_shared_feed_forward_length': ['u32', 0],
  'tokenizer.ggml.eos_token_id': ['u32', 151645],
};

const eps = 'qwen3moe.attention.layer_norm_rms_epsilon';

const wideHeads: Record<string, GgufEntry> = {
  'qwen3moe.attention.key_length': ['u32', 512],
  'qwen3moe.attention.value_length': ['u32', 512],
};

const coder480b: Record<string, GgufEntry> = {
  ...coder30b,
  'qwen3moe.block_count': ['u32', 62],
  'qwen3moe.embedding_length': ['u32', 6144],
  'qwen3moe.feed_forward_length': ['u32', 8192],
  'qwen3moe.attention.head_count': ['u32', 96],
  'qwen3moe.attention.head_count_kv': ['u32', 8],
  'qwen3moe.expert_count': ['u32', 160],
  'qwen3moe.expert_feed_forward_length': ['u32', 2560],
};

async function metadataOf(entries: Record<string, GgufEntry | undefined>): Promise<GgufMetadata> {
  const given = Object.entries(entries).filter(([, entry]) => entry !== undefined);
  const bytes = encodeGgufHeader({
    metadata: new Map(given as [string, GgufEntry][]),
    tensors: [],
  });
  return (await readGgufHeader(new MemorySource('x.gguf', bytes))).metadata;
}

function tensorsOf(vocab: number, hidden: number, tied = false): Map<string, TensorInfo> {
  const info = { type: 'BF16', shape: [vocab, hidden], bytes: 2 * vocab * hidden } as const;
  const names = ['model.embed_tokens.weight', ...(tied ? [] : ['lm_head.weight'])];
  return new Map(names.map((name) => [name, { name, ...info }]));
}

async function config(changes: Record<string, GgufEntry | undefined> = {}, tied = false) {
  const metadata = await metadataOf({ ...coder30b, ...changes });
  return ggufConfig(metadata, tensorsOf(151936, 2048, tied), 'x.gguf');
}

async function failure(promise: Promise<unknown>): Promise<MowgliError> {
  const error = await promise.then(
    () => expect.fail('it should have failed'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(MowgliError);
  return error;
}

function published(folder: string, file: string): unknown {
  const url = new URL(`../../tests/data/configs/${folder}/${file}`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8'));
}

describe('the configuration in a GGUF file', () => {
  it.each([
    ['Qwen3-Coder-30B-A3B-Instruct', coder30b, 2048],
    ['Qwen3-Coder-480B-A35B-Instruct', coder480b, 6144],
  ])('of %s is that of its config.json', async (folder, entries, hidden) => {
    const expected = parseModelConfig(published(folder, 'config.json'));
    const found = ggufConfig(await metadataOf(entries), tensorsOf(151936, hidden), 'x.gguf');
    expect({ ...found, eosTokenIds: [] }).toEqual({ ...expected, eosTokenIds: [] });
    expect(found.eosTokenIds).toContain(151645);
  });

  it('ends at the tokens named, and at those that end every Qwen text', async () => {
    const tokens = ['a', '<|endoftext|>', 'b', '<|im_end|>', '<|eot|>'];
    const { eosTokenIds } = await config({
      'tokenizer.ggml.tokens': ['array', 'string', tokens],
      'tokenizer.ggml.eos_token_id': ['u32', 3],
      'tokenizer.ggml.eot_token_id': ['u32', 4],
    });
    expect(eosTokenIds).toEqual([3, 4, 1]);
    expect((await config({ 'tokenizer.ggml.eos_token_id': undefined })).eosTokenIds).toEqual([]);
  });

  it('has what llama.cpp assumes where keys are absent', async () => {
    const found = await config(
      {
        'qwen3moe.rope.freq_base': undefined,
        'qwen3moe.expert_feed_forward_length': undefined,
        'qwen3moe.feed_forward_length': ['u32', 6144],
        'qwen3moe.attention.key_length': undefined,
        'qwen3moe.attention.value_length': undefined,
      },
      true,
    );
    expect(found).toMatchObject({
      ropeTheta: 10_000,
      moeIntermediateSize: 768,
      headDim: 64,
      normTopkProb: true,
      tieWordEmbeddings: true,
    });
  });

  it('takes values given for each layer, when they agree', async () => {
    const heads = (values: number[]): Record<string, GgufEntry> => ({
      'qwen3moe.attention.head_count_kv': ['array', 'u32', values],
    });
    expect((await config(heads(Array(48).fill(4)))).numKeyValueHeads).toBe(4);
    const error = await failure(config(heads([4, 4, 8])));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toMatch(/head_count_kv must be the same for all layers/);
    expect(error.message).toContain('an array of 3 u32');
  });

  it('reads YaRN, with the attention factor that llama.cpp multiplies to its own', async () => {
    const yarn: Record<string, GgufEntry> = {
      'qwen3moe.rope.scaling.type': ['string', 'yarn'],
      'qwen3moe.rope.scaling.factor': ['f32', 4],
      'qwen3moe.rope.scaling.original_context_length': ['u32', 262144],
    };
    const found = await config(yarn);
    const json = {
      ...(published('Qwen3-Coder-30B-A3B-Instruct', 'config.json') as object),
      rope_scaling: {
        rope_type: 'yarn',
        factor: 4,
        original_max_position_embeddings: 262144,
      },
    };
    expect({ ...found, eosTokenIds: [] }).toEqual({ ...parseModelConfig(json), eosTokenIds: [] });
    expect(found.maxPositionEmbeddings).toBe(1048576);
    const more = await config({
      ...yarn,
      'qwen3moe.rope.scaling.attn_factor': ['f32', 0.5],
      'qwen3moe.rope.scaling.yarn_beta_fast': ['f32', 24],
    });
    expect(more.yarn!.attentionFactor).toBeCloseTo(0.5 * (0.1 * Math.log(4) + 1), 12);
    expect(more.yarn!.betaFast).toBe(24);
  });

  it.each<[string, Record<string, GgufEntry>]>([
    ['type none', { 'qwen3moe.rope.scaling.type': ['string', 'none'] }],
    ['type linear without a factor', { 'qwen3moe.rope.scaling.type': ['string', 'linear'] }],
    ['a sliding window of 0', { 'qwen3moe.attention.sliding_window': ['u32', 0] }],
    ['softmax routing', { 'qwen3moe.expert_gating_func': ['u32', 1] }],
    ['keys of others', { 'llama.block_count': ['u32', 7], 'qwen3moe.new_thing': ['u8', 1] }],
  ])('is not changed by %s', async (_, changes) => {
    expect(await config(changes)).toEqual(await config());
  });

  it.each<[string, ErrorCode, Record<string, GgufEntry | undefined>]>([
    ['architecture', 'CONFIG_UNSUPPORTED', { 'general.architecture': ['string', 'qwen2moe'] }],
    ['general.architecture', 'CONFIG_INVALID', { 'general.architecture': undefined }],
    ['general.type', 'CONFIG_UNSUPPORTED', { 'general.type': ['string', 'adapter'] }],
    ['block_count', 'CONFIG_INVALID', { 'qwen3moe.block_count': undefined }],
    ['block_count', 'CONFIG_INVALID', { 'qwen3moe.block_count': ['u32', 0] }],
    ['num_hidden_layers', 'CONFIG_INVALID', { 'qwen3moe.block_count': ['u32', 2 ** 31] }],
    ['block_count', 'CONFIG_INVALID', { 'qwen3moe.block_count': ['string', '48'] }],
    ['block_count', 'CONFIG_INVALID', { 'qwen3moe.block_count': ['u64', 2n ** 64n - 1n] }],
    ['block_count', 'CONFIG_INVALID', { 'qwen3moe.block_count': ['f32', 48.5] }],
    ['num_attention_heads', 'CONFIG_INVALID', { 'qwen3moe.attention.head_count_kv': ['u32', 5] }],
    ['num_experts_per_tok', 'CONFIG_INVALID', { 'qwen3moe.expert_used_count': ['u32', 129] }],
    ['expert_count', 'CONFIG_INVALID', { 'qwen3moe.expert_count': ['u32', 0] }],
    ['head_dim', 'CONFIG_UNSUPPORTED', wideHeads],
    ['value_length', 'CONFIG_UNSUPPORTED', { 'qwen3moe.attention.value_length': ['u32', 64] }],
    ['dimension_count', 'CONFIG_UNSUPPORTED', { 'qwen3moe.rope.dimension_count': ['u32', 64] }],
    ['layer_norm_rms_epsilon', 'CONFIG_INVALID', { [eps]: ['f32', Number.NaN] }],
    ['layer_norm_rms_epsilon', 'CONFIG_INVALID', { [eps]: ['f32', 0] }],
    ['freq_base', 'CONFIG_INVALID', { 'qwen3moe.rope.freq_base': ['f32', -1] }],
    ['sliding_window', 'CONFIG_UNSUPPORTED', { 'qwen3moe.attention.sliding_window': ['u32', 9] }],
    ['gating_func', 'CONFIG_UNSUPPORTED', { 'qwen3moe.expert_gating_func': ['u32', 2] }],
    ['expert_shared_count', 'CONFIG_UNSUPPORTED', { 'qwen3moe.expert_shared_count': ['u32', 1] }],
    ['type', 'CONFIG_UNSUPPORTED', { 'qwen3moe.rope.scaling.type': ['string', 'longrope'] }],
    [
      'type',
      'CONFIG_UNSUPPORTED',
      {
        'qwen3moe.rope.scaling.type': ['string', 'linear'],
        'qwen3moe.rope.scaling.factor': ['f32', 2],
      },
    ],
    [
      'factor',
      'CONFIG_INVALID',
      {
        'qwen3moe.rope.scaling.type': ['string', 'yarn'],
        'qwen3moe.rope.scaling.factor': ['f32', 0.5],
      },
    ],
    ['eos_token_id', 'CONFIG_INVALID', { 'tokenizer.ggml.eos_token_id': ['i32', -1] }],
  ])('is refused over %s with %s', async (key, code, changes) => {
    const error = await failure(config(changes));
    expect(error.message).toContain(key);
    expect(error.message).toContain('x.gguf');
    expect(error.code).toBe(code);
  });

  it('needs an embedding of two dimensions', async () => {
    const metadata = await metadataOf(coder30b);
    const none = async () => ggufConfig(metadata, new Map(), 'x.gguf');
    expect((await failure(none())).code).toBe('TENSOR_MISSING');
    const [tensor] = tensorsOf(8, 8).values();
    const flat = new Map([[tensor.name, { ...tensor, shape: [64] }]]);
    const one = async () => ggufConfig(metadata, flat, 'x.gguf');
    expect((await failure(one())).code).toBe('TENSOR_SHAPE');
  });
});

describe('sampling in the metadata', () => {
  it('is read under the names of generation_config.json, as decimals', async () => {
    const metadata = await metadataOf({
      'general.sampling.temp': ['f32', 0.7],
      'general.sampling.top_k': ['i32', 20],
      'general.sampling.top_p': ['f32', 0.8],
      'general.sampling.min_p': ['f32', 0.05],
      'general.sampling.penalty_repeat': ['f32', 1.05],
      'general.sampling.mirostat': ['i32', 0],
    });
    expect(ggufGenerationDefaults(metadata, 'x.gguf')).toEqual({
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      minP: 0.05,
      repetitionPenalty: 1.05,
    });
    expect(ggufGenerationDefaults(await metadataOf(coder30b), 'x.gguf')).toEqual({});
  });

  it('is checked', async () => {
    const metadata = await metadataOf({ 'general.sampling.top_p': ['f32', 1.5] });
    const read = async () => ggufGenerationDefaults(metadata, 'x.gguf');
    const error = await failure(read());
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toMatch(/x.gguf.*top_p/);
  });
});
