import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { attentionScratch } from '../kernels/attention.ts';
import { headWidth } from '../kernels/kv-cache.ts';
import { type ExpertGroups, tileCapacity } from '../kernels/matmul.ts';
import { padded, type Rows } from '../kernels/matrix.ts';
import { maxTopK, topKScratch } from '../kernels/topk.ts';

/** Buffers for the activations of one chunk of tokens. Padding columns are zero and stay so. */
export interface Workspace {
  /** Token ids, u32 [chunk]. */
  readonly ids: BufferSlice;
  /** (cos, sin), f32 [chunk, headDim / 2, 2]. */
  readonly rope: BufferSlice;
  /** The residual stream, [chunk, hidden]. */
  readonly x: Rows;
  /** The normalised residual stream. */
  readonly normed: Rows;
  /** q, k and v heads of each token. */
  readonly qkv: Rows;
  /** q after norm and rotation, [chunk, heads, headDim padded to 4]. */
  readonly q: BufferSlice;
  /** Attention heads' outputs, side by side. */
  readonly attended: Rows;
  /** Output of a block, to be added to the residual stream. */
  readonly blockOut: Rows;
  readonly attentionSums: BufferSlice;
  readonly attentionPartial: BufferSlice;
  readonly routerLogits: Rows;
  /** Chosen experts and their weights, [chunk, topK]. */
  readonly expertIds: BufferSlice;
  readonly expertWeights: BufferSlice;
  /** Gate and up side by side, of each (token, slot) pair. */
  readonly gateUp: Rows;
  /** silu(gate) * up, of each pair. */
  readonly inner: Rows;
  /** The same two, of each token, for layers with a dense MLP. */
  readonly denseGateUp: Rows;
  readonly denseInner: Rows;
  /** Each pair's expert output. */
  readonly expertOut: Rows;
  readonly groups: ExpertGroups;
  /** [logitRows, vocab]. */
  readonly logits: Rows;
  /** Rows of logits computed at a time. */
  readonly logitRows: number;
  readonly topKScratchValues: BufferSlice;
  readonly topKScratchIds: BufferSlice;
  /** The most likely tokens: values f32 and ids u32, [maxTopK]. */
  readonly topValues: BufferSlice;
  readonly topIds: BufferSlice;
  /** Penalties and biases, 16 bytes each. */
  readonly adjustments: BufferSlice;
}

/** Shapes of the widest buffers, in f32 columns per token. */
function widths(config: ModelConfig) {
  const pairs = config.sparseLayers.includes(true) ? config.numExpertsPerTok : 0;
  return {
    pairs,
    hidden: padded(config.hiddenSize),
    qkv: padded((config.numAttentionHeads + 2 * config.numKeyValueHeads) * config.headDim),
    q: config.numAttentionHeads * headWidth(config.headDim) * 4,
    attended: padded(config.numAttentionHeads * config.headDim),
    moeInner: padded(config.moeIntermediateSize),
    denseInner: config.sparseLayers.includes(false) ? padded(config.intermediateSize) : 0,
  };
}

/** Workgroups along one axis of a dispatch, on every device. */
const maxWorkgroups = 65535;

/**
 * The largest chunk, in tokens, up to `wanted`, for which each buffer fits one binding, and each
 * dispatch with a workgroup per expert pair, or per head, stays within the limit.
 */
export function largestChunk(config: ModelConfig, wanted: number, maxBindingBytes: number): number {
  const w = widths(config);
  const widest = Math.max(
    w.qkv,
    w.q,
    w.attended,
    w.pairs * Math.max(w.hidden, 2 * w.moeInner),
    2 * w.denseInner,
  );
  const heads = config.numAttentionHeads + 2 * config.numKeyValueHeads;
  return Math.max(
    1,
    Math.min(
      wanted,
      Math.floor(maxBindingBytes / (4 * widest)),
      Math.floor(maxWorkgroups / Math.max(w.pairs, heads)),
    ),
  );
}

export async function allocateWorkspace(
  buffers: BufferSet,
  config: ModelConfig,
  chunk: number,
): Promise<Workspace> {
  const { maxBindingBytes } = buffers.gpu.capabilities;
  const w = widths(config);
  const words = async (count: number, usage = 0) =>
    (await buffers.allocate('activations', 4 * count, usage)).all();
  const rows = async (count: number, stride: number): Promise<Rows> => ({
    slice: await words(count * stride),
    stride,
  });
  const pairs = chunk * w.pairs;
  const vocab = padded(config.vocabSize);
  const logitRows = Math.max(1, Math.min(chunk, 64, Math.floor(maxBindingBytes / (4 * vocab))));
  const scratch = attentionScratch(config.numAttentionHeads, config.headDim);
  const indirectUsage = 0x100;
  return {
    ids: await words(chunk),
    rope: await words(chunk * config.headDim),
    x: await rows(chunk, w.hidden),
    normed: await rows(chunk, w.hidden),
    qkv: await rows(chunk, w.qkv),
    q: await words(chunk * w.q),
    attended: await rows(chunk, w.attended),
    blockOut: await rows(chunk, w.hidden),
    attentionSums: await words(scratch.sums),
    attentionPartial: await words(scratch.partial),
    routerLogits: await rows(chunk, padded(config.numExperts)),
    expertIds: await words(pairs),
    expertWeights: await words(pairs),
    gateUp: await rows(pairs, 2 * w.moeInner),
    inner: await rows(pairs, w.moeInner),
    denseGateUp: await rows(chunk, 2 * w.denseInner),
    denseInner: await rows(chunk, w.denseInner),
    expertOut: await rows(pairs, w.hidden),
    groups: {
      order: await words(pairs),
      tiles: await words(4 * tileCapacity(pairs, config.numExperts)),
      counts: await words(8, indirectUsage),
    },
    logits: await rows(logitRows, vocab),
    logitRows,
    topKScratchValues: await words(topKScratch(config.vocabSize)),
    topKScratchIds: await words(topKScratch(config.vocabSize)),
    topValues: await words(maxTopK),
    topIds: await words(maxTopK),
    adjustments: await words(4 * config.vocabSize),
  };
}
