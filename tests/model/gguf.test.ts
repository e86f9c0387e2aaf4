import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { some } from '../../kernels-test/thorough.ts';
import { type Checkpoint, openCheckpoint } from '../../src/files/checkpoint.ts';
import { openModel } from '../../src/files/open-model.ts';
import { type ChatMessage, findModel, loadModel, loadModelOn, NodeFolder } from '../../src/node.ts';
import type { NumberType } from '../../src/quant/index.ts';
import { complete, greedy } from './complete.ts';
import { tinyCoder } from './folders.ts';
import {
  expectAgreement,
  randomModel,
  randomTokens,
  sharedGpu,
  temporaryFolder,
  writeModel,
} from './quantized.ts';

const folder = temporaryFolder();
const gpu = await sharedGpu();
const asHardware = await sharedGpu({ software: false });
/** Holds two or three experts of 96 x 32 in a binding, and some rows of an embedding. */
const ofSmallBindings = await sharedGpu({ maxBindingBytes: 8192 });

const written = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'MXFP4'] as const;

/** Number types of the tensors in a file, by their names in it. */
async function storedTypes(path: string): Promise<Map<string, NumberType>> {
  const checkpoint = await openModel(await findModel(path));
  const types = new Map(
    Array.from(checkpoint.tensors.tensors.values(), ({ name, type }) => [name, type] as const),
  );
  await checkpoint.close();
  return types;
}

describe('a random model', () => {
  const tokens = randomTokens(256, 19);

  // Each is in one of the mixtures below, too.
  test.each(some(written, 3))('in %s', async (type) => {
    const path = await writeModel(folder, randomModel(), { type });
    expect((await storedTypes(path)).get('model.layers.1.self_attn.q_proj.weight')).toBe(type);
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test('in nine types at once; q, k and v, and gate and up, in types of their own', async () => {
    const types: Record<string, NumberType> = {
      token_embd: 'Q8_0',
      attn_q: 'Q4_0',
      attn_k: 'Q5_1',
      attn_v: 'F16',
      attn_output: 'BF16',
      ffn_gate_exps: 'Q4_1',
      ffn_up_exps: 'Q5_0',
      ffn_down_exps: 'MXFP4',
      output: 'F32',
    };
    const path = await writeModel(folder, randomModel(), {
      type: 'F32',
      typeOf: (name) => types[name.replace(/^blk\.\d+\.|\.weight$/g, '')],
    });
    expect(new Set((await storedTypes(path)).values())).toEqual(new Set(Object.values(types)));
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test('in one type, but for the values of one layer and the up projections of the other', async () => {
    const path = await writeModel(folder, randomModel(), {
      type: 'Q4_0',
      typeOf: (name) => (/blk\.0\.attn_v|blk\.1\.ffn_up_exps/.test(name) ? 'Q8_0' : undefined),
    });
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test('in several files', async () => {
    const path = await writeModel(folder, randomModel(), { type: 'Q8_0', maxBytes: 60_000 });
    expect(path).toMatch(/model-00001-of-0000[3-9]\.gguf$/);
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test.each(['Q8_0', 'MXFP4'] as const)('in %s, the output tied to the embedding', async (type) => {
    // 257 rows of MXFP4 do not end on a word.
    const changes = { tie_word_embeddings: true, vocab_size: 257, hidden_size: 96 };
    const path = await writeModel(folder, randomModel(changes), { type });
    expect((await storedTypes(path)).has('lm_head.weight')).toBe(false);
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test('in Q4_0, but for matrices whose rows are not whole blocks', async () => {
    const changes = { moe_intermediate_size: 44, num_attention_heads: 6, num_key_value_heads: 3 };
    const path = await writeModel(folder, randomModel({ ...changes, head_dim: 18 }), {
      type: 'Q4_0',
    });
    const types = await storedTypes(path);
    expect(types.get('model.layers.0.mlp.experts.0.down_proj.weight')).toBe('F32');
    expect(types.get('model.layers.0.mlp.experts.0.up_proj.weight')).toBe('Q4_0');
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test('in MXFP4, q and k ending within a word', async () => {
    // 30 and 10 rows of 17 bytes: what is stacked into one matrix must begin on a word.
    const changes = { hidden_size: 32, num_attention_heads: 3, num_key_value_heads: 1 };
    const path = await writeModel(folder, randomModel({ ...changes, head_dim: 10 }), {
      type: 'MXFP4',
    });
    await expectAgreement(gpu, path, { tokens, chunk: 8 });
  });

  test.each(['Q5_0', 'MXFP4'] as const)('in %s, in several bindings', async (type) => {
    const changes = { vocab_size: 257, hidden_size: 96 };
    const path = await writeModel(folder, randomModel(changes), { type });
    await expectAgreement(ofSmallBindings, path, { tokens, chunk: 8 });
  });

  test('in MXFP4, by the kernels of a real GPU', async () => {
    const path = await writeModel(folder, randomModel({ hidden_size: 32 }), { type: 'MXFP4' });
    await expectAgreement(asHardware, path, { tokens, chunk: 12 });
  });
});

describe('tiny-coder', () => {
  let original: Checkpoint;
  beforeAll(async () => {
    original = await openCheckpoint(await NodeFolder.open(tinyCoder));
  });
  afterAll(() => original.close());

  const question = 'Write a function that adds two numbers.';
  const messages: readonly ChatMessage[] = [{ role: 'user', content: question }];
  const answer = { ...greedy, maxTokens: 24 };

  test('in BF16 it says what the safetensors model says, by the template in the file', async () => {
    const path = await writeModel(folder, original, { type: 'BF16' });
    await using expected = await loadModelOn(async () => gpu, await NodeFolder.open(tinyCoder), {
      context: 256,
    });
    await using actual = await loadModel(path, { context: 256 });
    expect(actual.hasChatTemplate).toBe(true);
    expect(actual.renderChat(messages)).toBe(expected.renderChat(messages));
    const { text } = await complete(expected, messages, answer);
    expect(text.length).toBeGreaterThan(20);
    expect((await complete(actual, messages, answer)).text).toBe(text);
    expect(actual.tokenize('def f():\n  return 1<|im_end|>')).toEqual(
      expected.tokenize('def f():\n  return 1<|im_end|>'),
    );
  });

  test('another template in the file is the one that is used', async () => {
    const path = await writeModel(folder, original, {
      type: 'Q4_0',
      change: ({ metadata, tensors }) => ({
        metadata: new Map(metadata).set('tokenizer.chat_template', [
          'string',
          '{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}',
        ]),
        tensors,
      }),
    });
    await using model = await loadModelOn(async () => gpu, await findModel(path), { context: 64 });
    expect(model.renderChat(messages)).toBe(`[user] ${question}`);
  });

  test.each(['Q8_0', 'Q4_0'] as const)('in %s, int8 activations change little', async (type) => {
    const source = await findModel(await writeModel(folder, original, { type }));
    const tokens = randomTokens(4000, 48, 5);
    const logits = async (activations: 'f32' | 'int8', chunk: number) => {
      const options = { context: 64, chunk, activations };
      await using model = await loadModelOn(async () => gpu, source, options);
      return await model.logits(tokens, { every: true });
    };
    const exact = await logits('f32', 48);
    const rounded = await logits('int8', 48);
    expect(rounded, 'rounded at all').not.toEqual(exact);
    // 3e-4 nats on text, whatever the format; a wrong scale or sum costs whole nats.
    const { vocabSize } = original.config;
    expect(meanDivergence(exact, rounded, vocabSize)).toBeLessThan(5e-3);
    expect(meanDivergence(exact, await logits('int8', 1), vocabSize)).toBeLessThan(5e-3);
  });

  test.each(['Q8_0', 'Q4_0'] as const)('in %s it agrees with the reference', async (type) => {
    const path = await writeModel(folder, original, { type });
    await expectAgreement(gpu, path, { tokens: randomTokens(4000, 24, 2), chunk: 22 });
  });
});

/** Mean over positions of the KL divergence of the next token's distribution, in nats. */
function meanDivergence(from: Float32Array, to: Float32Array, vocab: number): number {
  const logProbabilities = (logits: Float32Array) => {
    const most = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
    return Float64Array.from(logits, (logit) => logit - most - Math.log(sum));
  };
  let total = 0;
  for (let at = 0; at < from.length; at += vocab) {
    const p = logProbabilities(from.subarray(at, at + vocab));
    const q = logProbabilities(to.subarray(at, at + vocab));
    total += p.reduce((sum, log, i) => sum + Math.exp(log) * (log - q[i]), 0);
  }
  return total / (from.length / vocab);
}
