import { writeFile } from 'node:fs/promises';
import { MowgliError } from '../errors.ts';
import { expertHeatmap, type Model } from '../node.ts';

/** Counts how often each expert of each layer is used, and draws it. */
export class ExpertCounts {
  readonly #model: Model;
  readonly #counts: readonly Uint32Array[];
  readonly #stop: () => void;

  private constructor(model: Model) {
    const { sparseLayers, numExperts } = model.config;
    this.#model = model;
    this.#counts = sparseLayers.map((sparse) => new Uint32Array(sparse ? numExperts : 0));
    this.#stop = model.observeRouting(({ layers }) => {
      for (const [layer, ids] of layers.entries()) {
        for (const expert of ids) this.#counts[layer][expert]++;
      }
    });
  }

  static start(model: Model): ExpertCounts {
    return new ExpertCounts(model);
  }

  /** @throws MowgliError `WRITE_FAILED` */
  async draw(path: string): Promise<void> {
    this.#stop();
    try {
      await writeFile(path, expertHeatmap(this.#counts, { title: this.#model.name }));
    } catch (cause) {
      throw new MowgliError(
        'WRITE_FAILED',
        `--heatmap: ${path} cannot be written (${(cause as Error).message}); check the path`,
        { cause },
      );
    }
  }
}
