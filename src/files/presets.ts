/** Configurations to make models of without a file: two real ones, and small ones for tests. */
export const presets = {
  tiny: toy([256, 4, 16, 4, 256, 8, 2, 32, 2048]),
  small: toy([512, 6, 32, 4, 256, 8, 2, 64, 8192]),
  mid: toy([1024, 12, 64, 8, 512, 16, 4, 64, 32000]),
  /** Qwen3-Coder-30B-A3B-Instruct. */
  coder30b: coder([2048, 48, 128, 8, 768, 32, 4, 128, 151936], 5472, 28),
  /** Qwen3-Coder-480B-A35B-Instruct. */
  coder480b: coder([6144, 62, 160, 8, 2560, 96, 8, 128, 151936], 8192, 62),
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof presets;

/** What the presets may be called: their own names, and those that the models are known by. */
export const presetNames: Readonly<Record<string, PresetName>> = {
  ...(Object.fromEntries(Object.keys(presets).map((name) => [name, name])) as Record<
    string,
    PresetName
  >),
  'qwen3-coder-30b': 'coder30b',
  'qwen3-coder-480b': 'coder480b',
};

/** What the files of a Hugging Face model folder would hold. */
export interface Preset {
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly generationConfigJson: Readonly<Record<string, unknown>>;
}

/** hidden, layers, experts, experts per token, expert size, heads, KV heads, head size, vocabulary */
type Shape = readonly [
  hidden: number,
  layers: number,
  experts: number,
  topk: number,
  moe: number,
  heads: number,
  kv: number,
  headDim: number,
  vocab: number,
];

function toy(shape: Shape): Preset {
  return {
    configJson: {
      ...commonConfig(shape),
      intermediate_size: 2 * shape[0],
      max_position_embeddings: 32768,
      rope_theta: 1000000,
    },
    // No end token: random weights should not stop a test or a benchmark halfway.
    generationConfigJson: { do_sample: false },
  };
}

function coder(shape: Shape, intermediateSize: number, maxWindowLayers: number): Preset {
  return {
    configJson: {
      ...commonConfig(shape),
      eos_token_id: 151645,
      intermediate_size: intermediateSize,
      max_position_embeddings: 262144,
      max_window_layers: maxWindowLayers,
      qkv_bias: false,
      rope_theta: 10000000,
      shared_expert_intermediate_size: 0,
      use_qk_norm: true,
    },
    generationConfigJson: {
      do_sample: true,
      eos_token_id: [151645, 151643],
      pad_token_id: 151643,
      repetition_penalty: 1.05,
      temperature: 0.7,
      top_k: 20,
      top_p: 0.8,
    },
  };
}

function commonConfig(shape: Shape): Record<string, unknown> {
  const [hidden, layers, experts, topk, moe, heads, kv, headDim, vocab] = shape;
  return {
    architectures: ['Qwen3MoeForCausalLM'],
    attention_bias: false,
    decoder_sparse_step: 1,
    head_dim: headDim,
    hidden_act: 'silu',
    hidden_size: hidden,
    mlp_only_layers: [],
    model_type: 'qwen3_moe',
    moe_intermediate_size: moe,
    norm_topk_prob: true,
    num_attention_heads: heads,
    num_experts: experts,
    num_experts_per_tok: topk,
    num_hidden_layers: layers,
    num_key_value_heads: kv,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    sliding_window: null,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    use_sliding_window: false,
    vocab_size: vocab,
  };
}
