import { MowgliError, throwIfAborted } from '../errors.ts';
import type { ExpertCache } from '../experts/expert-cache.ts';
import type { ExpertUse } from '../experts/expert-use.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { Gpu } from '../gpu/device.ts';
import { type KernelTime, Profiler } from '../gpu/profiler.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { splitContext } from '../kernels/attention.ts';
import type { Decoder } from '../model/decoder.ts';
import {
  type Chunk,
  type Evaluated,
  ForwardPass,
  type ReadAhead,
  type Routing,
} from '../model/forward-pass.ts';
import { type KvShape, KvTransfer, kvTokenBytes } from '../model/kv-transfer.ts';
import { RopeTable } from '../model/rope.ts';
import { readbackBytes, type Workspace } from '../model/workspace.ts';
import { type EngineOptions, type EngineParts, loadParts } from './engine-parts.ts';
import {
  type Candidates,
  type LikeliestOptions,
  likeliestReads,
  recordLikeliest,
  toCandidates,
} from './likeliest.ts';

/** How an evaluation can be watched and stopped. */
export interface EvaluateOptions {
  signal?: AbortSignal | undefined;
  /** Told after each chunk how many of the tokens are evaluated. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** Takes the logits of the token at an index, [vocab]. */
export type LogitsVisitor = (logits: Float32Array, index: number) => void | Promise<void>;

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
  readonly #experts: ExpertCache;
  readonly #pass: ForwardPass;
  readonly #ws: Workspace;
  readonly #rope: RopeTable;
  readonly #rec: Recorder;
  readonly #kv: KvTransfer;
  /** The tokens whose keys and values the cache holds, in order. */
  readonly #evaluated: number[] = [];
  #evaluatedTokens = 0;
  /** Settles when the evaluation under way does. */
  #work: Promise<unknown> = Promise.resolve();
  #disposed = false;

  private constructor(parts: EngineParts, readAhead: ReadAhead) {
    const { buffers, config } = parts;
    this.gpu = buffers.gpu;
    this.config = config;
    this.context = parts.context;
    this.chunk = parts.chunk;
    this.#buffers = buffers;
    this.#decoder = parts.decoder;
    this.#experts = parts.experts;
    this.#ws = parts.ws;
    this.#rope = new RopeTable(config);
    this.#kv = new KvTransfer(buffers.gpu, parts.kv, readbackBytes(parts.ws));
    this.#rec = buffers.gpu.record();
    this.#pass = new ForwardPass(buffers.gpu, { ...parts, rec: this.#rec }, readAhead);
  }

  /**
   * Reads a model's weights onto the GPU, of experts as many as fit, and compiles its kernels. Unless
   * `readsNoMore`, the checkpoint has to stay open.
   *
   * @throws MowgliError `OUT_OF_MEMORY`, `ABORTED`, and what reading throws; everything allocated
   * on the way is freed
   */
  static async load(gpu: Gpu, checkpoint: Checkpoint, options: EngineOptions): Promise<Engine> {
    const buffers = new BufferSet(gpu);
    try {
      const parts = await loadParts(buffers, checkpoint, options);
      const engine = new Engine(parts, options.readAhead ?? 'auto');
      await engine.#compile(options.signal, options.onProgress);
      return engine;
    } catch (error) {
      buffers.destroy();
      throw error;
    }
  }

  /** Whether all weights are on the GPU, so that the files are not needed any more. */
  get readsNoMore(): boolean {
    return this.#experts.complete;
  }

  /** What was needed of the experts since the model was loaded. */
  get expertUse(): ExpertUse {
    return this.#experts.use;
  }

  /** Tells `tell` the experts of all tokens from now on; see `ForwardPass.observe`. */
  observeRouting(tell: (routing: Routing) => void, depth = 0): () => void {
    return this.#pass.observe(tell, depth);
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

  /** How many tokens' keys and values the cache holds: where the next one goes. */
  get position(): number {
    return this.#evaluated.length;
  }

  /** The tokens whose keys and values the cache holds, in order. Changes as the engine works. */
  get evaluated(): readonly number[] {
    return this.#evaluated;
  }

  /** Tokens evaluated since the model was loaded; those that `writeKv` brings are not. */
  get evaluatedTokens(): number {
    return this.#evaluatedTokens;
  }

  get kvShape(): KvShape {
    return this.#kv.shape;
  }

  /** Forgets the evaluated tokens from `position` on. */
  rewind(position: number): void {
    this.#evaluated.length = Math.min(position, this.#evaluated.length);
  }

  /** The keys and values of the tokens [from, to) of `evaluated`, as a block; see `KvTransfer`. */
  readKv(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#working(async () => {
      if (!(0 <= from && from < to && to <= this.position)) {
        throw new MowgliError(
          'OPTION_INVALID',
          `the tokens ${from} to ${to} of ${this.position} were asked for; ask for evaluated ones`,
        );
      }
      return this.#kv.read(from, to);
    });
  }

  /**
   * Goes on behind the evaluated tokens with some whose keys and values are known: those from the
   * `first` of a block on, as `readKv` gave it, here or in an engine with the same weights.
   *
   * @throws MowgliError `OPTION_INVALID`, `CONTEXT_EXCEEDED`, and errors of the device
   */
  writeKv(tokens: readonly number[], block: Uint8Array, first = 0): Promise<void> {
    return this.#working(async () => {
      this.#checkTokens(tokens);
      const positions = block.length / kvTokenBytes(this.kvShape);
      if (!Number.isInteger(positions) || first < 0 || first + tokens.length > positions) {
        throw new MowgliError(
          'OPTION_INVALID',
          `a block of ${positions} positions does not have ${tokens.length} from ${first} on; pass ` +
            'what an engine with the same model and kvType gave',
        );
      }
      await this.#kv.write(this.position, block, first, tokens.length);
      this.#hold(tokens);
    });
  }

  #hold(tokens: readonly number[]): void {
    for (const token of tokens) this.#evaluated.push(token);
  }

  /**
   * Evaluates tokens after those already evaluated and finds the `k` most likely next tokens among
   * the first `vocab`, after `adjustments`.
   */
  best(
    tokens: readonly number[],
    options: EvaluateOptions & LikeliestOptions,
  ): Promise<Candidates> {
    return this.#working(async () => {
      const ws = this.#ws;
      const wanted = { ...options, vocab: Math.min(options.vocab, this.config.vocabSize) };
      const reads = likeliestReads(ws, wanted.k);
      const record = (rec: Recorder) => recordLikeliest(rec, ws, wanted);
      return toCandidates(await this.#evaluate(tokens, options, reads, record));
    });
  }

  /** Evaluates tokens after those already evaluated; answers the last one's logits, [vocab]. */
  logits(tokens: readonly number[], options: EvaluateOptions = {}): Promise<Float32Array> {
    return this.#working(async () => {
      const [bytes] = await this.#evaluate(tokens, options, [this.#lastLogits()]);
      return new Float32Array(bytes);
    });
  }

  /** The logits of the last evaluation once more, with the adjustments that it made. */
  lastLogits(): Promise<Float32Array> {
    return this.#working(async () => {
      const [bytes] = await this.gpu.read([this.#lastLogits()]);
      return new Float32Array(bytes);
    });
  }

  #lastLogits(): BufferSlice {
    return this.#ws.logits.slice.buffer.slice(0, 4 * this.config.vocabSize);
  }

  /** Evaluates tokens after those already evaluated; answers every one's logits, [tokens, vocab]. */
  async everyLogits(
    tokens: readonly number[],
    options: EvaluateOptions = {},
  ): Promise<Float32Array> {
    this.#checkTokens(tokens);
    const { vocabSize } = this.config;
    const out = new Float32Array(tokens.length * vocabSize);
    const keep = (row: Float32Array, index: number) => out.set(row, index * vocabSize);
    await this.eachLogits(tokens, keep, options);
    return out;
  }

  /**
   * Evaluates tokens after those already evaluated; hands the logits of each from the index `from` on
   * to `visit`, one after the other. They are good during the call only.
   */
  eachLogits(
    tokens: readonly number[],
    visit: LogitsVisitor,
    options: EvaluateOptions & { from?: number } = {},
  ): Promise<void> {
    return this.#working(() => this.#eachLogits(tokens, visit, options));
  }

  async #eachLogits(
    tokens: readonly number[],
    visit: LogitsVisitor,
    { from = 0, signal, onProgress }: EvaluateOptions & { from?: number },
  ): Promise<void> {
    this.#checkTokens(tokens);
    const { vocabSize } = this.config;
    const { logits, logitRows } = this.#ws;
    for (let begin = 0; begin < tokens.length; begin += this.chunk) {
      const part = tokens.slice(begin, begin + this.chunk);
      throwIfAborted(signal, 'evaluating the tokens');
      const { addend } = await this.#forward(part, { signal });
      for (let first = Math.max(0, from - begin); first < part.length; first += logitRows) {
        const rows = Math.min(logitRows, part.length - first);
        this.#decoder.logits(this.#rec, this.#ws, addend, logits, first, rows);
        this.#rec.submit();
        const [bytes] = await this.gpu.read([
          logits.slice.buffer.slice(0, 4 * rows * logits.stride),
        ]);
        const values = new Float32Array(bytes);
        for (let row = 0; row < rows; row++) {
          const at = row * logits.stride;
          await visit(values.subarray(at, at + vocabSize), begin + first + row);
        }
      }
      onProgress?.({ done: begin + part.length, total: tokens.length });
    }
  }

  /**
   * Waits for the evaluation under way, whose buffers cannot be taken from it, then frees the
   * weights, the cache and the buffers; not the GPU. Later evaluations are refused.
   */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#work;
    await this.#experts.dispose();
    this.#buffers.destroy();
  }

  /** Every use of the GPU after loading goes through here. */
  async #working<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new MowgliError('DISPOSED', 'the model was disposed of');
    const result = work();
    this.#work = result.catch(() => {});
    return result;
  }

  /**
   * Evaluates tokens, in chunks, up to the last one's logits; `then` is recorded after them. Answers
   * what `reads` hold then.
   */
  async #evaluate(
    tokens: readonly number[],
    { signal, onProgress }: EvaluateOptions,
    reads: readonly BufferSlice[],
    then: (rec: Recorder) => void = () => {},
  ): Promise<readonly ArrayBuffer[]> {
    this.#checkTokens(tokens);
    const last = tokens.length - 1 - ((tokens.length - 1) % this.chunk);
    for (let begin = 0; begin < last; begin += this.chunk) {
      throwIfAborted(signal, 'evaluating the tokens');
      await this.#forward(tokens.slice(begin, begin + this.chunk), { signal });
      // Without this wait the whole prompt would be queued, and an abort would change nothing.
      await this.gpu.idle();
      onProgress?.({ done: begin + this.chunk, total: tokens.length });
    }
    throwIfAborted(signal, 'evaluating the tokens');
    const rest = tokens.slice(last);
    const finish = this.#finish(rest.length, then);
    const { data } = await this.#forward(rest, { signal, finish, reads });
    return data;
  }

  /** Records the logits of the last of some tokens, and what follows them. */
  #finish(tokens: number, then: (rec: Recorder) => void): Chunk['finish'] {
    return (rec, addend) => {
      this.#decoder.logits(rec, this.#ws, addend, this.#ws.logits, tokens - 1, 1);
      then(rec);
    };
  }

  /** Evaluates one chunk, and counts it as evaluated when it is. */
  async #forward(
    tokens: readonly number[],
    then: Pick<Chunk, 'signal' | 'finish' | 'reads'>,
  ): Promise<Evaluated> {
    const chunk = this.#prepare(tokens, this.position);
    const evaluated = await this.#pass.run({ ...chunk, ...then });
    this.#hold(tokens);
    this.#evaluatedTokens += tokens.length;
    return evaluated;
  }

  /** Puts a chunk's ids and rotations where the kernels look for them. */
  #prepare(tokens: readonly number[], position: number): { position: number; tokens: number } {
    this.gpu.throwIfFailed();
    this.gpu.write(this.#ws.ids.buffer, 0, Uint32Array.from(tokens));
    this.gpu.write(this.#ws.rope.buffer, 0, this.#rope.at(position, tokens.length));
    return { position, tokens: tokens.length };
  }

  #checkTokens(tokens: readonly number[]): void {
    if (tokens.length === 0) {
      throw new MowgliError('OPTION_INVALID', 'there are no tokens to evaluate; give at least one');
    }
    if (this.position + tokens.length > this.context) {
      throw new MowgliError(
        'CONTEXT_EXCEEDED',
        `${this.position + tokens.length} tokens do not fit the context of ${this.context}; ` +
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
      const { vocabSize } = this.config;
      const best = (rec: Recorder) => recordLikeliest(rec, this.#ws, { k: 1, vocab: vocabSize });
      // What the cache holds before that position does not matter: the result is dropped.
      const chunk = this.#prepare(new Array(tokens).fill(0), position);
      await this.#pass.rehearse({ ...chunk, signal, finish: this.#finish(tokens, best) });
      const first = position === 0 && tokens === 1;
      if (first && !this.#experts.complete) await this.#pass.calibrate({ ...chunk, signal });
    }
    onProgress?.({ phase: 'kernels', done: shapes.length, total: shapes.length });
    throwIfAborted(signal, 'loading the model');
    this.gpu.readbacks = 0;
  }
}
