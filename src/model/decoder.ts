import type { LayerExperts } from '../experts/slot-pool.ts';
import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { embedding } from '../kernels/embedding.ts';
import type { LayerKv } from '../kernels/kv-cache.ts';
import { linear } from '../kernels/linear.ts';
import type { Matrix, Rows } from '../kernels/matrix.ts';
import { type Addend, rmsNorm } from '../kernels/rmsnorm.ts';
import { AttentionBlock } from './attention-block.ts';
import { DenseMlp } from './dense-mlp.ts';
import { loadMatrix, loadVector } from './load-weights.ts';
import { MoeBlock } from './moe-block.ts';
import { predictionOf, routingOf, type Workspace } from './workspace.ts';

interface DecoderLayer {
  readonly inputNorm: BufferSlice;
  readonly attention: AttentionBlock;
  readonly postAttentionNorm: BufferSlice;
  readonly mlp: MoeBlock | DenseMlp;
}

/**
 * Qwen3-MoE: embedding, decoder layers, final norm, lm_head, each piece to be recorded by itself; the
 * order is `ForwardPass`'s. Holds all weights but the experts'; state is the caller's.
 */
export class Decoder {
  readonly #config: ModelConfig;
  readonly #embedTokens: Matrix;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: BufferSlice;
  readonly #lmHead: Matrix;

  private constructor(
    config: ModelConfig,
    embedTokens: Matrix,
    layers: readonly DecoderLayer[],
    norm: BufferSlice,
    lmHead: Matrix,
  ) {
    this.#config = config;
    this.#embedTokens = embedTokens;
    this.#layers = layers;
    this.#norm = norm;
    this.#lmHead = lmHead;
  }

  static async load(loader: WeightLoader, config: ModelConfig): Promise<Decoder> {
    const embedTokens = await loadMatrix(loader, 'model.embed_tokens.weight');
    const layers: DecoderLayer[] = [];
    for (const [i, sparse] of config.sparseLayers.entries()) {
      const prefix = `model.layers.${i}`;
      layers.push({
        inputNorm: await loadVector(loader, `${prefix}.input_layernorm.weight`),
        attention: await AttentionBlock.load(loader, config, `${prefix}.self_attn`),
        postAttentionNorm: await loadVector(loader, `${prefix}.post_attention_layernorm.weight`),
        mlp: await (sparse ? MoeBlock : DenseMlp).load(loader, config, `${prefix}.mlp`),
      });
    }
    const norm = await loadVector(loader, 'model.norm.weight');
    const lmHead = config.tieWordEmbeddings
      ? embedTokens
      : await loadMatrix(loader, 'lm_head.weight');
    return new Decoder(config, embedTokens, layers, norm, lmHead);
  }

  /** Token embeddings of `ws.ids` into `ws.x`. */
  recordEmbedding(rec: Recorder, ws: Workspace, tokens: number): void {
    embedding(rec, { table: this.#embedTokens, ids: ws.ids, out: ws.x, tokens });
  }

  /**
   * The first half of a layer, for tokens at [position, position + tokens): adds what the layer before
   * left, extends `kv`, and leaves the input of the layer's MLP in `ws.normed`.
   */
  recordAttention(
    rec: Recorder,
    ws: Workspace,
    kv: LayerKv,
    layer: number,
    position: number,
    tokens: number,
    addend: Addend | undefined,
  ): void {
    const { inputNorm, attention, postAttentionNorm } = this.#layers[layer];
    this.#norms(rec, ws, inputNorm, tokens, addend);
    attention.record(rec, ws, kv, position, tokens);
    this.#norms(rec, ws, postAttentionNorm, tokens, { rows: ws.blockOut });
  }

  /** Whether a layer has experts, rather than a dense MLP. */
  isSparse(layer: number): boolean {
    return this.#config.sparseLayers[layer];
  }

  /** The MLP of a dense layer. */
  recordMlp(rec: Recorder, ws: Workspace, layer: number, tokens: number): Addend {
    const { mlp } = this.#layers[layer];
    if (mlp instanceof MoeBlock) throw new Error(`layer ${layer} has experts`);
    return mlp.record(rec, ws, tokens);
  }

  /** Chooses the experts of a sparse layer, into `routingOf` the layer and `ws.expertWeights`. */
  recordRouter(rec: Recorder, ws: Workspace, layer: number, tokens: number): void {
    const ids = routingOf(ws, this.#config, layer, tokens);
    const { normed: x, routerLogits: logits, expertWeights: weights } = ws;
    this.#moe(layer).recordRouter(rec, { x, logits, ids, weights }, tokens);
  }

  /** The chosen experts that `experts` has; see `MoeBlock.recordExperts`. */
  recordExperts(
    rec: Recorder,
    ws: Workspace,
    layer: number,
    tokens: number,
    experts: LayerExperts,
  ): Addend {
    const moe = this.#moe(layer);
    moe.recordExperts(rec, ws, tokens, routingOf(ws, this.#config, layer, tokens), experts);
    return moe.addend(ws);
  }

  /**
   * What the routers of the `depth` sparse layers after `layer` would choose for the one token in
   * `ws.x` now, before what lies between has added to it: into `predictionOf` this layer.
   */
  recordPrediction(rec: Recorder, ws: Workspace, layer: number, depth: number): void {
    const { normed, logits, weights } = ws.prediction;
    let ahead = 0;
    for (let target = layer + 1; ahead < depth && target < this.#layers.length; target++) {
      const { postAttentionNorm: gain, mlp } = this.#layers[target];
      if (!(mlp instanceof MoeBlock)) continue;
      const { hiddenSize: n, rmsNormEps: eps } = this.#config;
      rmsNorm(rec, { x: ws.x, gain, out: normed, n, rows: 1, eps });
      const ids = predictionOf(ws, this.#config, layer, ++ahead);
      mlp.recordRouter(rec, { x: normed, logits, ids, weights }, 1);
    }
  }

  /** Keeps the residual stream of one token as it is before a layer's experts. */
  recordSave(rec: Recorder, ws: Workspace, layer: number): void {
    rec.copy(this.#oneRow(ws.x, 0), this.#oneRow(ws.saved, layer));
  }

  /** Takes one token back to where `recordSave` was, up to the layer's router. */
  recordRestore(rec: Recorder, ws: Workspace, layer: number): void {
    rec.copy(this.#oneRow(ws.saved, layer), this.#oneRow(ws.x, 0));
    this.#norms(rec, ws, this.#layers[layer].postAttentionNorm, 1, undefined);
    this.recordRouter(rec, ws, layer, 1);
  }

  #oneRow({ slice, stride }: Rows, row: number): BufferSlice {
    return slice.buffer.slice(slice.offset + 4 * row * stride, 4 * stride);
  }

  #moe(layer: number): MoeBlock {
    const { mlp } = this.#layers[layer];
    if (mlp instanceof MoeBlock) return mlp;
    throw new Error(`layer ${layer} has no experts`);
  }

  /**
   * Logits of rows [first, first + rows) of what the last layer left, into `out`. At most
   * `ws.logitRows` rows at a time; each row once, since this completes the residual stream.
   */
  logits(
    rec: Recorder,
    ws: Workspace,
    addend: Addend | undefined,
    out: Rows,
    first: number,
    rows: number,
  ): void {
    this.#norms(rec, ws, this.#norm, rows, addend, first);
    linear(rec, { weight: this.#lmHead, x: ws.normed, y: out, rows });
  }

  #norms(
    rec: Recorder,
    ws: Workspace,
    gain: BufferSlice,
    rows: number,
    addend: Addend | undefined,
    first = 0,
  ): void {
    rmsNorm(rec, {
      x: ws.x,
      gain,
      out: ws.normed,
      n: this.#config.hiddenSize,
      rows,
      first,
      eps: this.#config.rmsNormEps,
      addend,
    });
  }
}
