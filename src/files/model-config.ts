import { MowgliError } from '../errors.ts';
import { isCount } from './byte-source.ts';
import { type Fp8Config, parseFp8 } from './fp8-config.ts';
import { Fields, show } from './json.ts';
import { parseRope, type YarnConfig } from './rope-config.ts';

export type { YarnConfig } from './rope-config.ts';

/** Shape and constants of a `Qwen3MoeForCausalLM`. Field names follow `config.json`, in camel case. */
export interface ModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Elements per head; even; independent of hiddenSize / numAttentionHeads. */
  readonly headDim: number;
  /** 0 when the model has none; then no layer is sparse. */
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  readonly moeIntermediateSize: number;
  /** Inner size of the dense MLP in layers without experts. */
  readonly intermediateSize: number;
  /** Whether the chosen experts' weights are divided by their sum. */
  readonly normTopkProb: boolean;
  /** Per layer: true = Mixture of Experts, false = dense MLP (`mlp_only_layers`, `decoder_sparse_step`). */
  readonly sparseLayers: readonly boolean[];
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly yarn: YarnConfig | undefined;
  /** Longest context, in tokens, that the file claims. */
  readonly maxPositionEmbeddings: number;
  readonly tieWordEmbeddings: boolean;
  /** Tokens that end a generation (`generation_config.json` over `config.json`). */
  readonly eosTokenIds: readonly number[];
  /** How weights of type F8_E4M3 are to be read; absent when the file has none. */
  readonly fp8?: Fp8Config;
}

const architecture = 'Qwen3MoeForCausalLM';
const modelType = 'qwen3_moe';

/**
 * Upper bounds, far above any model there is. They keep a damaged or hostile file from asking for
 * millions of tensor names, and every product of two sizes exact in a double.
 */
const maxLayers = 1024;
const maxExperts = 1024;
const maxHeads = 4096;
const maxSize = 2 ** 24;

/** The largest head that the attention kernels are written for. */
const maxHeadDim = 256;

/**
 * Keys that change the arithmetic, in this architecture or in relatives whose configurations are
 * adapted by hand, with the values at which they do not. Absent and null always pass.
 */
const mustBeInert: Readonly<Record<string, readonly unknown[]>> = {
  attention_bias: [false],
  qkv_bias: [false],
  mlp_bias: [false],
  hidden_act: ['silu'],
  use_qk_norm: [true],
  use_sliding_window: [false],
  use_bidirectional_attention: [false],
  attention_chunk_size: [],
  partial_rotary_factor: [1],
  shared_expert_intermediate_size: [0],
  num_shared_experts: [0],
  n_shared_experts: [0],
  first_k_dense_replace: [0],
  scoring_func: ['softmax'],
  routed_scaling_factor: [1],
  n_group: [1],
  topk_group: [1],
  attn_output_gate: [false],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  attention_multiplier: [],
  embedding_multiplier: [1],
  residual_multiplier: [1],
  logits_scaling: [1],
  logit_scale: [1],
};

/**
 * Reads a Hugging Face `config.json` (parsed), with `generation_config.json` (parsed, if any) for
 * the end tokens. Fields that have a default in Hugging Face's `Qwen3MoeConfig` may be absent,
 * except those that make up the model's shape: a wrong shape is better found here. Unknown fields
 * are passed over, unless they are known to change the arithmetic.
 *
 * @throws MowgliError `CONFIG_INVALID` when a field is missing, malformed or contradicts another;
 * `CONFIG_UNSUPPORTED` when the file describes a model that this library would compute wrongly.
 */
export function parseModelConfig(
  configJson: unknown,
  generationConfigJson?: unknown,
  fileName = 'config.json',
): ModelConfig {
  const fields = new Fields(configJson, fileName);
  checkArchitecture(fields);
  const fp8 = parseFp8(fields);
  checkInert(fields);
  checkLayerTypes(fields);

  const hiddenSize = fields.integer('hidden_size', { max: maxSize });
  const numHiddenLayers = fields.integer('num_hidden_layers', { max: maxLayers });
  const numAttentionHeads = fields.integer('num_attention_heads', { max: maxHeads });
  const numKeyValueHeads = fields.integer('num_key_value_heads', { max: maxHeads });
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw fields.wrong(
      'num_attention_heads',
      `a multiple of num_key_value_heads (${numKeyValueHeads})`,
    );
  }
  const numExperts = parseNumExperts(fields);
  const sparseLayers = parseSparseLayers(fields, numHiddenLayers, numExperts);
  const anySparse = sparseLayers.includes(true);
  const anyDense = sparseLayers.includes(false);

  return {
    vocabSize: fields.integer('vocab_size', { max: maxSize }),
    hiddenSize,
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim: parseHeadDim(fields, hiddenSize, numAttentionHeads),
    numExperts,
    numExpertsPerTok: anySparse
      ? fields.integer('num_experts_per_tok', { max: numExperts })
      : fields.integer('num_experts_per_tok', { min: 0 }, 0),
    // A size without a layer that has it may be absent; the default is then only a placeholder.
    moeIntermediateSize: fields.integer(
      'moe_intermediate_size',
      { max: maxSize },
      anySparse ? undefined : 768,
    ),
    intermediateSize: fields.integer(
      'intermediate_size',
      { max: maxSize },
      anyDense ? undefined : 6144,
    ),
    normTopkProb: fields.boolean('norm_topk_prob', false),
    sparseLayers,
    rmsNormEps: fields.positive('rms_norm_eps', 1e-6),
    ...parseRope(fields),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    eosTokenIds: parseEosTokenIds(fields, generationConfigJson),
    ...(fp8 && { fp8 }),
  };
}

function checkArchitecture(fields: Fields): void {
  const architectures = fields.value('architectures');
  const type = fields.optionalString('model_type');
  if (architectures === undefined && type === undefined) {
    throw fields.wrong('architectures', `["${architecture}"]`);
  }
  const isArchitecture =
    architectures === undefined ||
    (Array.isArray(architectures) &&
      architectures.length === 1 &&
      architectures[0] === architecture);
  if (isArchitecture && (type === undefined || type === modelType)) return;
  const found = isArchitecture
    ? `model_type ${show(type)}`
    : `architectures ${show(architectures)}`;
  throw new MowgliError(
    'CONFIG_UNSUPPORTED',
    `${fields.where}: ${found} is not supported; use a model of the architecture ${architecture} (model_type ${modelType}), such as Qwen3-Coder`,
  );
}

function checkInert(fields: Fields): void {
  for (const [key, inert] of Object.entries(mustBeInert)) {
    if (!fields.has(key) || inert.includes(fields.value(key))) continue;
    const expected = inert.map(show).concat('absent').join(' or ');
    throw fields.wrong(key, `${expected}, as nothing else is supported`, 'CONFIG_UNSUPPORTED');
  }
}

function checkLayerTypes(fields: Fields): void {
  const types = fields.value('layer_types');
  if (types === undefined) return;
  if (Array.isArray(types) && types.every((type) => type === 'full_attention')) return;
  throw fields.wrong('layer_types', 'a list of nothing but "full_attention"', 'CONFIG_UNSUPPORTED');
}

/** transformers 5 writes `num_experts` as `num_local_experts`. */
function parseNumExperts(fields: Fields): number {
  const range = { min: 0, max: maxExperts };
  const key = fields.has('num_experts') ? 'num_experts' : 'num_local_experts';
  if (!fields.has(key)) throw fields.wrong('num_experts', 'a whole number');
  const count = fields.integer(key, range);
  if (fields.integer('num_local_experts', range, count) !== count) {
    throw fields.wrong('num_local_experts', `the same as num_experts (${count})`);
  }
  return count;
}

/**
 * As `Qwen3MoeDecoderLayer` in transformers' `modeling_qwen3_moe.py`: layer i has experts unless it is
 * in `mlp_only_layers`, and only if (i + 1) is a multiple of `decoder_sparse_step`.
 */
function parseSparseLayers(fields: Fields, layers: number, numExperts: number): boolean[] {
  const step = fields.integer('decoder_sparse_step', {}, 1);
  const dense = fields.value('mlp_only_layers') ?? [];
  if (!Array.isArray(dense) || !dense.every(isCount)) {
    throw fields.wrong('mlp_only_layers', 'a list of layer numbers');
  }
  const denseLayers = new Set<number>(dense);
  return Array.from(
    { length: layers },
    (_, i) => !denseLayers.has(i) && numExperts > 0 && (i + 1) % step === 0,
  );
}

function parseHeadDim(fields: Fields, hiddenSize: number, numAttentionHeads: number): number {
  if (!fields.has('head_dim') && hiddenSize % numAttentionHeads !== 0) {
    throw fields.wrong(
      'head_dim',
      `given, as hidden_size (${hiddenSize}) is not a multiple of num_attention_heads (${numAttentionHeads})`,
    );
  }
  const headDim = fields.integer('head_dim', { max: maxSize }, hiddenSize / numAttentionHeads);
  if (headDim % 2 !== 0) {
    throw fields.wrong('head_dim', `even, as RoPE turns pairs (here it is ${headDim})`);
  }
  if (headDim > maxHeadDim) {
    throw fields.wrong(
      'head_dim',
      `at most ${maxHeadDim}, the largest supported (here it is ${headDim})`,
      'CONFIG_UNSUPPORTED',
    );
  }
  return headDim;
}

function parseEosTokenIds(fields: Fields, generationConfigJson: unknown): number[] {
  const places = [
    ...(generationConfigJson === undefined
      ? []
      : [new Fields(generationConfigJson, 'generation_config.json')]),
    fields,
  ];
  const place = places.find((candidate) => candidate.has('eos_token_id'));
  if (place === undefined) return [];
  const ids = [place.value('eos_token_id')].flat();
  if (!ids.every(isCount)) throw place.wrong('eos_token_id', 'a token id or a list of them');
  return [...new Set(ids as number[])];
}
