import { describe, expect, test } from 'vitest';
import { compareLogits } from '../../kernels-test/reference/compare.ts';
import {
  type FixtureName,
  fixtureFolder,
  fixtureNames,
  openFixture,
} from '../../kernels-test/reference/fixtures.ts';
import { Engine } from '../../src/generate/engine.ts';
import type { Gpu, GpuCapabilities } from '../../src/gpu/device.ts';
import { loadModel, loadModelOn, type Model, openGpuInNode } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { endless } from './folders.ts';
import { halfCacheShare } from './half-cache.ts';
import { traceRouting } from './trace-routing.ts';

/** Largest difference of logits that an implementation in float32 may have. */
const tolerance = 1e-3;

async function expectAgreement(model: Model, name: FixtureName): Promise<void> {
  const { expected, config, close } = await openFixture(name);
  await close();
  const { tokens } = expected;
  const logits = await model.logits(tokens, { every: true });
  const { maxAbs } = compareLogits(expected.logits, logits, config.vocabSize);
  expect(maxAbs).toBeLessThan(tolerance);
  const maxTokens = expected.greedy.length;
  const { end } = await complete(model, { tokens }, { ...greedy, maxTokens });
  expect(end?.tokens).toEqual(expected.greedy);
}

describe.each(fixtureNames)('%s', (name) => {
  test.each([1, 7, 512])('in chunks of %i tokens', async (chunk) => {
    const folder = await endless(fixtureFolder(name));
    const context = name === 'yarn' ? 256 : 512; // of which yarn has no more
    await using model = await loadModel(folder, { context, chunk });
    expect(model.chunk).toBe(Math.min(chunk, context));
    await expectAgreement(model, name);
  });

  test('by the same experts, at every position', async () => {
    const checkpoint = await openFixture(name);
    const { expected, config } = checkpoint;
    const gpu = await openGpuInNode();
    const options = { context: expected.tokens.length, chunk: 7, kvType: 'f32' } as const;
    const engine = await Engine.load(gpu, checkpoint, options);
    await checkpoint.close();
    const experts = await traceRouting(engine, async () => {
      await engine.logits(expected.tokens);
    });
    expect(experts.map((layer) => [...layer])).toEqual(expected.experts.map((ids) => ids.flat()));
    expect(experts).toHaveLength(config.numHiddenLayers);
    await engine.dispose();
    gpu.dispose();
    expect(gpu.ledger.bytes).toBe(0);
  });

  test('with everything in several bindings', async () => {
    const { config, tensors, close, expected } = await openFixture(name);
    await close();
    const context = Math.ceil((expected.tokens.length + expected.greedy.length) / 64) * 64;
    const bytesOf = (tensor: string) => tensors.tensors.get(`model.${tensor}_proj.weight`)!.bytes;
    // The largest things that cannot be cut: gate and up of one expert, and one head of the cache.
    const expertBytes = 2 * bytesOf('layers.0.mlp.experts.0.gate');
    const headBytes = context * config.headDim * 4;
    const maxBindingBytes = Math.ceil(Math.max(expertBytes, headBytes) / 256) * 256;
    const together = Math.max(
      expertBytes * config.numExperts,
      headBytes * config.numKeyValueHeads,
      tensors.tensors.get('model.embed_tokens.weight')!.bytes,
    );
    expect(together, 'what has to be cut').toBeGreaterThan(maxBindingBytes);

    const buffers: { label: string; bytes: number }[] = [];
    const open = async () =>
      watched(await openGpuInNode({ capabilities: { maxBindingBytes } }), buffers);
    await using model = await loadModelOn(open, await endless(fixtureFolder(name)), { context });
    for (const { label, bytes } of buffers) {
      if (!/^(weights|experts|kv cache)$/.test(label)) continue;
      expect(bytes, label).toBeLessThanOrEqual(maxBindingBytes);
    }
    await expectAgreement(model, name);
  });
});

/** Notes the size of every buffer that is allocated. */
function watched(gpu: Gpu, buffers: { label: string; bytes: number }[]): Gpu {
  const allocate = gpu.allocate.bind(gpu);
  gpu.allocate = async (label, bytes, usage) => {
    buffers.push({ label, bytes });
    return allocate(label, bytes, usage);
  };
  return gpu;
}

test.each<[string, FixtureName, Partial<GpuCapabilities>]>([
  ['without 16-bit floats', 'one-kv-head-f16', { f16: false }],
  ['without subgroups', 'odd-sizes', { subgroups: undefined }],
  ['a real GPU', 'odd-sizes', { software: false }],
  ['a real GPU', 'yarn', { software: false }],
  ['a real GPU', 'experts-160', { software: false }],
  ['a real GPU without subgroups', 'odd-sizes', { software: false, subgroups: undefined }],
])('what another GPU would run, %s: %s', async (_, name, capabilities) => {
  const folder = await endless(fixtureFolder(name));
  await using model = await loadModel(folder, { context: 256, chunk: 24, capabilities });
  await expectAgreement(model, name);
});

test.each(['odd-sizes', 'yarn'] as const)('a cache of 16-bit floats: %s', async (name) => {
  const { expected, config, close } = await openFixture(name);
  await close();
  const folder = await endless(fixtureFolder(name));
  await using model = await loadModel(folder, { context: 256, chunk: 24, kvType: 'f16' });
  const logits = await model.logits(expected.tokens, { every: true });
  const { maxAbs } = compareLogits(expected.logits, logits, config.vocabSize);
  const largest = expected.logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  expect(maxAbs).toBeLessThan(halfCacheShare(config) * largest);
  expect(maxAbs, 'it is not the exact cache').toBeGreaterThan(1e-5);
});
