import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import {
  fewRowsVariant,
  type LanesVariant,
  lanesLayout,
  lanesWorkgroups,
  manyRowsVariant,
} from './lanes.ts';

/** Most tokens that `topK` finds. */
export const maxTopK = 64;

/** Values per block: k times the blocks, and k blocks' values k times, are looked through. */
const block = 64;

/** Elements of each of the scratch buffers for `n` values. */
export function topKScratch(n: number): number {
  return Math.max(maxTopK, Math.ceil(n / block));
}

/** Marks in the ids that there were fewer than k values. */
export const noId = 0xffffffff;

/**
 * The k largest of n values, in falling order, NaN before all numbers, ties to the lower index: `values` [k] f32 and `ids`
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
  const many = lanesLayout(rec.gpu, args.variant ?? manyRowsVariant(rec.gpu));
  const { defines } = lanesLayout(rec.gpu, args.variant ?? fewRowsVariant(rec.gpu));
  const { pipelines } = rec.gpu;
  const blocks = Math.ceil(n / block);
  rec.dispatch(
    pipelines.get('topk_blocks', { ...many.defines, BLOCK: block }),
    [n],
    [logits, scratchValues],
    lanesWorkgroups(blocks, many.groupsPerWorkgroup),
  );
  rec.dispatch(
    pipelines.get('topk', { ...defines, BLOCK: block, BLOCKS: true }),
    [blocks, k],
    [scratchValues, scratchIds],
    1,
  );
  rec.dispatch(
    pipelines.get('topk', { ...defines, BLOCK: block, BLOCKS: false }),
    [n, k],
    [logits, scratchIds, values, ids],
    1,
  );
}
