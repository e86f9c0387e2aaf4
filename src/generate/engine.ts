import { MowgliError, throwIfAborted } from '../errors.ts';
import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import { expectedTensors } from '../files/expected-tensors.ts';
import type { ModelConfig } from '../files/model-config.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { Gpu } from '../gpu/device.ts';
import { type KernelTime, Profiler } from '../gpu/profiler.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { adjustLogits } from '../kernels/adjust-logits.ts';
import { splitContext } from '../kernels/attention.ts';
import type { KvType, LayerKv } from '../kernels/kv-cache.ts';
import { maxTopK, noId, topK } from '../kernels/topk.ts';
import { Decoder } from '../model/decoder.ts';
import { allocateKvCache } from '../model/kv-cache.ts';
import { RopeTable } from '../model/rope.ts';
import { RoutingTrace } from '../model/routing-trace.ts';
import { allocateWorkspace, largestChunk, type Workspace } from '../model/workspace.ts';
import type { Adjustment } from './sampler.ts';
import type { LoadProgress } from './types.ts';

export interface EngineOptions {
  /** Capacity of the KV cache, in tokens. */
  context: number;
  /** Tokens evaluated at a time while reading a prompt. */
  chunk: number;
  kvType: KvType;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** How an evaluation can be watched and stopped. */
export interface EvaluateOptions {
  signal?: AbortSignal | undefined;
  /** Told after each chunk how many of the tokens are evaluated. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

interface BestOptions extends EvaluateOptions {
  k: number;
  vocab: number;
  adjustments?: readonly Adjustment[] | undefined;
}

/** The most likely tokens, likeliest first. Shorter than asked for when fewer logits were numbers. */
export interface Candidates {
  readonly ids: Uint32Array;
  readonly logits: Float32Array;
}

/**
 * Weights, one KV cache and the buffers of one chunk: evaluates tokens one after the other and
 * answers logits. One caller at a time.
 */
export class Engine {
  readonly gpu: Gpu;
  readonly config: ModelConfig;
  readonly context: number;
  readonly chunk: number;
  readonly #buffers: BufferSet;
  readonly #decoder: Decoder;
  readonly #kv: readonly LayerKv[];
  readonly #ws: Workspace;
  readonly #rope: RopeTable;
  readonly #rec: Recorder;
  #position = 0;
  #trace: RoutingTrace | undefined;
  /** Settles when the evaluation under way does. */
  #work: Promise<unknown> = Promise.resolve();
  #disposed = false;

  private constructor(
    buffers: BufferSet,
    config: ModelConfig,
    context: number,
    chunk: number,
    decoder: Decoder,
    kv: readonly LayerKv[],
    ws: Workspace,
  ) {
    this.gpu = buffers.gpu;
    this.config = config;
    this.context = context;
    this.chunk = chunk;
    this.#buffers = buffers;
    this.#decoder = decoder;
    this.#kv = kv;
    this.#ws = ws;
    this.#rope = new RopeTable(config);
    this.#rec = buffers.gpu.record();
  }

  /**
   * Reads a model's weights onto the GPU and compiles its kernels.
   *
   * @throws MowgliError `OUT_OF_MEMORY`, `ABORTED`, and what reading throws; everything allocated
   * on the way is freed
   */
  static async load(gpu: Gpu, checkpoint: Checkpoint, options: EngineOptions): Promise<Engine> {
    const { config, tensors } = checkpoint;
    const { context, signal, onProgress } = options;
    const buffers = new BufferSet(gpu);
    try {
      const chunk = largestChunk(
        config,
        Math.min(options.chunk, context),
        gpu.capabilities.maxBindingBytes,
      );
      const kv = await allocateKvCache(buffers, config, context, options.kvType);
      const ws = await allocateWorkspace(buffers, config, chunk);
      let total = 0; // Not of all tensors: a file may hold some that the model does not use.
      for (const { name } of expectedTensors(config)) total += tensors.tensors.get(name)!.bytes;
      let done = 0;
      const loader: WeightLoader = {
        tensors,
        buffers,
        signal,
        onBytes: (bytes) => {
          done += bytes;
          onProgress?.({ phase: 'weights', done, total });
        },
      };
      const decoder = await Decoder.load(loader, config);
      const engine = new Engine(buffers, config, context, chunk, decoder, kv, ws);
      await engine.#compile(signal, onProgress);
      return engine;
    } catch (error) {
      buffers.destroy();
      throw error;
    }
  }

  /**
   * Runs `work` with every dispatch timed; answers the GPU time by kernel, the largest first, or
   * nothing where the device has no timestamp queries. Up to 2048 dispatches are counted between
   * two waits.
   */
  async profile(work: () => Promise<void>): Promise<KernelTime[]> {
    const profiler = Profiler.create(this.gpu);
    if (!profiler) return [];
    this.#rec.profiler = profiler;
    try {
      await work();
      await profiler.collect();
      return profiler.times();
    } finally {
      this.#rec.profiler = undefined;
      profiler.dispose();
    }
  }

  /**
   * Runs `work` while every router's choices are kept; answers, per layer, the experts of all
   * positions evaluated by then, [tokens, numExpertsPerTok], best first (nothing for a dense layer).
   * Only positions that `work` evaluated are meaningful.
   */
  async traceRouting(work: () => Promise<void>): Promise<Uint32Array[]> {
    const buffers = new BufferSet(this.gpu);
    try {
      this.#trace = await RoutingTrace.create(buffers, this.config, this.context);
      await work();
      return await this.#trace.read(this.#position);
    } finally {
      this.#trace = undefined;
      buffers.destroy();
    }
  }

  /** Tokens evaluated so far. */
  get position(): number {
    return this.#position;
  }

  /** Forgets the evaluated tokens from `position` on. */
  rewind(position: number): void {
    this.#position = Math.min(position, this.#position);
  }

  /**
   * Evaluates tokens after those already evaluated and finds the `k` most likely next tokens among
   * the first `vocab`, after `adjustments`.
   */
  best(tokens: readonly number[], options: BestOptions): Promise<Candidates> {
    return this.#working(() => this.#best(tokens, options));
  }

  async #best(tokens: readonly number[], options: BestOptions): Promise<Candidates> {
    const { k, vocab, adjustments = [] } = options;
    const ws = this.#ws;
    await this.#evaluate(tokens, options, (rec) => {
      if (adjustments.length) {
        const entries = new DataView(new ArrayBuffer(16 * adjustments.length));
        adjustments.forEach(({ id, repetition, add }, i) => {
          entries.setUint32(16 * i, id, true);
          entries.setFloat32(16 * i + 4, repetition, true);
          entries.setFloat32(16 * i + 8, add, true);
        });
        this.gpu.write(ws.adjustments.buffer, 0, entries);
        adjustLogits(rec, {
          logits: ws.logits.slice,
          entries: ws.adjustments,
          n: adjustments.length,
        });
      }
      topK(rec, {
        logits: ws.logits.slice,
        n: Math.min(vocab, this.config.vocabSize),
        k: Math.min(k, maxTopK),
        scratchValues: ws.topKScratchValues,
        scratchIds: ws.topKScratchIds,
        values: ws.topValues,
        ids: ws.topIds,
      });
    });
    const bytes = 4 * Math.min(k, maxTopK);
    const [values, ids] = await this.gpu.read([
      ws.topValues.buffer.slice(0, bytes),
      ws.topIds.buffer.slice(0, bytes),
    ]);
    const found = new Uint32Array(ids);
    const count = found.indexOf(noId);
    return {
      ids: count < 0 ? found : found.subarray(0, count),
      logits: new Float32Array(values).subarray(0, count < 0 ? found.length : count),
    };
  }

  /** Evaluates tokens after those already evaluated; answers the last one's logits, [vocab]. */
  logits(tokens: readonly number[], options: EvaluateOptions = {}): Promise<Float32Array> {
    return this.#working(async () => {
      await this.#evaluate(tokens, options, () => {});
      return this.#readLogits();
    });
  }

  /** The logits of the last evaluation once more, with the adjustments that it made. */
  lastLogits(): Promise<Float32Array> {
    return this.#working(() => this.#readLogits());
  }

  async #readLogits(): Promise<Float32Array> {
    const [bytes] = await this.gpu.read([
      this.#ws.logits.slice.buffer.slice(0, 4 * this.config.vocabSize),
    ]);
    return new Float32Array(bytes);
  }

  /** Evaluates tokens after those already evaluated; answers every one's logits, [tokens, vocab]. */
  everyLogits(tokens: readonly number[], options: EvaluateOptions = {}): Promise<Float32Array> {
    return this.#working(() => this.#everyLogits(tokens, options));
  }

  async #everyLogits(
    tokens: readonly number[],
    { signal, onProgress }: EvaluateOptions,
  ): Promise<Float32Array> {
    this.#checkTokens(tokens);
    const { vocabSize } = this.config;
    const { logits, logitRows } = this.#ws;
    const out = new Float32Array(tokens.length * vocabSize);
    for (let begin = 0; begin < tokens.length; begin += this.chunk) {
      const part = tokens.slice(begin, begin + this.chunk);
      throwIfAborted(signal, 'evaluating the tokens');
      const addend = this.#forward(part);
      for (let first = 0; first < part.length; first += logitRows) {
        const rows = Math.min(logitRows, part.length - first);
        this.#decoder.logits(this.#rec, this.#ws, addend, logits, first, rows);
        this.#rec.submit();
        const [bytes] = await this.gpu.read([
          logits.slice.buffer.slice(0, 4 * rows * logits.stride),
        ]);
        const values = new Float32Array(bytes);
        for (let row = 0; row < rows; row++) {
          const at = row * logits.stride;
          out.set(values.subarray(at, at + vocabSize), (begin + first + row) * vocabSize);
        }
      }
      onProgress?.({ done: begin + part.length, total: tokens.length });
    }
    return out;
  }

  /**
   * Waits for the evaluation under way, whose buffers cannot be taken from it, then frees the
   * weights, the cache and the buffers; not the GPU. Later evaluations are refused.
   */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#work;
    this.#buffers.destroy();
  }

  /** Every use of the GPU after loading goes through here. */
  async #working<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new MowgliError('DISPOSED', 'the model was disposed of');
    const result = work();
    this.#work = result.catch(() => {});
    return result;
  }

  /** Evaluates tokens, in chunks, up to the last one's logits; `then` is recorded after them. */
  async #evaluate(
    tokens: readonly number[],
    { signal, onProgress }: EvaluateOptions,
    then: (rec: Recorder) => void,
  ): Promise<void> {
    this.#checkTokens(tokens);
    for (let begin = 0; begin < tokens.length; begin += this.chunk) {
      throwIfAborted(signal, 'evaluating the tokens');
      const part = tokens.slice(begin, begin + this.chunk);
      const addend = this.#forward(part);
      if (begin + this.chunk < tokens.length) {
        this.#rec.submit();
        // Without this wait the whole prompt would be queued, and an abort would change nothing.
        await this.gpu.idle();
        onProgress?.({ done: begin + part.length, total: tokens.length });
      } else {
        this.#decoder.logits(this.#rec, this.#ws, addend, this.#ws.logits, part.length - 1, 1);
        then(this.#rec);
        this.#rec.submit();
      }
    }
  }

  /** Records one chunk and counts it as evaluated. */
  #forward(tokens: readonly number[]) {
    const ws = this.#ws;
    this.gpu.throwIfFailed();
    this.gpu.write(ws.ids.buffer, 0, Uint32Array.from(tokens));
    this.gpu.write(ws.rope.buffer, 0, this.#rope.at(this.#position, tokens.length));
    const addend = this.#decoder.forward(
      this.#rec,
      ws,
      this.#kv,
      this.#position,
      tokens.length,
      this.#trace,
    );
    this.#position += tokens.length;
    return addend;
  }

  #checkTokens(tokens: readonly number[]): void {
    if (tokens.length === 0) {
      throw new MowgliError('OPTION_INVALID', 'there are no tokens to evaluate; give at least one');
    }
    if (this.#position + tokens.length > this.context) {
      throw new MowgliError(
        'CONTEXT_EXCEEDED',
        `${this.#position + tokens.length} tokens do not fit the context of ${this.context}; ` +
          'shorten the prompt or load the model with a larger context',
      );
    }
    const { vocabSize } = this.config;
    const bad = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (bad >= 0) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${tokens[bad]} is not a token id of this model; ids are integers from 0 to ${vocabSize - 1}`,
      );
    }
  }

  /**
   * Runs the kernels of a prompt, of decoding, and of decoding in a long context once, so that the
   * first answer does not wait for the compiler: drivers compile at the first dispatch.
   */
  async #compile(
    signal: AbortSignal | undefined,
    onProgress: EngineOptions['onProgress'],
  ): Promise<void> {
    const shapes = [
      { position: 0, tokens: this.chunk },
      { position: 0, tokens: 1 },
      { position: splitContext, tokens: 1 },
    ].filter(({ position, tokens }) => position + tokens <= this.context);
    for (const [done, { position, tokens }] of shapes.entries()) {
      throwIfAborted(signal, 'loading the model');
      onProgress?.({ phase: 'kernels', done, total: shapes.length });
      this.#position = position; // What the cache holds there does not matter: the result is dropped.
      await this.best(new Array(tokens).fill(0), { k: 1, vocab: this.config.vocabSize });
    }
    this.#position = 0;
    onProgress?.({ phase: 'kernels', done: shapes.length, total: shapes.length });
    throwIfAborted(signal, 'loading the model');
    this.gpu.readbacks = 0;
  }
}
