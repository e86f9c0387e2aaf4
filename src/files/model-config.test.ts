import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { generationDefaults } from './generation-defaults.ts';
import { parseModelConfig } from './model-config.ts';
import { presets } from './presets.ts';

async function json(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(
    await readFile(new URL(`../../tests/data/configs/${path}`, import.meta.url), 'utf8'),
  );
}
const coder30b = await json('Qwen3-Coder-30B-A3B-Instruct/config.json');
const generation30b = await json('Qwen3-Coder-30B-A3B-Instruct/generation_config.json');
const coder480b = await json('Qwen3-Coder-480B-A35B-Instruct/config.json');
const yarn1m = (await json('yarn-1m.json')).config_json_change as Record<string, unknown>;

/** The smallest file that Hugging Face's defaults would complete in the same way. */
const minimal = {
  model_type: 'qwen3_moe',
  vocab_size: 100,
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
};

const parse = (changes: Record<string, unknown>) => parseModelConfig({ ...minimal, ...changes });

function failure(run: () => unknown): MowgliError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(MowgliError);
    return error as MowgliError;
  }
  return expect.fail('it should have failed');
}

/** The section as Qwen writes it, with changes. */
const fp8 = (changes: object) => ({
  quantization_config: {
    quant_method: 'fp8',
    activation_scheme: 'dynamic',
    weight_block_size: [128, 128],
    modules_to_not_convert: ['lm_head'],
    ...changes,
  },
});

describe('the real files', () => {
  it('reads Qwen3-Coder-30B-A3B-Instruct', () => {
    expect(parseModelConfig(coder30b, generation30b)).toEqual({
      vocabSize: 151936,
      hiddenSize: 2048,
      numHiddenLayers: 48,
      numAttentionHeads: 32,
      numKeyValueHeads: 4,
      headDim: 128,
      numExperts: 128,
      numExpertsPerTok: 8,
      moeIntermediateSize: 768,
      intermediateSize: 5472,
      normTopkProb: true,
      sparseLayers: Array(48).fill(true),
      rmsNormEps: 1e-6,
      ropeTheta: 10000000,
      yarn: undefined,
      maxPositionEmbeddings: 262144,
      tieWordEmbeddings: false,
      eosTokenIds: [151645, 151643],
    });
    expect(parseModelConfig(coder30b).eosTokenIds).toEqual([151645]);
  });

  it('reads Qwen3-Coder-480B-A35B-Instruct', () => {
    const config = parseModelConfig(coder480b);
    expect(config).toMatchObject({
      hiddenSize: 6144,
      numHiddenLayers: 62,
      numAttentionHeads: 96,
      numKeyValueHeads: 8,
      numExperts: 160,
      moeIntermediateSize: 2560,
    });
  });

  it('reads YaRN for a million tokens', () => {
    const config = parseModelConfig({ ...coder30b, ...yarn1m });
    expect(config.maxPositionEmbeddings).toBe(1048576);
    expect(config.yarn).toEqual({
      factor: 4,
      originalMaxPositionEmbeddings: 262144,
      attentionFactor: 1.138629436111989, // as transformers computes it, see yarn-1m.json
      betaFast: 32,
      betaSlow: 1,
      truncate: true,
    });
  });

  it.each([
    ['Qwen3-Coder-30B-A3B-Instruct', 48],
    ['Qwen3-Coder-480B-A35B-Instruct', 62],
  ])(
    '%s-FP8 is the same model, with all but the output, routers and norms in FP8',
    async (name, layers) => {
      const { fp8: section, ...rest } = parseModelConfig(await json(`${name}-FP8/config.json`));
      expect(rest).toEqual(parseModelConfig(await json(`${name}/config.json`)));
      const modules = section!.notConverted;
      expect(modules).toHaveLength(1 + 3 * layers);
      expect(modules).toContain('lm_head');
      expect(modules).toContain(`model.layers.${layers - 1}.mlp.gate`);
    },
  );

  it('agrees with the presets', () => {
    const of = (preset: keyof typeof presets) =>
      parseModelConfig(presets[preset].configJson, presets[preset].generationConfigJson);
    expect(of('coder30b')).toEqual(parseModelConfig(coder30b, generation30b));
    expect(of('coder480b')).toEqual(parseModelConfig(coder480b, generation30b));
    expect(generationDefaults(presets.coder30b.generationConfigJson)).toEqual(
      generationDefaults(generation30b),
    );
    for (const preset of ['tiny', 'small', 'mid'] as const)
      expect(of(preset).eosTokenIds).toEqual([]);
  });
});

describe('defaults', () => {
  it("are those of Hugging Face's Qwen3MoeConfig", () => {
    expect(parse({})).toMatchObject({
      headDim: 16,
      normTopkProb: false,
      rmsNormEps: 1e-6,
      ropeTheta: 10000,
      yarn: undefined,
      maxPositionEmbeddings: 32768,
      tieWordEmbeddings: false,
      sparseLayers: [true, true, true, true],
      eosTokenIds: [],
    });
  });

  it('stand in for null too', () => {
    const nulls = Object.fromEntries(
      [
        'head_dim',
        'rms_norm_eps',
        'rope_scaling',
        'mlp_only_layers',
        'eos_token_id',
        'sliding_window',
      ]
        .concat(['quantization_config', 'attention_bias', 'layer_types', 'architectures'])
        .map((key) => [key, null]),
    );
    expect(parse(nulls)).toEqual(parse({}));
  });

  it('leave unknown keys alone', () => {
    expect(
      parse({ something_new: { a: 1 }, attention_dropout: 0.1, torch_dtype: 'float64' }),
    ).toEqual(parse({}));
  });
});

describe('which layers have experts', () => {
  // (step, dense layers) as Hugging Face's rule decides for each i: not in the list, and step | i + 1.
  it.each([
    [1, [], [true, true, true, true]],
    [2, [], [false, true, false, true]],
    [3, [], [false, false, true, false]],
    [9, [], [false, false, false, false]],
    [1, [0, 3], [false, true, true, false]],
    [2, [1], [false, false, false, true]],
    [1, [7], [true, true, true, true]],
  ])('step %i, dense %j', (decoder_sparse_step, mlp_only_layers, expected) => {
    const changes = { decoder_sparse_step, mlp_only_layers, intermediate_size: 48 };
    expect(parse(changes).sparseLayers).toEqual(expected);
  });

  it('has none without experts, and then needs only the dense size', () => {
    const { moe_intermediate_size, num_experts_per_tok, ...rest } = minimal;
    const config = parseModelConfig({ ...rest, num_experts: 0, intermediate_size: 48 });
    expect(config).toMatchObject({ numExperts: 0, sparseLayers: [false, false, false, false] });
  });

  it('reads num_local_experts, as transformers 5 writes it', () => {
    const { num_experts, ...rest } = minimal;
    expect(parseModelConfig({ ...rest, num_local_experts: 8 })).toEqual(parse({}));
  });
});

describe('end tokens', () => {
  it.each([
    [5, undefined, [5]],
    [[5, 6, 5], undefined, [5, 6]],
    [5, { eos_token_id: [7, 8] }, [7, 8]],
    [5, { eos_token_id: 7 }, [7]],
    [5, { eos_token_id: null }, [5]],
    [5, {}, [5]],
    [undefined, { eos_token_id: 0 }, [0]],
    [[], undefined, []],
  ])('config %j, generation_config %j', (eos_token_id, generation, expected) => {
    expect(parseModelConfig({ ...minimal, eos_token_id }, generation).eosTokenIds).toEqual(
      expected,
    );
  });
});

describe('RoPE', () => {
  const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 1000 };
  const ln4 = Math.log(4);

  it('takes both spellings, with theta inside the newer one', () => {
    const plain = parse({ rope_theta: 5000 });
    for (const changes of [
      { rope_parameters: { rope_theta: 5000, rope_type: 'default' } },
      { rope_parameters: { rope_theta: 5000 } },
      { rope_parameters: { rope_theta: 5000 }, rope_theta: 5000 },
      { rope_theta: 5000, rope_scaling: { type: 'default' } },
      { rope_theta: 5000, rope_scaling: { rope_type: 'default', type: 'default' } },
      { rope_theta: 5000, rope_scaling: {} },
      { rope_theta: 5000, partial_rotary_factor: 1, rope_parameters: { partial_rotary_factor: 1 } },
    ]) {
      expect(parse(changes), JSON.stringify(changes)).toEqual(plain);
    }
    const scaled = parse({ rope_theta: 5000, rope_scaling: yarn });
    for (const changes of [
      { rope_theta: 5000, rope_scaling: { ...yarn, rope_type: undefined, type: 'yarn' } },
      { rope_parameters: { ...yarn, rope_theta: 5000 } },
      { rope_scaling: yarn, rope_parameters: { ...yarn, rope_theta: 5000 } },
    ]) {
      const text = JSON.parse(JSON.stringify(changes));
      expect(parse(text), JSON.stringify(changes)).toEqual(scaled);
    }
  });

  it.each<[Record<string, unknown>, number]>([
    [{}, 0.1 * ln4 + 1],
    [{ attention_factor: 0.5 }, 0.5],
    [{ attention_factor: null }, 0.1 * ln4 + 1],
    [{ mscale: 1, mscale_all_dim: 0.5 }, (0.1 * ln4 + 1) / (0.05 * ln4 + 1)],
    [{ mscale: 0.7, mscale_all_dim: 0.7 }, 1],
    [{ mscale: 2 }, 0.1 * ln4 + 1],
    [{ mscale_all_dim: 2 }, 0.1 * ln4 + 1],
    [{ mscale: 2, mscale_all_dim: 0 }, 0.1 * ln4 + 1],
    [{ mscale: 2, mscale_all_dim: 1, attention_factor: 3 }, 3],
    [{ factor: 1 }, 1],
    [{ factor: 1, mscale: 2, mscale_all_dim: 1 }, 1],
  ])('YaRN with %j has attention factor %f', (changes, expected) => {
    const config = parse({ rope_scaling: { ...yarn, ...changes } });
    expect(config.yarn!.attentionFactor).toBeCloseTo(expected, 14);
  });

  it('reads the other fields of YaRN', () => {
    const rope_scaling = { ...yarn, beta_fast: 16, beta_slow: 2, truncate: false };
    const expected = { betaFast: 16, betaSlow: 2, truncate: false };
    expect(parse({ rope_scaling }).yarn).toMatchObject(expected);
  });

  it('takes max_position_embeddings for the original length, if the file does not say', () => {
    const rope_scaling = { type: 'yarn', factor: 4 };
    const config = parse({ rope_scaling, max_position_embeddings: 2000 });
    expect(config.yarn!.originalMaxPositionEmbeddings).toBe(2000);
    expect(config.maxPositionEmbeddings).toBe(2000);
    const outside = { rope_scaling, original_max_position_embeddings: 1500 };
    expect(parse(outside).yarn!.originalMaxPositionEmbeddings).toBe(1500);
  });

  it("reaches as far as YaRN does in Qwen's recipe, which leaves max_position_embeddings alone", () => {
    const rope_scaling = { type: 'yarn', factor: 4, original_max_position_embeddings: 32768 };
    const config = parse({ rope_scaling, max_position_embeddings: 40960 });
    expect(config.maxPositionEmbeddings).toBe(131072);
  });

  it.each<[Record<string, unknown>, ErrorCode, string]>([
    [{ rope_theta: 0 }, 'CONFIG_INVALID', 'rope_theta must be a number above 0'],
    [{ rope_theta: '10000' }, 'CONFIG_INVALID', 'rope_theta must be a number'],
    [
      { rope_theta: 1, rope_parameters: { rope_theta: 2 } },
      'CONFIG_INVALID',
      'contradict each other about rope_theta',
    ],
    [
      { rope_scaling: yarn, rope_parameters: { rope_theta: 1 } },
      'CONFIG_INVALID',
      'contradict each other about the scaling',
    ],
    [
      { rope_scaling: yarn, rope_parameters: { ...yarn, factor: 2 } },
      'CONFIG_INVALID',
      'contradict each other',
    ],
    [
      { rope_scaling: yarn, rope_parameters: { ...yarn, truncate: false } },
      'CONFIG_INVALID',
      'contradict each other',
    ],
    [
      { rope_scaling: yarn, original_max_position_embeddings: 999 },
      'CONFIG_INVALID',
      'contradict each other',
    ],
    [{ rope_scaling: 'yarn' }, 'CONFIG_INVALID', 'rope_scaling must be a JSON object'],
    [{ rope_scaling: [yarn] }, 'CONFIG_INVALID', 'rope_scaling must be a JSON object'],
    [
      { rope_scaling: { factor: 4 } },
      'CONFIG_INVALID',
      'rope_type must be "default" or "yarn", but it is missing',
    ],
    [
      { rope_scaling: { rope_type: 'yarn', type: 'default', factor: 4 } },
      'CONFIG_INVALID',
      'the same as rope_type',
    ],
    [{ rope_scaling: { rope_type: 7 } }, 'CONFIG_INVALID', 'rope_type must be a string'],
    [{ rope_scaling: { type: 'linear', factor: 4 } }, 'CONFIG_UNSUPPORTED', 'but it is "linear"'],
    [
      { rope_scaling: { rope_type: 'llama3', factor: 4 } },
      'CONFIG_UNSUPPORTED',
      'but it is "llama3"',
    ],
    [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'CONFIG_UNSUPPORTED', 'but it is "dynamic"'],
    [{ rope_scaling: { rope_type: 'longrope' } }, 'CONFIG_UNSUPPORTED', 'but it is "longrope"'],
    [
      { rope_scaling: { ...yarn, attn_factor: 1 } },
      'CONFIG_UNSUPPORTED',
      'attn_factor is not known',
    ],
    [
      { rope_scaling: { ...yarn, low_freq_factor: 1, x: 2 } },
      'CONFIG_UNSUPPORTED',
      'low_freq_factor, x are not known',
    ],
    [
      { rope_scaling: { rope_type: 'default', mrope_section: [1] } },
      'CONFIG_UNSUPPORTED',
      'mrope_section is not known',
    ],
    [
      { rope_scaling: { rope_type: 'default', factor: 4 } },
      'CONFIG_UNSUPPORTED',
      'factor is not known for type "default"',
    ],
    [
      { rope_parameters: { full_attention: yarn } },
      'CONFIG_UNSUPPORTED',
      'full_attention is not known',
    ],
    [
      { rope_scaling: { ...yarn, factor: 0.5 } },
      'CONFIG_INVALID',
      'factor must be a number of at least 1',
    ],
    [
      { rope_scaling: { type: 'yarn' } },
      'CONFIG_INVALID',
      'factor must be a number of at least 1, but it is missing',
    ],
    [
      { rope_scaling: { ...yarn, beta_fast: 0 } },
      'CONFIG_INVALID',
      'beta_fast must be a number above 0',
    ],
    [
      { rope_scaling: { ...yarn, beta_fast: 2, beta_slow: 3 } },
      'CONFIG_INVALID',
      'at least beta_slow (3)',
    ],
    [
      { rope_scaling: { ...yarn, attention_factor: 0 } },
      'CONFIG_INVALID',
      'attention_factor must be a number above 0',
    ],
    [
      { rope_scaling: { ...yarn, mscale: -1 } },
      'CONFIG_INVALID',
      'mscale must be a number of at least 0',
    ],
    [
      { rope_scaling: { ...yarn, truncate: 'no' } },
      'CONFIG_INVALID',
      'truncate must be true or false',
    ],
    [
      { rope_scaling: { ...yarn, original_max_position_embeddings: 0.5 } },
      'CONFIG_INVALID',
      'original_max_position_embeddings must be a whole number',
    ],
    [{ partial_rotary_factor: 0.5 }, 'CONFIG_UNSUPPORTED', 'partial_rotary_factor must be 1'],
    [
      { rope_parameters: { partial_rotary_factor: 0.5 } },
      'CONFIG_UNSUPPORTED',
      'rope_parameters: partial_rotary_factor must be 1',
    ],
  ])('refuses %j', (changes, code, fragment) => {
    const error = failure(() => parse(changes));
    expect(error.message).toContain(fragment);
    expect(error.message).toContain('config.json');
    expect(error.code).toBe(code);
  });
});

describe('refusals', () => {
  it.each<[Record<string, unknown>, ErrorCode, string]>([
    [
      { model_type: undefined },
      'CONFIG_INVALID',
      'architectures must be ["Qwen3MoeForCausalLM"], but it is missing',
    ],
    [{ model_type: 'qwen3' }, 'CONFIG_UNSUPPORTED', 'model_type "qwen3" is not supported'],
    [{ model_type: 1 }, 'CONFIG_INVALID', 'model_type must be a string'],
    [
      { architectures: ['Qwen2MoeForCausalLM'] },
      'CONFIG_UNSUPPORTED',
      '["Qwen2MoeForCausalLM"] is not supported',
    ],
    [{ architectures: ['Qwen3MoeForCausalLM', 'X'] }, 'CONFIG_UNSUPPORTED', 'is not supported'],
    [{ architectures: [] }, 'CONFIG_UNSUPPORTED', 'architectures [] is not supported'],
    [{ architectures: 'Qwen3MoeForCausalLM' }, 'CONFIG_UNSUPPORTED', 'is not supported'],
    [
      { quantization_config: { quant_method: 'gptq' } },
      'CONFIG_UNSUPPORTED',
      'quant_method "gptq"',
    ],
    [{ compression_config: {} }, 'CONFIG_UNSUPPORTED', 'compression_config'],
    [{ quantization_config: 'fp8' }, 'CONFIG_INVALID', 'quantization_config must be a JSON object'],
    [
      // Scales for whole tensors, as other tools write it under the same name.
      { quantization_config: { quant_method: 'fp8', activation_scheme: 'static' } },
      'CONFIG_UNSUPPORTED',
      'weight_block_size undefined); use FP8 with weight_block_size [128, 128]',
    ],
    [fp8({ weight_block_size: [64, 128] }), 'CONFIG_UNSUPPORTED', 'weight_block_size [64,128]'],
    [fp8({ weight_block_size: [128] }), 'CONFIG_UNSUPPORTED', 'weight_block_size [128]'],
    [fp8({ activation_scheme: 'static' }), 'CONFIG_UNSUPPORTED', 'activation_scheme "static"'],
    [fp8({ fmt: 'e5m2' }), 'CONFIG_UNSUPPORTED', 'fmt "e5m2"'],
    [fp8({ modules_to_not_convert: 'lm_head' }), 'CONFIG_INVALID', 'modules_to_not_convert must'],
    [fp8({ modules_to_not_convert: [1] }), 'CONFIG_INVALID', 'modules_to_not_convert must'],
    [{ attention_bias: true }, 'CONFIG_UNSUPPORTED', 'attention_bias must be false or absent'],
    [{ qkv_bias: true }, 'CONFIG_UNSUPPORTED', 'qkv_bias must be false or absent'],
    [{ mlp_bias: true }, 'CONFIG_UNSUPPORTED', 'mlp_bias'],
    [{ hidden_act: 'gelu' }, 'CONFIG_UNSUPPORTED', 'hidden_act must be "silu" or absent'],
    [{ use_qk_norm: false }, 'CONFIG_UNSUPPORTED', 'use_qk_norm must be true or absent'],
    [
      { use_sliding_window: true, sliding_window: 4096 },
      'CONFIG_UNSUPPORTED',
      'use_sliding_window',
    ],
    [{ layer_types: ['full_attention', 'sliding_attention'] }, 'CONFIG_UNSUPPORTED', 'layer_types'],
    [
      { shared_expert_intermediate_size: 512 },
      'CONFIG_UNSUPPORTED',
      'shared_expert_intermediate_size must be 0',
    ],
    [{ n_shared_experts: 1 }, 'CONFIG_UNSUPPORTED', 'n_shared_experts'],
    [{ scoring_func: 'sigmoid' }, 'CONFIG_UNSUPPORTED', 'scoring_func must be "softmax"'],
    [{ routed_scaling_factor: 2.5 }, 'CONFIG_UNSUPPORTED', 'routed_scaling_factor'],
    [
      { final_logit_softcapping: 30 },
      'CONFIG_UNSUPPORTED',
      'final_logit_softcapping must be absent',
    ],
    [
      { hidden_size: undefined },
      'CONFIG_INVALID',
      'hidden_size must be a whole number of at least 1',
    ],
    [{ hidden_size: '64' }, 'CONFIG_INVALID', 'but it is "64"'],
    [{ hidden_size: 0 }, 'CONFIG_INVALID', 'but it is 0'],
    [{ hidden_size: -64 }, 'CONFIG_INVALID', 'but it is -64'],
    [{ hidden_size: 64.5 }, 'CONFIG_INVALID', 'but it is 64.5'],
    [{ hidden_size: true }, 'CONFIG_INVALID', 'but it is true'],
    [{ hidden_size: 2 ** 30 }, 'CONFIG_INVALID', 'at most 16777216'],
    [{ vocab_size: undefined }, 'CONFIG_INVALID', 'vocab_size'],
    [{ num_hidden_layers: 1e9 }, 'CONFIG_INVALID', 'num_hidden_layers'],
    [{ num_experts: 1e9 }, 'CONFIG_INVALID', 'num_experts'],
    [
      { num_experts: undefined },
      'CONFIG_INVALID',
      'num_experts must be a whole number, but it is missing',
    ],
    [{ num_local_experts: 9 }, 'CONFIG_INVALID', 'the same as num_experts (8)'],
    [{ num_experts_per_tok: 9 }, 'CONFIG_INVALID', 'at most 8, but it is 9'],
    [{ num_experts_per_tok: undefined }, 'CONFIG_INVALID', 'num_experts_per_tok'],
    [{ num_key_value_heads: 3 }, 'CONFIG_INVALID', 'a multiple of num_key_value_heads (3)'],
    [{ num_key_value_heads: undefined }, 'CONFIG_INVALID', 'num_key_value_heads'],
    [{ moe_intermediate_size: undefined }, 'CONFIG_INVALID', 'moe_intermediate_size'],
    [{ mlp_only_layers: [1] }, 'CONFIG_INVALID', 'intermediate_size must be'],
    [
      { mlp_only_layers: [-1] },
      'CONFIG_INVALID',
      'mlp_only_layers must be a list of layer numbers',
    ],
    [{ mlp_only_layers: 1 }, 'CONFIG_INVALID', 'mlp_only_layers'],
    [{ decoder_sparse_step: 0 }, 'CONFIG_INVALID', 'decoder_sparse_step'],
    [{ head_dim: 15 }, 'CONFIG_INVALID', 'head_dim must be even'],
    [
      { head_dim: 512 },
      'CONFIG_UNSUPPORTED',
      'at most 256, the largest supported (here it is 512)',
    ],
    [{ hidden_size: 66 }, 'CONFIG_INVALID', 'head_dim must be given, as hidden_size (66)'],
    [
      { hidden_size: 60 },
      'CONFIG_INVALID',
      'head_dim must be even, as RoPE turns pairs (here it is 15)',
    ],
    [{ rms_norm_eps: 0 }, 'CONFIG_INVALID', 'rms_norm_eps must be a number above 0'],
    [{ norm_topk_prob: 1 }, 'CONFIG_INVALID', 'norm_topk_prob must be true or false'],
    [{ tie_word_embeddings: 'yes' }, 'CONFIG_INVALID', 'tie_word_embeddings'],
    [{ max_position_embeddings: 0 }, 'CONFIG_INVALID', 'max_position_embeddings'],
    [{ eos_token_id: -1 }, 'CONFIG_INVALID', 'eos_token_id must be a token id or a list of them'],
    [{ eos_token_id: [1, '2'] }, 'CONFIG_INVALID', 'eos_token_id'],
    [{ eos_token_id: 1.5 }, 'CONFIG_INVALID', 'eos_token_id'],
  ])('of %j', (changes, code, fragment) => {
    const error = failure(() => parse(changes));
    expect(error.message).toContain(fragment);
    expect(error.message).toContain('config.json');
    expect(error.code).toBe(code);
  });

  it.each([null, [], 'x', 1, undefined])('of %j instead of an object', (value) => {
    expect(failure(() => parseModelConfig(value)).code).toBe('CONFIG_INVALID');
  });

  it('names generation_config.json when that is at fault', () => {
    const error = failure(() => parseModelConfig(minimal, { eos_token_id: 'x' }));
    expect(error.message).toContain('generation_config.json: eos_token_id');
    expect(failure(() => parseModelConfig(minimal, [])).message).toContain(
      'generation_config.json',
    );
  });

  it('sees only what the file itself says', () => {
    const inherited = JSON.parse(`{"__proto__": ${JSON.stringify(minimal)}}`);
    expect(failure(() => parseModelConfig(inherited)).code).toBe('CONFIG_INVALID');
    expect(failure(() => parseModelConfig(Object.create(minimal))).code).toBe('CONFIG_INVALID');
  });
});

describe('generationDefaults', () => {
  it('reads the real file', () => {
    expect(generationDefaults(generation30b)).toEqual({
      doSample: true,
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
    });
  });

  it('says nothing about what the file does not', () => {
    expect(generationDefaults(undefined)).toEqual({});
    expect(generationDefaults({ top_p: null, max_length: 20 })).toEqual({});
    expect(generationDefaults({ min_p: 0.1 })).toEqual({ minP: 0.1 });
  });

  it.each([
    [{ do_sample: 1 }, 'do_sample must be true or false'],
    [{ temperature: -1 }, 'temperature must be a number of at least 0'],
    [{ temperature: '0.7' }, 'temperature'],
    [{ top_k: 1.5 }, 'top_k must be a whole number of at least 0'],
    [{ top_p: 1.1 }, 'top_p must be a number of at least 0 and at most 1'],
    [{ min_p: -0.1 }, 'min_p'],
    [{ repetition_penalty: 0 }, 'repetition_penalty must be a number above 0'],
    [[], 'must be a JSON object'],
  ])('refuses %j', (json, fragment) => {
    const error = failure(() => generationDefaults(json));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(fragment);
  });
});
