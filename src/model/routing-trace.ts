import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { Workspace } from './workspace.ts';

/**
 * Which experts each token of a context was sent to. The ids stay on the GPU, [position, topK] per
 * sparse layer, until somebody asks: tracing adds a copy per layer and no wait.
 */
export class RoutingTrace {
  readonly #gpu: Gpu;
  readonly #topK: number;
  /** Per layer; `undefined` for a dense one. */
  readonly #layers: readonly (BufferSlice | undefined)[];

  private constructor(gpu: Gpu, topK: number, layers: readonly (BufferSlice | undefined)[]) {
    this.#gpu = gpu;
    this.#topK = topK;
    this.#layers = layers;
  }

  /** @param context positions to have room for */
  static async create(
    buffers: BufferSet,
    config: ModelConfig,
    context: number,
  ): Promise<RoutingTrace> {
    const { sparseLayers, numExpertsPerTok: topK } = config;
    const layers: (BufferSlice | undefined)[] = [];
    for (const sparse of sparseLayers) {
      const bytes = 4 * context * topK;
      layers.push(sparse ? (await buffers.allocate('routing trace', bytes)).all() : undefined);
    }
    return new RoutingTrace(buffers.gpu, topK, layers);
  }

  /** Keeps what the router of `layer` has just chosen for [position, position + tokens). */
  record(rec: Recorder, ws: Workspace, layer: number, position: number, tokens: number): void {
    const target = this.#layers[layer];
    if (!target) return;
    const { buffer, offset } = ws.expertIds;
    const bytes = 4 * tokens * this.#topK;
    rec.copy(buffer.slice(offset, bytes), target.buffer.slice(4 * position * this.#topK, bytes));
  }

  /** Per layer the experts of positions [0, tokens), [tokens, topK], best first; empty if dense. */
  async read(tokens: number): Promise<Uint32Array[]> {
    const traced = this.#layers.filter((layer) => layer !== undefined);
    const bytes = 4 * tokens * this.#topK;
    if (traced.length * bytes === 0) return this.#layers.map(() => new Uint32Array());
    const parts = await this.#gpu.read(traced.map(({ buffer }) => buffer.slice(0, bytes)));
    return this.#layers.map((layer) => new Uint32Array(layer ? parts.shift()! : []));
  }
}
