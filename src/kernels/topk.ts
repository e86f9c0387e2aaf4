import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { fewRowsVariant, type LanesVariant, lanesLayout, lanesWorkgroups } from './lanes.ts';

/** Most tokens that `topK` finds. */
export const maxTopK = 64;

/** Logits that one group of lanes looks through. */
const slice = 1024;

/** Elements of each of the scratch buffers (f32 values, u32 ids) for `n` values. */
export function topKScratch(n: number): number {
  return Math.ceil(n / slice) * maxTopK;
}

/** Marks in the ids that fewer than k values were numbers. */
export const noId = 0xffffffff;

/**
 * The k largest of n values, in falling order, ties to the lower index: `values` [k] f32 and `ids`
 * [k] u32; with k = 1, argmax. See `shaders/topk.wgsl`.
 */
export function topK(
  rec: Recorder,
  args: {
    logits: BufferSlice;
    n: number;
    k: number;
    /** Scratch of `topKScratch(n)` elements each. */
    scratchValues: BufferSlice;
    scratchIds: BufferSlice;
    values: BufferSlice;
    ids: BufferSlice;
    variant?: LanesVariant;
  },
): void {
  const { logits, n, k, scratchValues, scratchIds, values, ids } = args;
  const variant = args.variant ?? fewRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  const slices = Math.ceil(n / slice);
  rec.dispatch(
    rec.gpu.pipelines.get('topk', { ...defines, SECOND: false }),
    [n, slice, k],
    [logits, scratchValues, scratchIds],
    lanesWorkgroups(slices, groupsPerWorkgroup),
  );
  rec.dispatch(
    rec.gpu.pipelines.get('topk', { ...defines, SECOND: true }),
    [slices * k, slices * k, k],
    [scratchValues, values, ids, scratchIds],
    1,
  );
}
