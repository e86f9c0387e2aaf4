/** YaRN context extension (Peng et al. 2023, arXiv:2309.00071), as in Hugging Face's `rope_scaling`. */
export interface YarnConfig {
  readonly factor: number;
  /** Context length, in tokens, that the model was trained at. */
  readonly originalMaxPositionEmbeddings: number;
  /** Multiplies cos and sin; `0.1 ln(factor) + 1` when the file does not say. */
  readonly attentionFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the correction range is rounded outwards to whole dimensions (Hugging Face's default). */
  readonly truncate: boolean;
}

/** Shape and constants of a `Qwen3MoeForCausalLM`. Field names follow `config.json`, in camel case. */
export interface ModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Elements per head; independent of hiddenSize / numAttentionHeads. */
  readonly headDim: number;
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
}
