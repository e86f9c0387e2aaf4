import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { linear } from '../kernels/linear.ts';
import type { Matrix } from '../kernels/matrix.ts';
import type { Addend } from '../kernels/rmsnorm.ts';
import { swiglu } from '../kernels/swiglu.ts';
import { loadMatrix, loadStacked } from './load-weights.ts';
import type { Workspace } from './workspace.ts';

/** The feed-forward network of a layer without experts: down(silu(gate(x)) * up(x)). */
export class DenseMlp {
  readonly #inner: number;
  readonly #gateUp: readonly Matrix[];
  readonly #down: Matrix;

  private constructor(inner: number, gateUp: readonly Matrix[], down: Matrix) {
    this.#inner = inner;
    this.#gateUp = gateUp;
    this.#down = down;
  }

  /** @param prefix such as `model.layers.3.mlp` */
  static async load(loader: WeightLoader, config: ModelConfig, prefix: string): Promise<DenseMlp> {
    const weight = (name: string) => `${prefix}.${name}_proj.weight`;
    return new DenseMlp(
      config.intermediateSize,
      await loadStacked(loader, [weight('gate'), weight('up')]),
      await loadMatrix(loader, weight('down')),
    );
  }

  record(rec: Recorder, ws: Workspace, tokens: number): Addend {
    const { denseGateUp: gateUp, denseInner: inner } = ws;
    for (const weight of this.#gateUp)
      linear(rec, { weight, x: ws.normed, y: gateUp, rows: tokens });
    swiglu(rec, { gateUp, out: inner, n: this.#inner, rows: tokens });
    linear(rec, { weight: this.#down, x: inner, y: ws.blockOut, rows: tokens });
    return { rows: ws.blockOut };
  }
}
