import { expect, test } from 'vitest';
import { compareLogits } from '../../kernels-test/reference/compare.ts';
import { type LayerTrace, ReferenceModel } from '../../kernels-test/reference/model.ts';
import { uniform } from '../../kernels-test/reference/random.ts';
import { openCheckpoint } from '../../src/files/checkpoint.ts';
import { loadModel } from '../../src/node.ts';
import type { TensorType } from '../../src/quant/index.ts';
import { complete, greedy } from './complete.ts';
import { type Making, madeModel } from './folders.ts';

/** Largest difference of logits that an implementation in float32 may have. */
const tolerance = 1e-3;

const typed =
  (patterns: Readonly<Record<string, TensorType>>) =>
  (tensor: string): TensorType | undefined =>
    Object.entries(patterns).find(([pattern]) => tensor.includes(pattern))?.[1];

/** Models of random weights that no fixture is like. */
const models: Record<string, Making> = {
  'mlp_only_layers: a dense layer between two sparse ones': {
    config: { num_hidden_layers: 3, mlp_only_layers: [1] },
  },
  'decoder_sparse_step 2: every other layer is sparse': {
    config: { num_hidden_layers: 4, decoder_sparse_step: 2 },
  },
  'no experts at all': { config: { num_experts: 0, num_experts_per_tok: 0 } },
  'weights of the chosen experts not divided by their sum': { config: { norm_topk_prob: false } },
  'the same, dense and sparse mixed, output tied to the embedding': {
    config: {
      norm_topk_prob: false,
      num_hidden_layers: 3,
      mlp_only_layers: [0],
      tie_word_embeddings: true,
    },
  },
  'every expert chosen': { config: { num_experts: 4, num_experts_per_tok: 4 } },
  'a single expert': { config: { num_experts: 1, num_experts_per_tok: 1 } },
  'odd sizes, dense and sparse': {
    config: {
      hidden_size: 44,
      num_attention_heads: 3,
      num_key_value_heads: 1,
      head_dim: 10,
      num_experts: 5,
      num_experts_per_tok: 3,
      moe_intermediate_size: 13,
      intermediate_size: 29,
      mlp_only_layers: [1],
      vocab_size: 51,
    },
  },
  'the smallest sizes': {
    config: {
      hidden_size: 3,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      head_dim: 2,
      num_experts: 2,
      num_experts_per_tok: 1,
      moe_intermediate_size: 1,
      vocab_size: 9,
    },
  },
  'weights in F32, dense and sparse': { config: { mlp_only_layers: [1] }, type: () => 'F32' },
  'weights in F16, dense and sparse, odd sizes': {
    config: { hidden_size: 42, intermediate_size: 31, mlp_only_layers: [1] },
    type: () => 'F16',
  },
  'a number type per tensor': {
    config: { mlp_only_layers: [1], tie_word_embeddings: false },
    type: typed({
      embed_tokens: 'F16',
      lm_head: 'F32',
      k_proj: 'F32',
      v_proj: 'F16',
      k_norm: 'F32',
      input_layernorm: 'F32',
      'mlp.gate.': 'F32',
      'layers.0.mlp.experts.3.': 'F32',
      'layers.1.mlp.up_proj': 'F16',
    }),
  },
  'gate, up and down of other types, and of other types in one expert': {
    type: typed({
      'experts.5.up': 'F32',
      'layers.0.mlp.experts.2.down': 'BF16',
      down_proj: 'F16',
    }),
  },
};

test.each(Object.keys(models))('%s', async (name) => {
  const folder = await madeModel(models[name]);
  const checkpoint = await openCheckpoint(folder);
  const { config } = checkpoint;
  const reference = new ReferenceModel(config, checkpoint.tensors);
  const random = uniform(1);
  const tokens = Array.from({ length: 26 }, () => Math.floor(random() * config.vocabSize));
  const trace: LayerTrace[] = [];
  const expected = await reference.forward(tokens, { trace });
  reference.rewind();
  const continuation = await reference.greedy(tokens, 8);
  expect(routerMargin(trace, config.numExperts), 'a clear choice of experts').toBeGreaterThan(1e-4);

  // Three full chunks, and one that is short enough for the kernels of decoding.
  await using model = await loadModel(folder, { context: 40, chunk: 8 });
  const actual = await model.logits(tokens, { every: true });
  const { maxAbs } = compareLogits(expected, actual, config.vocabSize);
  expect(maxAbs).toBeLessThan(tolerance);
  const { end } = await complete(model, { tokens }, { ...greedy, maxTokens: 8 });
  expect(end?.tokens).toEqual(continuation);
});

test('a chunk is cut to what one dispatch can hold', async () => {
  const experts = 64; // times 1100 tokens is more than the 65535 workgroups of a row
  const folder = await madeModel({
    config: {
      hidden_size: 16,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      head_dim: 4,
      num_experts: experts,
      num_experts_per_tok: experts,
      moe_intermediate_size: 8,
      vocab_size: 64,
    },
  });
  const { config, tensors } = await openCheckpoint(folder);
  const tokens = Array.from({ length: 1100 }, (_, i) => (i * i) % 64);
  const expected = await new ReferenceModel(config, tensors).forward(tokens, { every: false });
  await using model = await loadModel(folder, { context: 1100, chunk: 1100 });
  expect(model.chunk).toBe(Math.floor(65535 / experts));
  const { maxAbs } = compareLogits(expected, await model.logits(tokens), config.vocabSize);
  expect(maxAbs).toBeLessThan(tolerance);
});

/** Smallest gap between the router logits of the last expert chosen and the first one not. */
function routerMargin(trace: readonly LayerTrace[], experts: number): number {
  let margin = Number.POSITIVE_INFINITY;
  for (const { routerLogits, routing } of trace) {
    if (!routerLogits || !routing || routing.k === experts) continue;
    for (let at = 0; at < routerLogits.length; at += experts) {
      const row = [...routerLogits.subarray(at, at + experts)].sort((a, b) => b - a);
      margin = Math.min(margin, row[routing.k - 1] - row[routing.k]);
    }
  }
  return margin;
}
