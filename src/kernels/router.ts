import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { type LanesVariant, lanesLayout, lanesWorkgroups, manyRowsVariant } from './lanes.ts';
import type { Rows } from './matrix.ts';

/**
 * Softmax over the experts' logits, the topK largest with their weights [tokens, topK]; see
 * `shaders/router.wgsl`. Ties go to the lower index.
 */
export function router(
  rec: Recorder,
  args: {
    logits: Rows;
    experts: number;
    topK: number;
    /** Whether the weights are divided by their sum. */
    normalise: boolean;
    tokens: number;
    ids: BufferSlice;
    weights: BufferSlice;
    variant?: LanesVariant;
  },
): void {
  const { logits, experts, topK, normalise, tokens, ids, weights } = args;
  const variant = args.variant ?? manyRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  rec.dispatch(
    rec.gpu.pipelines.get('router', { ...defines, NORMALISE: normalise }),
    [tokens, experts, logits.stride, topK],
    [logits.slice, ids, weights],
    lanesWorkgroups(tokens, groupsPerWorkgroup),
  );
}
