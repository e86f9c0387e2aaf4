import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { MowgliError } from '../errors.ts';
import { checkTensors, expectedTensors } from './expected-tensors.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import { elementCount, type TensorInfo } from './tensors.ts';

const data = (path: string) =>
  readFile(new URL(`../../tests/data/configs/${path}`, import.meta.url));

async function realConfig(model: string): Promise<ModelConfig> {
  return parseModelConfig(JSON.parse(String(await data(`${model}/config.json`))));
}

const base = {
  model_type: 'qwen3_moe',
  vocab_size: 10,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_experts: 3,
  num_experts_per_tok: 2,
  moe_intermediate_size: 5,
  intermediate_size: 7,
};

describe('the real models', () => {
  it('Qwen3-Coder-30B: the names of its index, and its total_size to the byte', async () => {
    const config = await realConfig('Qwen3-Coder-30B-A3B-Instruct');
    const path = 'Qwen3-Coder-30B-A3B-Instruct/model.safetensors.index.json.gz';
    const index = JSON.parse(String(gunzipSync(await data(path))));
    const expected = [...expectedTensors(config)];
    expect(expected).toHaveLength(18867);
    const names = expected.map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(Object.keys(index.weight_map)));
    const bytes = expected.reduce((sum, { shape }) => sum + 2 * elementCount(shape), 0);
    expect(bytes).toBe(61064245248);
    expect(bytes).toBe(index.metadata.total_size);
  });

  it('Qwen3-Coder-480B: its number of parameters', async () => {
    const config = await realConfig('Qwen3-Coder-480B-A35B-Instruct');
    const parameters = [...expectedTensors(config)].reduce(
      (sum, { shape }) => sum + elementCount(shape),
      0,
    );
    expect((parameters / 1e9).toFixed(2)).toBe('480.15');
  });
});

describe('expectedTensors', () => {
  it('has the shapes of the architecture', () => {
    const config = parseModelConfig({ ...base, mlp_only_layers: [1] });
    const shapes = Object.fromEntries(
      [...expectedTensors(config)].map(({ name, shape }) => [name, shape]),
    );
    expect(shapes).toMatchObject({
      'model.embed_tokens.weight': [10, 8],
      'model.norm.weight': [8],
      'lm_head.weight': [10, 8],
      'model.layers.0.input_layernorm.weight': [8],
      'model.layers.0.self_attn.q_proj.weight': [24, 8],
      'model.layers.0.self_attn.k_proj.weight': [12, 8],
      'model.layers.0.self_attn.v_proj.weight': [12, 8],
      'model.layers.0.self_attn.o_proj.weight': [8, 24],
      'model.layers.0.self_attn.q_norm.weight': [6],
      'model.layers.0.self_attn.k_norm.weight': [6],
      'model.layers.0.post_attention_layernorm.weight': [8],
      'model.layers.0.mlp.gate.weight': [3, 8],
      'model.layers.0.mlp.experts.2.gate_proj.weight': [5, 8],
      'model.layers.0.mlp.experts.2.up_proj.weight': [5, 8],
      'model.layers.0.mlp.experts.2.down_proj.weight': [8, 5],
      'model.layers.1.mlp.gate_proj.weight': [7, 8],
      'model.layers.1.mlp.up_proj.weight': [7, 8],
      'model.layers.1.mlp.down_proj.weight': [8, 7],
    });
    // 3 global, 8 per layer, a router and 3 x 3 experts, 3 dense
    expect(Object.keys(shapes)).toHaveLength(3 + 2 * 8 + 1 + 9 + 3);
  });
});

describe('checkTensors', () => {
  const config = parseModelConfig(base);
  const tied = parseModelConfig({ ...base, tie_word_embeddings: true });

  function tensors(of: ModelConfig, change?: (map: Map<string, TensorInfo>) => void) {
    const map = new Map<string, TensorInfo>();
    for (const { name, shape } of expectedTensors(of)) {
      map.set(name, { name, type: 'F32', shape, bytes: 4 * elementCount(shape) });
    }
    change?.(map);
    return map;
  }
  const extra =
    (name: string, shape = [1]) =>
    (map: Map<string, TensorInfo>) =>
      map.set(name, { name, type: 'F32', shape, bytes: 4 });

  function failure(of: ModelConfig, change: (map: Map<string, TensorInfo>) => void): MowgliError {
    try {
      checkTensors(of, tensors(of, change), 'model');
    } catch (error) {
      return error as MowgliError;
    }
    return expect.fail('it should have failed');
  }

  it('accepts what it should, and what Hugging Face ignores', () => {
    checkTensors(config, tensors(config), 'model');
    checkTensors(tied, tensors(tied), 'model');
    checkTensors(tied, tensors(tied, extra('lm_head.weight')), 'model');
    const buffer = 'model.layers.0.self_attn.rotary_emb.inv_freq';
    checkTensors(config, tensors(config, extra(buffer)), 'model');
  });

  it('names the missing ones and counts them', () => {
    const error = failure(config, (map) => {
      for (const name of [...map.keys()]) if (name.includes('experts.1.')) map.delete(name);
    });
    expect(error.code).toBe('TENSOR_MISSING');
    expect(error.message).toContain(
      'lacks 6 tensors that its config.json calls for: model.layers.0.mlp.experts.1.gate_proj.weight,',
    );
    expect(error.message).toContain('and 3 more');
  });

  it('says what is there instead of the missing ones', () => {
    const error = failure(config, (map) => {
      for (const name of [...map.keys()])
        if (name.includes('layers.0.mlp.experts')) map.delete(name);
      extra('model.layers.0.mlp.experts.gate_up_proj')(map);
    });
    expect(error.code).toBe('TENSOR_MISSING');
    expect(error.message).toContain('it has model.layers.0.mlp.experts.gate_up_proj instead');
  });

  it('misses the output matrix of a model that is not tied', () => {
    const error = failure(config, (map) => map.delete('lm_head.weight'));
    expect(error.message).toContain(
      'lacks 1 tensors that its config.json calls for: lm_head.weight.',
    );
  });

  it('compares shapes', () => {
    const error = failure(config, extra('model.norm.weight', [1, 8]));
    expect(error.code).toBe('TENSOR_SHAPE');
    expect(error.message).toContain('model.norm.weight ([1, 8] instead of [8])');
  });

  it('refuses what the model would not use', () => {
    const error = failure(config, (map) => {
      extra('model.layers.0.self_attn.q_proj.bias')(map);
      for (let i = 0; i < 4; i++) extra(`model.layers.0.mlp.shared_expert.${i}`)(map);
    });
    expect(error.code).toBe('TENSOR_UNEXPECTED');
    expect(error.message).toContain('has 5 tensors');
    expect(error.message).toContain('model.layers.0.self_attn.q_proj.bias');
    expect(error.message).toContain('and 2 more');
    expect(failure(config, extra('model.layers.2.input_layernorm.weight')).code).toBe(
      'TENSOR_UNEXPECTED',
    );
  });
});
