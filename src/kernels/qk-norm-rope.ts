import type { BufferSlice } from '../gpu/buffer.ts';
import { f32, type Recorder } from '../gpu/recorder.ts';
import type { LayerKv } from './kv-cache.ts';
import { type LanesVariant, lanesLayout, lanesWorkgroups, manyRowsVariant } from './lanes.ts';
import type { Rows } from './matrix.ts';

/**
 * Per-head RMSNorm of q and k, rotary embedding, and the write of k and v to the cache at
 * [position, position + tokens); see `shaders/qk_norm_rope.wgsl`.
 */
export function qkNormRope(
  rec: Recorder,
  args: {
    /** [tokens, stride]: q heads, k heads, v heads. */
    qkv: Rows;
    /** [tokens, head_dim / 2] (cos, sin). */
    rope: BufferSlice;
    /** [2, head_dim]: gains of q_norm and k_norm. */
    gains: BufferSlice;
    /** [tokens, qHeads, head_dim rounded up to 4]. */
    q: BufferSlice;
    kv: LayerKv;
    qHeads: number;
    kvHeads: number;
    position: number;
    tokens: number;
    eps: number;
    variant?: LanesVariant;
  },
): void {
  const { qkv, rope, gains, q, kv, qHeads, kvHeads, position, tokens, eps } = args;
  const variant = args.variant ?? manyRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  const pipeline = rec.gpu.pipelines.get('qk_norm_rope', {
    ...defines,
    HEAD_DIM: kv.headDim,
    KV_F16: kv.type === 'f16',
  });
  kv.parts.forEach((part, i) => {
    const ownQ = i === 0 ? qHeads : 0;
    rec.dispatch(
      pipeline,
      [
        qkv.stride,
        ownQ,
        qHeads,
        kvHeads,
        part.firstHead,
        part.heads,
        kv.capacity,
        position,
        f32(eps),
      ],
      [qkv.slice, rope, gains, q, part.keys, part.values],
      lanesWorkgroups(ownQ + 2 * part.heads, groupsPerWorkgroup),
      tokens,
    );
  });
}
