import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { attentionScratch } from '../kernels/attention.ts';
import { headWidth } from '../kernels/kv-cache.ts';
import { maskWords } from '../kernels/mask-logits.ts';
import { type ExpertGroups, tileCapacity } from '../kernels/matmul.ts';
import { type ActivationType, padded, q8RowBytes, type Rows } from '../kernels/matrix.ts';
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
  /** Chosen experts of every layer; see `routingOf`. */
  readonly routing: BufferSlice;
  /** Weights of the chosen experts of one layer, [chunk, topK]. */
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
  /** The residual stream of one token before each layer's experts, [layers, hidden]. */
  readonly saved: Rows;
  /** What one token's routers of later layers would choose now. */
  readonly prediction: {
    readonly normed: Rows;
    readonly logits: Rows;
    readonly weights: BufferSlice;
    /** [maxPredictionDepth, layers], each as `routingOf` one token. */
    readonly ids: BufferSlice;
  };
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
  /** Which tokens a constraint allows, a bit each. */
  readonly allowed: BufferSlice;
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

/** How many sparse layers ahead routers can be asked early. */
export const maxPredictionDepth = 3;

/** Bytes from one layer's chosen experts to the next's: bound ranges begin at multiples of 256. */
export function routingStride(config: ModelConfig, tokens: number): number {
  return Math.max(256, Math.ceil((4 * tokens * config.numExpertsPerTok) / 256) * 256);
}

/** Where the experts that a layer's router chooses for some tokens go: u32 [tokens, topK]. */
export function routingOf(
  ws: Workspace,
  config: ModelConfig,
  layer: number,
  tokens: number,
): BufferSlice {
  const { buffer, offset } = ws.routing;
  return buffer.slice(
    offset + layer * routingStride(config, tokens),
    4 * tokens * config.numExpertsPerTok,
  );
}

/** The most that is read back at once: logits, choices of experts, and likely tokens. */
export function readbackBytes(ws: Workspace): number {
  const { logits, routing, prediction, topValues, topIds } = ws;
  const slices = [logits.slice, routing, prediction.ids, topValues, topIds];
  return slices.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Where the choice of the router `depth` sparse layers (from 1) after `layer` goes, taken early. */
export function predictionOf(
  ws: Workspace,
  config: ModelConfig,
  layer: number,
  depth: number,
): BufferSlice {
  const { buffer, offset } = ws.prediction.ids;
  const index = (depth - 1) * config.numHiddenLayers + layer;
  return buffer.slice(offset + index * routingStride(config, 1), 4 * config.numExpertsPerTok);
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
  activations: ActivationType,
): Promise<Workspace> {
  const { maxBindingBytes } = buffers.gpu.capabilities;
  const w = widths(config);
  const words = async (count: number, usage = 0) =>
    (await buffers.allocate('activations', 4 * count, usage)).all();
  const rows = async (count: number, stride: number): Promise<Rows> => ({
    slice: await words(count * stride),
    stride,
  });
  /** Rows that weights are multiplied with. */
  const operands = async (count: number, stride: number): Promise<Rows> => ({
    ...(await rows(count, stride)),
    ...(activations === 'int8' && { q8: await words((count * q8RowBytes(stride)) / 4) }),
  });
  const pairs = chunk * w.pairs;
  const layers = config.numHiddenLayers;
  const vocab = padded(config.vocabSize);
  const logitRows = Math.max(1, Math.min(chunk, 64, Math.floor(maxBindingBytes / (4 * vocab))));
  const scratch = attentionScratch(config.numAttentionHeads, config.headDim);
  const indirectUsage = 0x100;
  return {
    ids: await words(chunk),
    rope: await words(chunk * config.headDim),
    x: await rows(chunk, w.hidden),
    normed: await operands(chunk, w.hidden),
    qkv: await rows(chunk, w.qkv),
    q: await words(chunk * w.q),
    attended: await operands(chunk, w.attended),
    blockOut: await rows(chunk, w.hidden),
    attentionSums: await words(scratch.sums),
    attentionPartial: await words(scratch.partial),
    routerLogits: await rows(chunk, padded(config.numExperts)),
    routing: await words((layers * routingStride(config, chunk)) / 4),
    expertWeights: await words(pairs),
    gateUp: await rows(pairs, 2 * w.moeInner),
    inner: await operands(pairs, w.moeInner),
    denseGateUp: await rows(chunk, 2 * w.denseInner),
    denseInner: await operands(chunk, w.denseInner),
    expertOut: await rows(pairs, w.hidden),
    groups: {
      order: await words(pairs),
      tiles: await words(4 * tileCapacity(pairs, config.numExperts)),
      counts: await words(8, indirectUsage),
    },
    saved: await rows(layers, w.hidden),
    prediction: {
      normed: await rows(1, w.hidden),
      logits: await rows(1, padded(config.numExperts)),
      weights: await words(w.pairs),
      ids: await words((maxPredictionDepth * layers * routingStride(config, 1)) / 4),
    },
    logits: await rows(logitRows, vocab),
    logitRows,
    topKScratchValues: await words(topKScratch(config.vocabSize)),
    topKScratchIds: await words(topKScratch(config.vocabSize)),
    topValues: await words(maxTopK),
    topIds: await words(maxTopK),
    adjustments: await words(4 * config.vocabSize),
    allowed: await words(maskWords(config.vocabSize)),
  };
}
