import type { Engine } from '../../src/generate/engine.ts';

/**
 * Runs `work` while every router's choices are kept; answers, per layer, the experts of all positions
 * evaluated by then, [tokens, numExpertsPerTok], best first (nothing for a dense layer). Only positions that
 * `work` evaluated are meaningful.
 */
export async function traceRouting(
  engine: Engine,
  work: () => Promise<void>,
): Promise<readonly Uint32Array[]> {
  const { numExpertsPerTok: topK, sparseLayers } = engine.config;
  const trace = sparseLayers.map((sparse) => new Uint32Array(sparse ? engine.context * topK : 0));
  const end = engine.observeRouting(({ position, layers }) => {
    for (const [layer, ids] of layers.entries()) trace[layer].set(ids, position * topK);
  });
  try {
    await work();
  } finally {
    end();
  }
  return trace.map((ids) => ids.subarray(0, ids.length && engine.position * topK));
}
