import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { attention } from '../kernels/attention.ts';
import type { LayerKv } from '../kernels/kv-cache.ts';
import { linear } from '../kernels/linear.ts';
import type { Matrix } from '../kernels/matrix.ts';
import { qkNormRope } from '../kernels/qk-norm-rope.ts';
import { loadMatrix, loadStacked, loadVectors } from './load-weights.ts';
import type { Workspace } from './workspace.ts';

/** Grouped-query attention with per-head q/k norm: `blockOut = o_proj(attention(qkv(normed)))`. */
export class AttentionBlock {
  readonly #config: ModelConfig;
  /** q_proj, k_proj and v_proj stacked: one product instead of three. */
  readonly #qkvProj: readonly Matrix[];
  readonly #oProj: Matrix;
  readonly #qkNorm: BufferSlice;

  private constructor(
    config: ModelConfig,
    qkvProj: readonly Matrix[],
    oProj: Matrix,
    qkNorm: BufferSlice,
  ) {
    this.#config = config;
    this.#qkvProj = qkvProj;
    this.#oProj = oProj;
    this.#qkNorm = qkNorm;
  }

  /** @param prefix such as `model.layers.3.self_attn` */
  static async load(
    loader: WeightLoader,
    config: ModelConfig,
    prefix: string,
  ): Promise<AttentionBlock> {
    const weight = (name: string) => `${prefix}.${name}.weight`;
    return new AttentionBlock(
      config,
      await loadStacked(loader, [weight('q_proj'), weight('k_proj'), weight('v_proj')]),
      await loadMatrix(loader, weight('o_proj')),
      await loadVectors(loader, [weight('q_norm'), weight('k_norm')], config.headDim),
    );
  }

  /** Tokens at [position, position + tokens); their keys and values go into the cache. */
  record(rec: Recorder, ws: Workspace, kv: LayerKv, position: number, tokens: number): void {
    const { numAttentionHeads: qHeads, numKeyValueHeads: kvHeads, rmsNormEps: eps } = this.#config;
    for (const weight of this.#qkvProj) {
      linear(rec, { weight, x: ws.normed, y: ws.qkv, rows: tokens });
    }
    qkNormRope(rec, {
      qkv: ws.qkv,
      rope: ws.rope,
      gains: this.#qkNorm,
      q: ws.q,
      kv,
      qHeads,
      kvHeads,
      position,
      tokens,
      eps,
    });
    attention(rec, {
      q: ws.q,
      kv,
      out: ws.attended,
      sums: ws.attentionSums,
      partial: ws.attentionPartial,
      qHeads,
      kvHeads,
      position,
      tokens,
    });
    linear(rec, { weight: this.#oProj, x: ws.attended, y: ws.blockOut, rows: tokens });
  }
}
