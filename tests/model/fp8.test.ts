import { describe, expect, test } from 'vitest';
import type { MowgliError } from '../../src/errors.ts';
import { openCheckpoint } from '../../src/files/checkpoint.ts';
import { scaleName, scaleShape } from '../../src/files/fp8-tensors.ts';
import { MemoryFolder } from '../../src/files/memory.ts';
import { parseModelConfig } from '../../src/files/model-config.ts';
import { SyntheticStore } from '../../src/files/synthetic.ts';
import { elementCount, type TensorStore, tensorRange } from '../../src/files/tensors.ts';
import { writeCheckpoint } from '../../src/files/write-safetensors.ts';
import { loadModel } from '../../src/node.ts';
import { formatBytes, type NumberType, numberFormats } from '../../src/quant/index.ts';
import { toyConfig } from './folders.ts';

/** A tensor as values, to be stored in some type. */
interface Values {
  type: NumberType;
  shape: readonly number[];
  values: Float32Array;
}

function storeOf(tensors: ReadonlyMap<string, Values>): TensorStore {
  const infos = Array.from(tensors, ([name, { type, shape }]) => ({
    ...{ name, type, shape },
    bytes: formatBytes(type, elementCount(shape)),
  }));
  const store: TensorStore = {
    tensors: new Map(infos.map((info) => [info.name, info])),
    read: async (name, options) => {
      const { type, values } = tensors.get(name)!;
      const { offset, length } = tensorRange(store.tensors.get(name)!, options);
      return numberFormats[type].encode!(values).subarray(offset, offset + length);
    },
    close: async () => {},
  };
  return store;
}

/** As Qwen lists them: https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 */
function modulesToNotConvert(layers: number): string[] {
  const perLayer = ['input_layernorm', 'mlp.gate', 'post_attention_layernorm'];
  const names = Array.from({ length: layers }, (_, i) =>
    perLayer.map((module) => `model.layers.${i}.${module}`),
  );
  return ['lm_head', ...names.flat()];
}

/** Whether the module is a linear layer that stays FP8; the embedding is none. */
const isConverted = (tensor: string, listed: readonly string[]) =>
  /_proj\.weight$/.test(tensor) &&
  !listed.some((module) => tensor === `${module}.weight` || tensor.startsWith(`${module}.`));

interface Making {
  config: Readonly<Record<string, unknown>>;
  alsoNotConverted?: readonly string[];
  scaleType?: 'F32' | 'BF16';
  section?: object;
  edit?: (tensors: Map<string, Values>) => void;
}

/** A model in FP8, in the layout of Qwen's, and the same weights as F32. */
async function models({ config, alsoNotConverted = [], scaleType = 'BF16', ...making }: Making) {
  const plain = { ...toyConfig, ...config };
  const parsed = parseModelConfig(plain);
  const source = new SyntheticStore(parsed, { seed: 3, type: 'BF16' });
  const listed = [...modulesToNotConvert(parsed.numHiddenLayers), ...alsoNotConverted];
  const fp8 = new Map<string, Values>();
  const f32 = new Map<string, Values>();
  for (const [name, { shape }] of source.tensors) {
    const values = new Float32Array(elementCount(shape));
    numberFormats.BF16.decode(await source.read(name), values);
    f32.set(name, { type: 'F32', shape, values });
    fp8.set(name, { type: 'BF16', shape, values });
    if (!isConverted(name, listed)) continue;
    const { weights, scales } = quantise(values, shape[1], scaleType);
    fp8.set(name, { type: 'F8_E4M3', shape, values: weights });
    fp8.set(scaleName(name), { type: scaleType, shape: scaleShape(shape), values: scales });
    const scaleOf = scaleLookup(shape[1], scales);
    f32.set(name, { type: 'F32', shape, values: weights.map((w, i) => w * scaleOf(i)) });
  }
  making.edit?.(fp8);
  const quantization = {
    ...{ quant_method: 'fp8', activation_scheme: 'dynamic', weight_block_size: [128, 128] },
    modules_to_not_convert: listed,
    ...making.section,
  };
  const folders = { fp8: new MemoryFolder('fp8'), f32: new MemoryFolder('f32') };
  await writeCheckpoint(
    folders.fp8,
    {
      configJson: { ...plain, quantization_config: quantization },
      generationConfigJson: {},
      tensors: storeOf(fp8),
    },
    { maxShardBytes: 200_000, chunkBytes: 1 << 20 }, // in shards, as the real one is
  );
  await writeCheckpoint(folders.f32, {
    configJson: plain,
    generationConfigJson: {},
    tensors: storeOf(f32),
  });
  return folders;
}

const scaleLookup = (columns: number, scales: Float32Array) => (i: number) =>
  scales[(Math.floor(i / columns) >> 7) * Math.ceil(columns / 128) + ((i % columns) >> 7)];

/** Values that e4m3 has, and scales that map the largest of each block of 128 x 128 to 448. */
function quantise(values: Float32Array, columns: number, scaleType: 'F32' | 'BF16') {
  const rows = values.length / columns;
  const largest = new Float32Array(elementCount(scaleShape([rows, columns])));
  const at = scaleLookup(
    columns,
    largest.map((_, i) => i),
  );
  // Blocks differ in size by powers of two: a scale taken from a neighbour would show.
  const varied = values.map((value, i) => value * 2 ** ((at(i) % 3) - 1));
  for (const [i, value] of varied.entries()) {
    largest[at(i)] = Math.max(largest[at(i)], Math.abs(value));
  }
  const format = numberFormats[scaleType];
  const scales = new Float32Array(largest.length);
  format.decode(format.encode!(largest.map((value) => value / 440)), scales);
  const scaleOf = scaleLookup(columns, scales);
  const weights = new Float32Array(values.length);
  numberFormats.F8_E4M3.decode(
    numberFormats.F8_E4M3.encode!(varied.map((value, i) => value / scaleOf(i))),
    weights,
  );
  expect(weights.every(Number.isFinite)).toBe(true);
  return { weights, scales };
}

const cases: Record<string, Making> = {
  'whole blocks': {
    config: {
      ...{ hidden_size: 256, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64 },
      moe_intermediate_size: 128,
    },
  },
  'no size a multiple of 128, scales in F32': {
    config: {
      ...{ hidden_size: 200, num_attention_heads: 5, num_key_value_heads: 1, head_dim: 62 },
      moe_intermediate_size: 72,
    },
    scaleType: 'F32',
  },
  'no size a multiple of 8, dense layers and sparse ones': {
    config: {
      ...{ hidden_size: 301, num_attention_heads: 3, num_key_value_heads: 1, head_dim: 46 },
      ...{ moe_intermediate_size: 130, intermediate_size: 141, mlp_only_layers: [1] },
    },
  },
  'more modules left as they are: in attention, and experts of a layer with others in FP8': {
    config: { hidden_size: 200, moe_intermediate_size: 140, head_dim: 34 },
    alsoNotConverted: [
      'model.layers.0.self_attn.k_proj',
      'model.layers.1.self_attn.o_proj',
      'model.layers.0.mlp.experts.3',
      'model.layers.1.mlp.experts.0.up_proj',
    ],
  },
};

async function answers(folder: MemoryFolder, tokens: readonly number[]) {
  await using model = await loadModel(folder, { context: 128, chunk: 24 });
  const logits = await model.logits(tokens, { every: true });
  let greedy: readonly number[] = [];
  for await (const part of model.generate({ tokens }, { temperature: 0, maxTokens: 24 })) {
    if (part.type === 'end') greedy = part.tokens;
  }
  return { logits, greedy };
}

/** NaN when there is one on either side. */
const largestDifference = (a: Float32Array, b: Float32Array) =>
  a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);

describe.each(Object.entries(cases))('FP8: %s', (_, making) => {
  test('computes as the same weights in F32 do', async () => {
    const { fp8, f32 } = await models(making);
    // Enough for the matrix-matrix kernels, and for a second chunk with a few rows.
    const tokens = Array.from({ length: 37 }, (_, i) => (i * 89 + 5) % 256);
    const quantised = await answers(fp8, tokens);
    const plain = await answers(f32, tokens);
    expect(plain.logits.some((value) => Math.abs(value) > 1)).toBe(true);
    expect(largestDifference(plain.logits, quantised.logits)).toBeLessThanOrEqual(1e-3);
    expect(quantised.greedy).toHaveLength(24);
    expect(quantised.greedy).toEqual(plain.greedy);
  });
});

test('a single scale that is wrong shows in the logits', async () => {
  const name = 'model.layers.1.self_attn.o_proj.weight_scale_inv';
  const making = { config: { hidden_size: 200, head_dim: 34 } };
  const { fp8, f32 } = await models({
    ...making,
    edit: (tensors) => {
      const { values } = tensors.get(name)!;
      values[values.length - 1] *= 1.25;
    },
  });
  const { tensors } = await openCheckpoint(fp8);
  expect(tensors.tensors.get('model.layers.1.self_attn.o_proj.weight')!.type).toBe('F8_B128');
  const tokens = [1, 2, 3, 4, 5];
  const wrong = await answers(fp8, tokens);
  const right = await answers(f32, tokens);
  expect(largestDifference(wrong.logits, right.logits)).toBeGreaterThan(1e-2);
});

describe('FP8 folders with something wrong', () => {
  const weight = 'model.layers.1.mlp.experts.2.up_proj.weight';
  const scales = `${weight}_scale_inv`;
  const config = { hidden_size: 200, moe_intermediate_size: 140 };
  const wrong: Record<string, [Omit<Making, 'config'>, string, RegExp]> = {
    'no scales': [
      { edit: (tensors) => tensors.delete(scales) },
      'TENSOR_MISSING',
      /lacks 1 tensors.*experts\.2\.up_proj\.weight_scale_inv/,
    ],
    'scales of another shape': [
      { edit: (tensors) => tensors.set(scales, { ...tensors.get(scales)!, shape: [4, 1] }) },
      'TENSOR_SHAPE',
      /weight_scale_inv \(\[4, 1\] instead of \[2, 2\]\)/,
    ],
    'scales of another type': [
      { edit: (tensors) => tensors.set(scales, { ...tensors.get(scales)!, type: 'F16' }) },
      'TENSOR_TYPE',
      /weight_scale_inv \(F16 instead of F32 or BF16\)/,
    ],
    'scales of a weight that needs none': [
      { edit: (tensors) => tensors.set(weight, { ...tensors.get(weight)!, type: 'BF16' }) },
      'TENSOR_UNEXPECTED',
      /up_proj\.weight_scale_inv/,
    ],
    'a norm in FP8': [
      {
        edit: (tensors) =>
          tensors.set('model.norm.weight', {
            ...tensors.get('model.norm.weight')!,
            type: 'F8_E4M3',
          }),
      },
      'TENSOR_TYPE',
      /model\.norm\.weight \(F8_E4M3, which only matrices can be\)/,
    ],
    'a module in FP8 that is said not to be': [
      { section: { modules_to_not_convert: ['model.layers.1.mlp.experts.2.up_proj'] } },
      'TENSOR_TYPE',
      /experts\.2\.up_proj\.weight \(F8_E4M3, and modules_to_not_convert lists it\)/,
    ],
  };
  test.each(Object.entries(wrong))('%s', async (_, [making, code, message]) => {
    const { fp8 } = await models({ config, ...making });
    const error: MowgliError = await openCheckpoint(fp8).then(
      () => expect.unreachable('it opened'),
      (reason) => reason,
    );
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test('FP8 weights under a configuration without a word of it', async () => {
    const { fp8, f32 } = await models({ config });
    fp8.files.set('config.json', f32.files.get('config.json')!);
    await expect(openCheckpoint(fp8)).rejects.toThrow(/config\.json has no quantization_config/);
  });
});
