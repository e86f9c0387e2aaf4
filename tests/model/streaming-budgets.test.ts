import { expect, test } from 'vitest';
import type { ModelSource } from '../../src/files/open-model.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { findModel, type LoadOptions, loadModelOn, type MowgliError } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { openFaultyGpu } from './faulty-gpu.ts';
import { toyConfig } from './folders.ts';
import { randomModel, randomTokens, temporaryFolder, writeModel } from './quantized.ts';

const folder = temporaryFolder();
const prompt = randomTokens(256, 20);

/** Loads a model on a device of its own; answers the error when it does not fit. */
async function tryLoad(gpu: Gpu, source: ModelSource, options: LoadOptions) {
  try {
    return { model: await loadModelOn(async () => gpu, source, { ...options, tuning: 'off' }) };
  } catch (error) {
    expect(gpu.ledger.byLabel()).toEqual({});
    return { error: error as MowgliError };
  }
}

/** The bytes that an error says are missing. */
function bytesMissing({ code, message }: MowgliError): number {
  expect(code).toBe('OUT_OF_MEMORY');
  const more = /allow (\d+) bytes more \(gpuMemory/.exec(message);
  expect(more, message).not.toBeNull();
  return Number(more![1]);
}

const toy = { name: 'toy', configJson: { ...toyConfig, num_experts: 9 } };

// What kernels read besides weights, tables, and rounding count, too.
test.each<[string, LoadOptions, () => Promise<ModelSource>]>([
  ['floats', { context: 500, chunk: 1 }, async () => ({ synthetic: toy })],
  [
    'a format with a codebook',
    { context: 64, chunk: 1 },
    () => findModel('synthetic:tiny?layers=1&type=q8_0&down_type=iq3_xxs'),
  ],
  [
    'three layouts of experts',
    { context: 64, chunk: 30 },
    async () => {
      const path = await writeModel(folder, randomModel({ num_hidden_layers: 3 }), {
        type: 'Q8_0',
        typeOf: (name) => {
          if (/^blk\.1\..*_exps/.test(name)) return 'F16';
          return name === 'blk.2.ffn_up_exps.weight' ? 'Q5_1' : undefined;
        },
      });
      return findModel(path);
    },
  ],
])(
  '%s: the memory allowed is kept to, and what is said to be missing is',
  async (_, shape, open) => {
    const source = await open();
    const load = async (gpuMemory: number) => {
      const faulty = await openFaultyGpu();
      return { faulty, ...(await tryLoad(faulty.gpu, source, { ...shape, gpuMemory })) };
    };
    const least = 1 + bytesMissing((await load(1)).error!);
    expect(bytesMissing((await load(least - 1)).error!)).toBe(1);

    const answers: (readonly number[])[] = [];
    for (const gpuMemory of [least, Math.ceil(1.1 * least)]) {
      const { model, faulty } = await load(gpuMemory);
      const buffers = faulty.buffers();
      const observed: number[] = [];
      model!.observeRouting(({ tokens }) => observed.push(tokens), 3);
      const { tokens } = await complete(model!, { tokens: prompt }, { ...greedy, maxTokens: 6 });
      answers.push(tokens);
      expect(observed.length).toBeGreaterThan(5);
      await model!.logits(prompt, { every: true });
      for (const topK of [0, 50]) {
        const options = { temperature: 1, topK, repetitionPenalty: 1.1, maxTokens: 2 };
        await complete(model!, { tokens: prompt }, options);
      }
      expect(faulty.buffers(), 'nothing is allocated after loading').toBe(buffers);
      expect(faulty.gpu.ledger.peakBytes).toBeLessThanOrEqual(gpuMemory);
      await model!.dispose();
      expect(faulty.gpu.ledger.byLabel()).toEqual({});
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  },
);
