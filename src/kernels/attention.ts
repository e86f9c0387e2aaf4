import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import { f32, type Recorder } from '../gpu/recorder.ts';
import { tuned } from './kernel-class.ts';
import { headWidth, type LayerKv } from './kv-cache.ts';
import { lanesLayout, lanesWorkgroups } from './lanes.ts';
import type { Rows } from './matrix.ts';
import { quantize } from './quantize.ts';

/** Lanes of a `subgroup` split head_dim, or a workgroup tiles positions in `shared` memory. */
export type AttentionVariant = 'subgroup' | 'shared';

/** The variants that this device can run. */
export function attentionVariants(gpu: Gpu): AttentionVariant[] {
  return gpu.capabilities.subgroups ? ['subgroup', 'shared'] : ['shared'];
}

/** The variant this device is expected to run fastest. */
export function attentionVariant(gpu: Gpu): AttentionVariant {
  return gpu.capabilities.subgroups ? 'subgroup' : 'shared';
}

/** Most runs of positions that one query's context is cut into. */
const maxSplits = 16;

/** Positions that a run has at least: below, joining the runs costs more than it gains. */
const minRun = 128;

/** Tokens of context from which decoding uses the kernels that join runs. */
export const splitContext = 2 * minRun;

/** Queries' tokens up to which the context is cut into runs. */
const maxSplitTokens = 4;

/** Elements of the scratch buffers: sums (f32) and (maximum, sum) pairs (2 f32) of the runs. */
export function attentionScratch(qHeads: number, headDim: number) {
  const rows = maxSplitTokens * maxSplits * qHeads;
  return { sums: rows * headWidth(headDim) * 4, partial: rows * 2 };
}

/** Runs to cut a context into: many queries keep the GPU busy without, few do not. */
function splitsFor(tokens: number, context: number): number {
  if (tokens > maxSplitTokens) return 1;
  return Math.max(1, Math.min(maxSplits, Math.floor(context / minRun)));
}

/**
 * out[t] = softmax(q[t] k^T / sqrt(head_dim)) v over positions [0, position + t] of the cache; see
 * `shaders/attention.wgsl`. out is [tokens, stride] with head h at h * head_dim.
 */
export function attention(
  rec: Recorder,
  args: {
    /** [tokens, qHeads, head_dim rounded up to 4], from `qkNormRope`. */
    q: BufferSlice;
    kv: LayerKv;
    out: Rows;
    /** Scratch of at least `attentionScratch` elements. */
    sums: BufferSlice;
    partial: BufferSlice;
    qHeads: number;
    kvHeads: number;
    position: number;
    tokens: number;
    variant?: AttentionVariant;
    /** Runs to cut the context into, instead of the kernel's choice. */
    splits?: number;
  },
): void {
  const { q, kv, out, sums, partial, qHeads, kvHeads, position, tokens } = args;
  const { gpu } = rec;
  const kernelClass = {
    kernel: 'attention',
    format: `${kv.type} ${qHeads / kvHeads}:1`,
    rows: qHeads,
    columns: kv.headDim,
    tokens,
  } as const;
  const variant = args.variant ?? tuned(gpu, kernelClass, attentionVariants, attentionVariant);
  const context = position + tokens;
  let splits = args.splits ?? splitsFor(tokens, context);
  const run = Math.ceil(context / splits);
  splits = Math.ceil(context / run);

  const group = qHeads / kvHeads;
  const { rows, defines, groupsPerWorkgroup } = shape(gpu, variant, kv.headDim, tokens * group);
  const pipeline = gpu.pipelines.get('attention', {
    ...defines,
    ROWS: rows,
    HEAD_DIM: kv.headDim,
    KV_F16: kv.type === 'f16',
    FINAL: splits === 1,
  });
  const blocks = Math.ceil((tokens * group) / rows);
  for (const part of kv.parts) {
    rec.dispatch(
      pipeline,
      [
        tokens,
        position,
        qHeads,
        group,
        part.firstHead,
        part.heads,
        kv.capacity,
        run,
        out.stride,
        f32(1 / Math.sqrt(kv.headDim)),
      ],
      splits === 1
        ? [q, part.keys, part.values, out.slice]
        : [q, part.keys, part.values, sums, partial],
      lanesWorkgroups(part.heads * blocks, groupsPerWorkgroup),
      splits,
    );
  }
  if (splits > 1) {
    const workgroup = 64;
    rec.dispatch(
      gpu.pipelines.get('attention_combine', { HEAD_DIM: kv.headDim, WORKGROUP: workgroup }),
      [tokens * qHeads, splits, qHeads, out.stride],
      [sums, partial, out.slice],
      Math.ceil((tokens * qHeads * headWidth(kv.headDim)) / workgroup),
    );
  }
  quantize(rec, out, tokens);
}

/** Queries per work item, and the defines that go with them. */
function shape(gpu: Gpu, variant: AttentionVariant, headDim: number, queries: number) {
  const width = headWidth(headDim);
  if (variant === 'shared') {
    const workgroup = Math.max(64, width);
    return {
      // Fewer than four gain nothing, and lavapipe unrolls their loops into seconds of compilation.
      rows: queries > 4 ? 8 : 4,
      defines: { SUBGROUPS: false, WORKGROUP: workgroup },
      groupsPerWorkgroup: 1,
    };
  }
  const { defines, groupsPerWorkgroup } = lanesLayout(gpu, 'subgroup');
  // Vec4 columns per lane. A query keeps two vec4 of registers for each: many columns, few queries.
  // (A software GPU also compiles eight queries of four columns for seconds, to gain nothing.)
  const chunks = Math.ceil(width / gpu.capabilities.subgroups!.min);
  const most = chunks > 4 ? 2 : chunks > 2 ? 4 : 8;
  return {
    rows: Math.min(most, pow2AtLeast(queries)),
    defines: { ...defines, CHUNKS: chunks, STEP: chunks > 1 ? 1 : 4 },
    groupsPerWorkgroup,
  };
}

function pow2AtLeast(n: number): number {
  return 2 ** Math.ceil(Math.log2(n));
}
