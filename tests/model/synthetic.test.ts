import { expect, it } from 'vitest';
import { Engine } from '../../src/generate/engine.ts';
import { openModel, syntheticModel } from '../../src/index.ts';
import { openGpuInNode } from '../../src/node.ts';
import { traceRouting } from './trace-routing.ts';

const layers = 62;
const tokens = Array.from({ length: 24 }, (_, i) => (i * 977 + 31) % 2048);

it('stays finite over as many layers as the largest model has, and tokens choose for themselves', async () => {
  const synthetic = await syntheticModel(`synthetic:tiny?type=q4_k&layers=${layers}`);
  const checkpoint = await openModel({ synthetic });
  const { vocabSize, numExperts, numExpertsPerTok: topK } = checkpoint.config;
  const gpu = await openGpuInNode();
  const engine = await Engine.load(gpu, checkpoint, {
    context: tokens.length,
    chunk: tokens.length,
    kvType: 'f32',
  });
  let logits: Float32Array = new Float32Array();
  const experts = await traceRouting(engine, async () => {
    logits = await engine.everyLogits(tokens);
  });
  await engine.dispose();
  gpu.dispose();

  const best = tokens.map((_, position) => {
    const row = logits.subarray(position * vocabSize, (position + 1) * vocabSize);
    const largest = row.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
    expect(row.every(Number.isFinite)).toBe(true);
    // Of 2048 values with deviation 4.
    expect(largest).toBeGreaterThan(6);
    expect(largest).toBeLessThan(40);
    return row.indexOf(largest);
  });
  expect(new Set(best).size).toBeGreaterThan(tokens.length / 2);
  const last = experts.slice(-8);
  for (const ids of last) expect(new Set(ids).size).toBeGreaterThan(numExperts / 2);
  // Two tokens by chance share topK / numExperts of their experts.
  const shared = last.flatMap((ids) => {
    const sets = tokens.map((_, t) => new Set(ids.subarray(t * topK, (t + 1) * topK)));
    return sets.flatMap((a, i) =>
      sets.slice(i + 1).map((b) => [...b].filter((id) => a.has(id)).length / topK),
    );
  });
  const mean = shared.reduce((sum, share) => sum + share, 0) / shared.length;
  expect(mean).toBeLessThan(2 * (topK / numExperts));
});
