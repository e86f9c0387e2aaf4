import { type LayerExperts, loadResidentExperts, sameSlots } from '../experts/resident-experts.ts';
import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { linear, matvecRows } from '../kernels/linear.ts';
import { expertMatmul, groupByExpert } from '../kernels/matmul.ts';
import type { Matrix } from '../kernels/matrix.ts';
import { expertDown, expertGateUp, expertMatvec } from '../kernels/matvec.ts';
import type { Addend } from '../kernels/rmsnorm.ts';
import { router } from '../kernels/router.ts';
import { swiglu } from '../kernels/swiglu.ts';
import { loadMatrix } from './load-weights.ts';
import type { Workspace } from './workspace.ts';

/**
 * Mixture of Experts: each token goes through the `numExpertsPerTok` experts that the router
 * likes best. The weighted sum of their outputs is left to the next norm, which reads them anyway.
 */
export class MoeBlock {
  readonly #config: ModelConfig;
  readonly #gate: Matrix;
  readonly #experts: LayerExperts;

  private constructor(config: ModelConfig, gate: Matrix, experts: LayerExperts) {
    this.#config = config;
    this.#gate = gate;
    this.#experts = experts;
  }

  /** @param prefix such as `model.layers.3.mlp` */
  static async load(loader: WeightLoader, config: ModelConfig, prefix: string): Promise<MoeBlock> {
    const gate = await loadMatrix(loader, `${prefix}.gate.weight`);
    const experts = await loadResidentExperts(loader, prefix, {
      experts: config.numExperts,
      hidden: config.hiddenSize,
      inner: config.moeIntermediateSize,
    });
    return new MoeBlock(config, gate, experts);
  }

  record(rec: Recorder, ws: Workspace, tokens: number): Addend {
    const { numExperts, numExpertsPerTok: topK, normTopkProb } = this.#config;
    linear(rec, { weight: this.#gate, x: ws.normed, y: ws.routerLogits, rows: tokens });
    router(rec, {
      logits: ws.routerLogits,
      experts: numExperts,
      topK,
      normalise: normTopkProb,
      tokens,
      ids: ws.expertIds,
      weights: ws.expertWeights,
    });
    if (tokens <= matvecRows(rec)) this.#recordFew(rec, ws, tokens);
    else this.#recordMany(rec, ws, tokens);
    return { rows: ws.expertOut, scale: ws.expertWeights, slots: topK };
  }

  /** Decode: every (token, slot) pair is a matrix-vector product with its expert. */
  #recordFew(rec: Recorder, ws: Workspace, tokens: number): void {
    const { gate, up, down } = this.#experts;
    const { numExpertsPerTok: topK, moeIntermediateSize: n } = this.#config;
    const pairs = { ids: ws.expertIds, pairs: tokens * topK, topK };
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
  #recordMany(rec: Recorder, ws: Workspace, tokens: number): void {
    const { gate, up, down } = this.#experts;
    const { numExperts: experts, numExpertsPerTok: topK, moeIntermediateSize: n } = this.#config;
    const pairs = tokens * topK;
    const { groups } = ws;
    groupByExpert(rec, {
      ids: ws.expertIds,
      pairs,
      experts,
      slotOf: gate.slotOf,
      table: gate.table,
      columns1: n,
      columns2: down.rows,
      groups,
    });
    const product = { pairs, experts, groups };
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
