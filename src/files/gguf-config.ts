import { MowgliError } from '../errors.ts';
import type { GenerationDefaults } from './generation-defaults.ts';
import { generationDefaults } from './generation-defaults.ts';
import { GgufArray, type GgufMetadata, GgufStrings, type GgufValue } from './gguf-types.ts';
import { Fields, show } from './json.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import { showShape, type TensorInfo } from './tensors.ts';

const architecture = 'qwen3moe';

/**
 * Keys that change the arithmetic, in this architecture or in relatives, with the values at which
 * they do not. Absent always passes. Written without the architecture's prefix.
 */
const mustBeInert: Readonly<Record<string, readonly GgufValue[]>> = {
  'attention.sliding_window': [0],
  'attention.causal': [true],
  'attention.scale': [],
  'attention.clamp_kqv': [],
  'attention.max_alibi_bias': [],
  attn_logit_softcapping: [0],
  final_logit_softcapping: [0],
  logit_scale: [0, 1],
  embedding_scale: [0, 1],
  residual_scale: [0, 1],
  expert_shared_count: [0],
  expert_shared_feed_forward_length: [0],
  expert_weights_scale: [0, 1],
  expert_gating_func: [1], // softmax
  expert_group_count: [0, 1],
  expert_group_used_count: [0, 1],
  leading_dense_block_count: [0],
  nextn_predict_layers: [0],
  'rope.dimension_sections': [],
  'rope.scale_linear': [0, 1],
  'rope.scaling.alpha': [0, 1],
  'rope.scaling.yarn_log_multiplier': [0],
  'rope.scaling.yarn_ext_factor': [-1, 1],
  'rope.scaling.yarn_attn_factor': [1],
};

/** Tokens that end a turn or a text in every Qwen model, whatever the metadata names. */
const endTokens = ['<|im_end|>', '<|endoftext|>'];

/**
 * The configuration that the metadata of a GGUF file describes, for architecture `qwen3moe`. What
 * llama.cpp has no key for is as it computes it: no biases, query and key norms, all layers with
 * experts. The values then pass through the same checks as those of a `config.json`.
 *
 * @param tensors of the file, under Hugging Face's names: they tell the size of the vocabulary, and
 * whether the output has a matrix of its own
 * @throws MowgliError `CONFIG_INVALID` when a key is missing, malformed or contradicts another,
 * `CONFIG_UNSUPPORTED` for other architectures and for what would be computed wrongly, `TENSOR_MISSING`
 * when there is no embedding.
 */
export function ggufConfig(
  metadata: GgufMetadata,
  tensors: ReadonlyMap<string, TensorInfo>,
  name: string,
): ModelConfig {
  const fields = metadataFields(metadata, name);
  checkKind(fields);
  checkInert(fields, metadata);
  const key = (suffix: string) => `${architecture}.${suffix}`;
  const integer = (suffix: string, fallback?: number) => {
    const value = perLayer(fields, metadata, key(suffix));
    return new Fields({ [key(suffix)]: value }, name).integer(key(suffix), {}, fallback);
  };

  const headDim = parseHeadDim(fields, key);
  const expertsPerToken = integer('expert_used_count');
  const config = {
    architectures: ['Qwen3MoeForCausalLM'],
    vocab_size: vocabularySize(tensors, name),
    tie_word_embeddings: !tensors.has('lm_head.weight'),
    hidden_size: integer('embedding_length'),
    num_hidden_layers: integer('block_count'),
    num_attention_heads: integer('attention.head_count'),
    num_key_value_heads: integer('attention.head_count_kv'),
    ...(headDim !== undefined && { head_dim: headDim }),
    num_experts: integer('expert_count'),
    num_experts_per_tok: expertsPerToken,
    // As in llama.cpp, for files from before there was a key.
    moe_intermediate_size: integer(
      'expert_feed_forward_length',
      Math.floor(integer('feed_forward_length', 0) / expertsPerToken) || undefined,
    ),
    // Of no layer; some files say 0, or a number of their own.
    intermediate_size: integer('feed_forward_length', 0) || 1,
    norm_topk_prob: fields.boolean(key('expert_weights_norm'), true),
    rms_norm_eps: decimal(fields.positive(key('attention.layer_norm_rms_epsilon'))),
    max_position_embeddings: integer('context_length'),
    rope_theta: decimal(fields.positive(key('rope.freq_base'), 10_000)),
    ...ropeScaling(fields, key),
    eos_token_id: endTokenIds(fields, metadata),
  };
  return parseModelConfig(config, undefined, `${name} (its metadata as a config.json)`);
}

/**
 * What the metadata recommends for sampling: the keys `general.sampling.*` that llama.cpp's conversion
 * script takes from `generation_config.json` (llama.cpp pull request 17120).
 * @throws MowgliError `CONFIG_INVALID` for a wrong type or range.
 */
export function ggufGenerationDefaults(metadata: GgufMetadata, name: string): GenerationDefaults {
  const prefix = 'general.sampling.';
  const renamed = { temp: 'temperature', penalty_repeat: 'repetition_penalty' } as const;
  const entries = [...metadata].flatMap(([key, value]) => {
    if (!key.startsWith(prefix)) return [];
    const field = key.slice(prefix.length);
    const isNumber = typeof value === 'number';
    return [[renamed[field as keyof typeof renamed] ?? field, isNumber ? decimal(value) : value]];
  });
  return generationDefaults(Object.fromEntries(entries), `${name} (${prefix}*)`);
}

/** Typed access to metadata. Arrays show as their length, and 64-bit numbers as text. */
export function metadataFields(metadata: GgufMetadata, name: string): Fields {
  const values = Array.from(metadata, ([key, value]) => {
    return [key, typeof value === 'bigint' ? String(value) : value] as const;
  });
  return new Fields(Object.fromEntries(values), name);
}

function checkKind(fields: Fields): void {
  const found = fields.optionalString('general.architecture');
  if (found === undefined) throw fields.wrong('general.architecture', `"${architecture}"`);
  const kind = fields.optionalString('general.type') ?? 'model';
  if (found === architecture && kind === 'model') return;
  const what =
    found === architecture ? `general.type ${show(kind)}` : `architecture ${show(found)}`;
  throw new MowgliError(
    'CONFIG_UNSUPPORTED',
    `${fields.where}: ${what} is not supported; use a model of the architecture ${architecture}, such as Qwen3-Coder`,
  );
}

function checkInert(fields: Fields, metadata: GgufMetadata): void {
  for (const [suffix, inert] of Object.entries(mustBeInert)) {
    const key = `${architecture}.${suffix}`;
    const value = metadata.get(key);
    if (value === undefined || inert.includes(value)) continue;
    const expected = inert.map(show).concat('absent').join(' or ');
    throw fields.wrong(key, `${expected}, as nothing else is supported`, 'CONFIG_UNSUPPORTED');
  }
}

/** A value that may be given once for all layers, or for each of them; then all must agree. */
function perLayer(fields: Fields, metadata: GgufMetadata, key: string): unknown {
  const value = metadata.get(key);
  if (!(value instanceof GgufArray)) return fields.value(key);
  const { elements } = value;
  if (elements instanceof GgufStrings || elements.length === 0) return value;
  const first = elements[0];
  for (const element of elements) {
    if (element === first) continue;
    throw fields.wrong(key, 'the same for all layers, as nothing else is supported');
  }
  return typeof first === 'bigint' ? Number(first) : first;
}

function parseHeadDim(fields: Fields, key: (suffix: string) => string): number | undefined {
  const name = key('attention.key_length');
  if (!fields.has(name)) return undefined;
  const headDim = fields.integer(name);
  for (const suffix of ['attention.value_length', 'rope.dimension_count']) {
    if (fields.integer(key(suffix), {}, headDim) !== headDim) {
      throw fields.wrong(
        key(suffix),
        `the same as ${name} (${headDim}), as nothing else is supported`,
        'CONFIG_UNSUPPORTED',
      );
    }
  }
  return headDim;
}

function vocabularySize(tensors: ReadonlyMap<string, TensorInfo>, name: string): number {
  const embedding = tensors.get('model.embed_tokens.weight');
  if (embedding === undefined) {
    throw new MowgliError(
      'TENSOR_MISSING',
      `${name} lacks token_embd.weight; it is a part of a split model, or holds no model: point to the first part`,
    );
  }
  if (embedding.shape.length === 2) return embedding.shape[0];
  throw new MowgliError(
    'TENSOR_SHAPE',
    `${name}: token_embd.weight has the shape ${showShape(embedding.shape)}, but must have two dimensions; download the file again`,
  );
}

/** `rope_scaling` of a `config.json`. Scaling by a factor of 1, or an absent one, is none. */
function ropeScaling(fields: Fields, key: (suffix: string) => string): object {
  const at = (suffix: string) => key(`rope.scaling.${suffix}`);
  const type = fields.optionalString(at('type')) ?? 'none';
  const factor = decimal(fields.number(at('factor'), { min: 0 }, 0)) || 1;
  if (type === 'none' || (type === 'linear' && factor === 1)) return {};
  if (type !== 'yarn') {
    throw fields.wrong(
      at('type'),
      '"yarn" or "none", as nothing else is supported',
      'CONFIG_UNSUPPORTED',
    );
  }
  // llama.cpp multiplies its own 0.1 ln(factor) + 1 with what the file says. The betas it reads for a
  // few architectures only; a file of this one that has them means them all the same.
  const attention = decimal(fields.positive(at('attn_factor'), 1)) * (0.1 * Math.log(factor) + 1);
  const originalContext = at('original_context_length');
  return {
    rope_scaling: {
      rope_type: 'yarn',
      factor,
      ...(fields.has(originalContext) && {
        original_max_position_embeddings: fields.integer(originalContext),
      }),
      attention_factor: attention,
      beta_fast: decimal(fields.positive(at('yarn_beta_fast'), 32)),
      beta_slow: decimal(fields.positive(at('yarn_beta_slow'), 1)),
    },
  };
}

/** The end of the text, of the turn, and what every Qwen model ends with. */
function endTokenIds(fields: Fields, metadata: GgufMetadata): number[] {
  const named = ['eos_token_id', 'eot_token_id'].flatMap((suffix) => {
    const key = `tokenizer.ggml.${suffix}`;
    return fields.has(key) ? [fields.integer(key, { min: 0 })] : [];
  });
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const strings = tokens instanceof GgufArray ? tokens.elements : undefined;
  const known =
    strings instanceof GgufStrings
      ? endTokens.map((token) => strings.indexOf(token)).filter((id) => id >= 0)
      : [];
  return [...new Set([...named, ...known])];
}

/**
 * The shortest decimal that is the same number in f32. Metadata are f32 of what a `config.json` wrote
 * in decimals: 1e-6 comes as 9.999999974752427e-7, and is to be 1e-6 again.
 */
function decimal(value: number): number {
  if (Math.fround(value) !== value || !Number.isFinite(value)) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
