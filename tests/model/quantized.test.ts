import { expect, test } from 'vitest';
import { uniform } from '../../kernels-test/reference/random.ts';
import { some } from '../../kernels-test/thorough.ts';
import type { GgufTensorData } from '../../src/files/gguf-write.ts';
import { openModel } from '../../src/files/open-model.ts';
import { elementCount } from '../../src/files/tensors.ts';
import { findModel } from '../../src/node.ts';
import { type NumberType, numberFormats } from '../../src/quant/index.ts';
import { randomBlocks } from '../../src/quant/random-blocks.ts';
import {
  expectAgreement,
  randomModel,
  randomTokens,
  sharedGpu,
  temporaryFolder,
  writeModel,
} from './quantized.ts';

// Models in formats that this library cannot write: their matrices are blocks of random bits,
// scaled so that activations stay about 1. Norms and routers are F32, as in every GGUF file.

const folder = temporaryFolder();
const gpu = await sharedGpu();

/** Rows of every matrix are one block, or several, of 256. */
const config = {
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 64,
  num_experts: 5,
  num_experts_per_tok: 2,
  moe_intermediate_size: 256,
  vocab_size: 301,
};

/** Writes a random model; `typeOf` says the format of each matrix by GGUF's name. */
function writeRandom(typeOf: (tensor: string) => NumberType, changes: object = {}) {
  const random = uniform(7);
  return writeModel(folder, randomModel({ ...config, ...changes }), {
    type: 'F32',
    change: ({ metadata, tensors }) => ({
      metadata,
      tensors: tensors.map((tensor): GgufTensorData => {
        const { name, shape } = tensor;
        if (shape.length === 1 || name.includes('ffn_gate_inp')) return tensor;
        const type = typeOf(name);
        const blocks = elementCount(shape) / numberFormats[type].blockElements;
        // Deviations like those of the synthetic weights; values reach two or three of them.
        const inputs = shape[shape.length - 1];
        const gain = name.startsWith('token_embd')
          ? inputs ** 0.5
          : name === 'output.weight'
            ? 4
            : 1;
        const bytes = randomBlocks(type, blocks, random, (2.5 * gain) / inputs ** 0.5);
        return { name, shape, type, bytes: () => [bytes] };
      }),
    }),
  });
}

/**
 * Of each pair one format is that of the experts, the other that of everything else. The kernels' own tests have every
 * format in every product, with f32 or int8 activations at least; the usual run has some of the pairs, a thorough one all.
 */
const pairs: readonly (readonly [experts: NumberType, others: NumberType])[] = [
  ['Q2_K', 'Q6_K'],
  ['Q5_K', 'Q3_K'],
  ['IQ4_XS', 'IQ4_NL'],
  ['IQ3_S', 'Q4_K'],
  ['IQ3_XXS', 'IQ2_S'],
  ['IQ2_XXS', 'IQ2_XS'],
  ['IQ1_S', 'IQ1_M'],
];

test.each(some(pairs, 3))('experts in %s, everything else in %s', async (experts, others) => {
  const path = await writeRandom((name) => (name.includes('_exps') ? experts : others), {
    num_hidden_layers: 1,
  });
  // A chunk for the kernels of prefill, and a short one for those of decoding.
  await expectAgreement(gpu, path, { tokens: randomTokens(301, 11), chunk: 9 });
});

test('every format of GGUF in one model', async () => {
  const types = (Object.keys(numberFormats) as NumberType[]).filter((type) => !/^F8/.test(type));
  let next = 0;
  const used = new Set<NumberType>();
  const path = await writeRandom(
    () => {
      const type = types[next++ % types.length];
      used.add(type);
      return type;
    },
    { num_hidden_layers: 3 },
  );
  expect(used.size).toBe(23);
  const checkpoint = await openModel(await findModel(path));
  const stored = Array.from(checkpoint.tensors.tensors.values(), ({ type }) => type);
  await checkpoint.close();
  expect(new Set(stored)).toEqual(used);
  await expectAgreement(gpu, path, { tokens: randomTokens(301, 11), chunk: 9 });
});
