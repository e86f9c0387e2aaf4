import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ReferenceModel } from '../../kernels-test/reference/model.ts';
import { type Checkpoint, openCheckpoint } from '../../src/files/checkpoint.ts';
import { Engine } from '../../src/generate/engine.ts';
import { loadModel, type Model, NodeFolder, openGpuInNode } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { endless, type ReferencePrompt, referencePrompts, tinyCoder } from './folders.ts';
import { halfCacheShare } from './half-cache.ts';
import { traceRouting } from './trace-routing.ts';

/** Largest difference of logits that an implementation in float32 may have. */
const tolerance = 1e-3;

let prompts: readonly ReferencePrompt[];
beforeAll(async () => {
  prompts = await referencePrompts();
});

function promptNamed(name: string): ReferencePrompt {
  return prompts.find((prompt) => prompt.name === name)!;
}

describe('a trained model gives what PyTorch gives', () => {
  let engine: Engine;
  let model: Model;

  beforeAll(async () => {
    const checkpoint = await openCheckpoint(await NodeFolder.open(tinyCoder));
    const gpu = await openGpuInNode();
    engine = await Engine.load(gpu, checkpoint, { context: 1536, chunk: 512, kvType: 'f32' });
    await checkpoint.close();
    model = await loadModel(await endless(tinyCoder), { context: 1536 + 48 });
  });
  afterAll(async () => {
    await engine?.dispose();
    engine?.gpu.dispose();
    await model?.dispose();
  });

  test('the same logits, by the same experts', async () => {
    for (const prompt of prompts) {
      let logits: Float32Array = new Float32Array();
      engine.rewind(0);
      const experts = await traceRouting(engine, async () => {
        logits = await engine.logits(prompt.ids);
      });
      const gaps = prompt.top20_ids.map((id, i) => Math.abs(logits[id] - prompt.top20_logits[i]));
      expect(Math.max(...gaps), prompt.name).toBeLessThan(tolerance);
      const k = engine.config.numExpertsPerTok;
      expect(experts.map((layer) => layer.length)).toEqual(
        prompt.experts.map(() => k * prompt.ids.length),
      );
      expect(
        experts.map((layer) => [...layer.slice(-k)]),
        prompt.name,
      ).toEqual(prompt.experts);
    }
  });

  test('the same greedy continuation', async () => {
    for (const { name, ids, greedy_ids } of prompts) {
      const { end } = await complete(model, { tokens: ids }, { ...greedy, maxTokens: 48 });
      expect(end?.tokens, name).toEqual(greedy_ids);
      expect(end?.finishReason).toBe('length');
    }
  });
});

test('its end tokens end the text where the reference goes on', async () => {
  await using model = await loadModel(tinyCoder, { context: 128, chunk: 64 });
  const { ids, greedy_ids } = promptNamed('chat_hello');
  const at = greedy_ids.findIndex((id) => model.config.eosTokenIds.includes(id));
  expect(at).toBeGreaterThan(0);
  const { end } = await complete(model, { tokens: ids }, { ...greedy, maxTokens: 48 });
  expect(end?.finishReason).toBe('stop');
  expect(end?.tokens).toEqual(greedy_ids.slice(0, at));
});

describe('prompts cut into chunks', () => {
  const lengths = [1, 2, 127, 128, 129];
  let checkpoint: Checkpoint;
  let text: readonly number[];
  /** By length of the prompt. */
  const expected = new Map<number, Float64Array>();

  beforeAll(async () => {
    checkpoint = await openCheckpoint(await NodeFolder.open(tinyCoder));
    text = promptNamed('tool_read').ids.slice(0, Math.max(...lengths));
    const reference = new ReferenceModel(checkpoint.config, checkpoint.tensors);
    const logits = await reference.forward(text);
    const { vocabSize } = checkpoint.config;
    for (const n of lengths) {
      expected.set(n, logits.subarray((n - 1) * vocabSize, n * vocabSize));
    }
  });
  afterAll(() => checkpoint?.close());

  const continuations: number[][][] = [];
  test.each([1, 7, 64, 512])('of %i tokens', async (chunk) => {
    await using model = await loadModel(await endless(tinyCoder), { context: 512, chunk });
    expect(model.chunk).toBe(chunk);
    const continued: number[][] = [];
    for (const n of lengths) {
      const tokens = text.slice(0, n);
      const logits = await model.logits(tokens);
      let gap = 0;
      for (const [i, value] of expected.get(n)!.entries()) {
        gap = Math.max(gap, Math.abs(value - logits[i]));
      }
      expect(gap, `prompt of ${n}`).toBeLessThan(tolerance);
      const { end } = await complete(model, { tokens }, { ...greedy, maxTokens: 8 });
      continued.push([...end!.tokens]);
    }
    continuations.push(continued);
    expect(continued).toEqual(continuations[0]);
  });
});

describe('what another GPU would run', () => {
  // Each head of the cache, and each expert, then gets a binding of its own; matrices get several.
  const smallBinding = 2 * 128 * 256 * 2;

  test.each([
    ['a real GPU', { software: false }],
    ['small bindings', { maxBindingBytes: smallBinding }],
  ] as const)('%s: the same tokens', async (_, capabilities) => {
    await using model = await loadModel(await endless(tinyCoder), {
      context: 512, // in whole heads of the cache: one small binding
      chunk: 24,
      capabilities,
    });
    for (const prompt of ['py_short', 'py_class'].map(promptNamed)) {
      const logits = await model.logits(prompt.ids);
      const gaps = prompt.top20_ids.map((id, i) => Math.abs(logits[id] - prompt.top20_logits[i]));
      expect(Math.max(...gaps), prompt.name).toBeLessThan(tolerance);
      const { end } = await complete(model, { tokens: prompt.ids }, { ...greedy, maxTokens: 16 });
      expect(end?.tokens).toEqual(prompt.greedy_ids.slice(0, 16));
    }
  });
});

test('a cache of 16-bit floats takes half the memory and changes little', async () => {
  const context = 512;
  await using exact = await loadModel(await endless(tinyCoder), { context, chunk: 64 });
  await using model = await loadModel(await endless(tinyCoder), {
    context,
    chunk: 64,
    kvType: 'f16',
  });
  expect(model.memory().byLabel['kv cache']).toBe(exact.memory().byLabel['kv cache'] / 2);

  for (const { name, ids, greedy_ids, greedy_min_margin, top20_logits } of prompts) {
    if (ids.length > 64) continue;
    const bound = halfCacheShare(model.config) * top20_logits[0];
    const [a, b] = [await exact.logits(ids), await model.logits(ids)];
    let gap = 0;
    for (const [i, value] of a.entries()) gap = Math.max(gap, Math.abs(value - b[i]));
    expect(gap, name).toBeLessThan(bound);
    expect(gap, name).toBeGreaterThan(0);
    if (greedy_min_margin < 2 * bound) continue; // too near a tie to say
    const { end } = await complete(model, { tokens: ids }, { ...greedy, maxTokens: 16 });
    expect(end?.tokens, name).toEqual(greedy_ids.slice(0, 16));
  }
});
