import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { fixtureFolder } from '../../kernels-test/reference/fixtures.ts';
import { type LoadOptions, loadModelOn, type Model } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { endless, madeModel } from './folders.ts';
import { randomTokens, sharedGpu } from './quantized.ts';
import { ask, askComplete, firstDifference, memoryFor } from './streaming.ts';

const gpu = await sharedGpu();
await gpu.reserveReadback(1 << 20);

/** Readbacks per token of a generation, each pass of it counted, and the tokens. */
async function counted(model: Model, prompt: readonly number[], maxTokens: number) {
  const counts: number[] = [];
  let before = gpu.readbacks;
  const tokens: number[] = [];
  for await (const part of model.generate({ tokens: prompt }, { ...greedy, maxTokens })) {
    if (part.type !== 'text') continue;
    tokens.push(...part.tokens);
    counts.push(gpu.readbacks - before);
    before = gpu.readbacks;
  }
  return { counts, tokens };
}

const ones = (count: number) => new Array(count).fill(1);

test('a model that fits: one readback per token, and per prompt', async () => {
  const options: LoadOptions = { context: 64, chunk: 8, tuning: 'off' };
  await using model = await loadModelOn(
    async () => gpu,
    await endless(fixtureFolder('experts-160')),
    options,
  );
  for (const prompt of [[1], randomTokens(259, 20)]) {
    const { counts } = await counted(model, prompt, 6);
    expect(counts).toEqual(ones(6));
  }
});

test('a model that does not fit: one readback per token once everything needed is there', async () => {
  const source = await endless(fixtureFolder('experts-160'));
  const options: LoadOptions = { context: 64, chunk: 8, tuning: 'off' };
  const prompt = randomTokens(259, 3);
  const expected = await askComplete(gpu, source, options, prompt, 10);
  const gpuMemory = memoryFor(expected, 0.75);
  await using model = await withDearReadbacks(() =>
    loadModelOn(async () => gpu, source, { ...options, gpuMemory }),
  );
  const first = await counted(model, prompt, 10);
  expect(Math.max(...first.counts)).toBeGreaterThan(1);

  // The estimate of misses falls by a thirty-second with each layer that has none.
  for (let round = 0; round < 40; round++) await counted(model, prompt, 10);
  const { misses } = model.expertUsage();
  for (let round = 0; round < 3; round++) {
    const { counts, tokens } = await counted(model, prompt, 10);
    expect(tokens).toEqual(expected.tokens);
    expect(counts.slice(1)).toEqual(ones(9)); // the first token comes with the prompt's chunk
  }
  expect(model.expertUsage().misses).toBe(misses);
});

// Misses are then in the first layer, in the last one, and on either side of dense layers.
test.each<[string, number[]]>([
  ['every layer', []],
  ['all but the first and the last', [0, 5]],
  ['every other', [1, 3]],
])('layers recorded behind a miss are done again: experts in %s', async (_, dense) => {
  const layers = 6;
  const source = await madeModel({
    config: { num_hidden_layers: layers, num_experts_per_tok: 1, mlp_only_layers: dense },
    seed: dense.length,
  });
  const options: LoadOptions = { context: 64, chunk: 1, tuning: 'off' };
  const prompt = randomTokens(256, 24);
  const expected = await askComplete(gpu, source, options, prompt, 8);
  const gpuMemory = memoryFor(expected, 0.4);
  await using model = await withDearReadbacks(() =>
    loadModelOn(async () => gpu, source, { ...options, readAhead: 'off', gpuMemory }),
  );
  // Until something is known of the cache, a miss is expected in every layer.
  const actual = await ask(model, prompt, 8);
  expect(firstDifference(actual.logits, expected.logits)).toBe(-1);
  expect(actual.tokens).toEqual(expected.tokens);

  const used = model.expertUsage();
  const uploads = model.expertWaits().map(({ upload }) => upload);
  const passes = 30;
  const readbacks = gpu.readbacks;
  await complete(model, { tokens: [prompt[0]] }, { ...greedy, maxTokens: passes });
  // Each pass waits at its end, and once for each layer (of one expert per token) that missed.
  const now = model.expertUsage();
  expect(gpu.readbacks - readbacks).toBe(passes + now.misses - used.misses);
  expect(now.hits).toBeGreaterThan(used.hits);
  const missed = model.expertWaits().map(({ upload }, layer) => upload > uploads[layer]);
  expect(missed).toEqual(uploads.map((_, layer) => !dense.includes(layer)));
});

/** Loads a model that is told that waiting takes long: it then records as many layers as there are. */
async function withDearReadbacks(load: () => Promise<Model>): Promise<Model> {
  const read = gpu.read.bind(gpu);
  gpu.read = async (slices) => {
    await setTimeout(50);
    return read(slices);
  };
  try {
    return await load();
  } finally {
    gpu.read = read;
  }
}
