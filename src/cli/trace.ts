import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { MowgliError } from '../errors.ts';
import { encodeTraceHeader, encodeTraceStep, type Model, type TraceModel } from '../node.ts';

/** Layers ahead whose routers are asked early, for the recall that `mowgli simulate` tells. */
const depth = 3;

/** Writes the routing of everything that a model evaluates to a file, as it goes. */
export class TraceWriter {
  readonly #path: string;
  readonly #stream: WriteStream;
  #stop: () => void = () => {};
  #failure: unknown;

  private constructor(path: string, stream: WriteStream) {
    this.#path = path;
    this.#stream = stream;
    stream.on('error', (error) => {
      this.#failure ??= error;
    });
  }

  /** @throws MowgliError `WRITE_FAILED` */
  static async start(model: Model, path: string): Promise<TraceWriter> {
    const stream = createWriteStream(path);
    const writer = new TraceWriter(path, stream);
    try {
      await once(stream, 'open');
    } catch (cause) {
      throw writer.#error(cause);
    }
    const { numHiddenLayers: layers, numExperts, numExpertsPerTok, sparseLayers } = model.config;
    const shape: TraceModel = {
      name: model.name,
      layers,
      sparseLayers: sparseLayers.flatMap((sparse, layer) => (sparse ? [layer] : [])),
      experts: numExperts,
      expertsPerToken: numExpertsPerTok,
    };
    stream.write(encodeTraceHeader(shape));
    writer.#stop = model.observeRouting(({ tokens, layers: ids, predictions }) => {
      const kind = tokens > 1 ? 'prompt' : 'decode';
      const chosen = shape.sparseLayers.map((layer) => ids[layer]);
      const early = shape.sparseLayers.map((layer) => predictions[layer]);
      const depths = tokens > 1 ? 0 : Math.min(depth, Math.max(0, early.length - 1));
      const predicted = Array.from({ length: depths }, (_, d) =>
        early.slice(0, early.length - 1 - d).map((of) => of[d]),
      );
      stream.write(encodeTraceStep(shape, { kind, tokens, chosen, predicted }));
    }, depth);
    return writer;
  }

  /** @throws MowgliError `WRITE_FAILED` when not all could be written */
  async end(): Promise<void> {
    this.#stop();
    try {
      this.#stream.end();
      await finished(this.#stream);
    } catch (cause) {
      this.#failure ??= cause;
    }
    if (this.#failure) throw this.#error(this.#failure);
  }

  #error(cause: unknown): MowgliError {
    return new MowgliError(
      'WRITE_FAILED',
      `--trace: ${this.#path} cannot be written (${(cause as Error).message}); check the path and the disk`,
      { cause },
    );
  }
}
