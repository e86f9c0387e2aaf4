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
import type { RoutingTrace } from './routing-trace.ts';
import type { Workspace } from './workspace.ts';

interface DecoderLayer {
  readonly inputNorm: BufferSlice;
  readonly attention: AttentionBlock;
  readonly postAttentionNorm: BufferSlice;
  readonly mlp: MoeBlock | DenseMlp;
}

/** Qwen3-MoE: embedding, decoder layers, final norm, lm_head. Holds weights; state is the caller's. */
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

  /**
   * The forward pass of tokens at [position, position + tokens). Reads `ws.ids` and `ws.rope`,
   * extends `kv`, and leaves the residual stream, before the last addition, in `ws.x`.
   *
   * @param trace keeps the experts that each layer chooses
   * @returns what has still to be added to the residual stream; see `logits`
   */
  forward(
    rec: Recorder,
    ws: Workspace,
    kv: readonly LayerKv[],
    position: number,
    tokens: number,
    trace?: RoutingTrace,
  ): Addend | undefined {
    embedding(rec, { table: this.#embedTokens, ids: ws.ids, out: ws.x, tokens });
    let addend: Addend | undefined;
    for (const [i, layer] of this.#layers.entries()) {
      this.#norms(rec, ws, layer.inputNorm, tokens, addend);
      layer.attention.record(rec, ws, kv[i], position, tokens);
      this.#norms(rec, ws, layer.postAttentionNorm, tokens, { rows: ws.blockOut });
      addend = layer.mlp.record(rec, ws, tokens);
      trace?.record(rec, ws, i, position, tokens);
    }
    return addend;
  }

  /**
   * Logits of rows [first, first + rows) of what `forward` left, into `out`. At most
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
