import { type LayerExperts, sameSlots } from '../experts/slot-pool.ts';
import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { linear, matvecRows } from '../kernels/linear.ts';
import { expertMatmul, expertMatmulVariant, groupByExpert } from '../kernels/matmul.ts';
import type { Matrix, Rows } from '../kernels/matrix.ts';
import { expertDown, expertGateUp, expertMatvec } from '../kernels/matvec.ts';
import type { Addend } from '../kernels/rmsnorm.ts';
import { router } from '../kernels/router.ts';
import { swiglu } from '../kernels/swiglu.ts';
import { loadMatrix } from './load-weights.ts';
import type { Workspace } from './workspace.ts';

/** What a router reads and writes. */
export interface RouterBuffers {
  /** [tokens, hidden], normalised. */
  readonly x: Rows;
  /** [tokens, experts]. */
  readonly logits: Rows;
  /** The chosen experts and their weights, [tokens, topK]. */
  readonly ids: BufferSlice;
  readonly weights: BufferSlice;
}

/**
 * Mixture of Experts: each token goes through the `numExpertsPerTok` experts that the router
 * likes best. The weighted sum of their outputs is left to the next norm, which reads them anyway.
 * Where the experts are is the caller's to know.
 */
export class MoeBlock {
  readonly #config: ModelConfig;
  readonly #gate: Matrix;

  private constructor(config: ModelConfig, gate: Matrix) {
    this.#config = config;
    this.#gate = gate;
  }

  /** @param prefix such as `model.layers.3.mlp` */
  static async load(loader: WeightLoader, config: ModelConfig, prefix: string): Promise<MoeBlock> {
    return new MoeBlock(config, await loadMatrix(loader, `${prefix}.gate.weight`));
  }

  /** Chooses the experts of each token. */
  recordRouter(rec: Recorder, buffers: RouterBuffers, tokens: number): void {
    const { x, logits, ids, weights } = buffers;
    const { numExperts, numExpertsPerTok: topK, normTopkProb } = this.#config;
    linear(rec, { weight: this.#gate, x, y: logits, rows: tokens });
    router(rec, {
      logits,
      experts: numExperts,
      topK,
      normalise: normTopkProb,
      tokens,
      ids,
      weights,
    });
  }

  /**
   * The outputs of the chosen experts `ids` that have a slot, into their rows of `ws.expertOut`; rows
   * of the others stay as they are.
   */
  recordExperts(
    rec: Recorder,
    ws: Workspace,
    tokens: number,
    ids: BufferSlice,
    experts: LayerExperts,
  ): void {
    if (tokens <= matvecRows(rec)) this.#recordFew(rec, ws, tokens, ids, experts);
    else this.#recordMany(rec, ws, tokens, ids, experts);
  }

  /** What the block leaves to be added to the residual stream. */
  addend(ws: Workspace): Addend {
    return { rows: ws.expertOut, scale: ws.expertWeights, slots: this.#config.numExpertsPerTok };
  }

  /** Decode: every (token, slot) pair is a matrix-vector product with its expert. */
  #recordFew(
    rec: Recorder,
    ws: Workspace,
    tokens: number,
    ids: BufferSlice,
    { gate, up, down }: LayerExperts,
  ): void {
    const { numExpertsPerTok: topK, moeIntermediateSize: n } = this.#config;
    const pairs = { ids, pairs: tokens * topK, topK };
    if (sameSlots(gate, up)) {
      expertGateUp(rec, { ...pairs, gate, up, x: ws.normed, y: ws.inner });
    } else {
      const product = { ...pairs, x: ws.normed, y: ws.gateUp, divisor: topK };
      expertMatvec(rec, { ...product, weight: gate });
      expertMatvec(rec, { ...product, weight: up, first: n });
      swiglu(rec, { gateUp: ws.gateUp, out: ws.inner, n, rows: tokens * topK });
    }
    expertDown(rec, { ...pairs, down, x: ws.inner, y: ws.expertOut });
  }

  /** Prefill: pairs sorted by expert, so that each expert's weights meet all of its tokens at once. */
  #recordMany(
    rec: Recorder,
    ws: Workspace,
    tokens: number,
    ids: BufferSlice,
    { gate, up, down }: LayerExperts,
  ): void {
    const { numExperts: experts, numExpertsPerTok: topK, moeIntermediateSize: n } = this.#config;
    const pairs = tokens * topK;
    const { groups } = ws;
    const variant = expertMatmulVariant(rec.gpu, { gate, x: ws.normed, pairs, experts });
    groupByExpert(rec, {
      variant,
      ids,
      pairs,
      experts,
      slotOf: gate.slotOf,
      table: gate.table,
      columns1: n,
      columns2: down.rows,
      groups,
    });
    const product = { pairs, experts, groups, variant };
    const gateUp = { ...product, x: ws.normed, y: ws.gateUp, divisor: topK, product: 0 } as const;
    expertMatmul(rec, { ...gateUp, weight: gate });
    expertMatmul(rec, { ...gateUp, weight: up, first: n });
    swiglu(rec, { gateUp: ws.gateUp, out: ws.inner, n, rows: pairs });
    expertMatmul(rec, {
      ...product,
      weight: down,
      x: ws.inner,
      y: ws.expertOut,
      divisor: 1,
      product: 1,
    });
  }
}
