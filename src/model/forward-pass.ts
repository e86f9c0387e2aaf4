import { throwIfAborted } from '../errors.ts';
import type { ExpertCache } from '../experts/expert-cache.ts';
import { Trial } from '../experts/trial.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { LayerKv } from '../kernels/kv-cache.ts';
import type { Addend } from '../kernels/rmsnorm.ts';
import type { Decoder } from './decoder.ts';
import { Lookahead } from './lookahead.ts';
import {
  maxPredictionDepth,
  predictionOf,
  routingOf,
  routingStride,
  type Workspace,
} from './workspace.ts';

/** Layers that tell what a wait costs. */
const calibratedLayers = 6;

/** Whether to read experts before they are known to be needed: always, never, or while it pays. */
export type ReadAhead = 'auto' | 'on' | 'off';

/** Tokens to evaluate, whose ids and rotations are in the workspace. */
export interface Chunk {
  readonly position: number;
  readonly tokens: number;
  readonly signal: AbortSignal | undefined;
  /** Records what follows the last layer. May be called more than once; the last time counts. */
  readonly finish?: ((rec: Recorder, addend: Addend | undefined) => void) | undefined;
  /** To be read back when all is done. */
  readonly reads?: readonly BufferSlice[];
}

/** Which experts the tokens of a chunk were sent to. */
export interface Routing {
  readonly position: number;
  readonly tokens: number;
  /** Per layer, [tokens, topK], best first; nothing for a dense layer. */
  readonly layers: readonly Uint32Array[];
  /** Of one token: per layer, by depth from 1, what the router so many sparse layers on said early. */
  readonly predictions: readonly (readonly Uint32Array[])[];
}

/** What `ForwardPass.run` answers. */
export interface Evaluated {
  /** What has still to be added to the residual stream in `ws.x`; see `Decoder.logits`. */
  readonly addend: Addend | undefined;
  /** What the chunk's `reads` hold. */
  readonly data: readonly ArrayBuffer[];
}

/**
 * Takes tokens through the layers of a model. With every expert on the GPU that is one submission and
 * one readback. Otherwise the GPU has to say who is needed before the experts can be brought:
 *
 * - One token is recorded some layers ahead, as if every expert were there (`Lookahead` says how far).
 *   Behind one that is missing the results are wrong and thrown away: the token goes back to the
 *   residual stream that was kept in front of that layer's experts, and goes on when they are there.
 * - A chunk of a prompt stops in every layer, since it needs most of a layer's experts anyway.
 * - Experts come in rounds: while one round is computed, the next one is read.
 *
 * The same kernels run on the same numbers in each case, so that the result never depends on what was
 * where.
 */
export class ForwardPass {
  readonly #gpu: Gpu;
  readonly #config: ModelConfig;
  readonly #decoder: Decoder;
  readonly #experts: ExpertCache;
  readonly #kv: readonly LayerKv[];
  readonly #ws: Workspace;
  readonly #rec: Recorder;
  readonly #readAhead: ReadAhead;
  #lookahead = new Lookahead(0);
  readonly #trial = new Trial();
  /** Told of every chunk's routing. */
  readonly #observers = new Set<{ tell: (routing: Routing) => void; depth: number }>();

  constructor(
    gpu: Gpu,
    parts: {
      config: ModelConfig;
      decoder: Decoder;
      experts: ExpertCache;
      kv: readonly LayerKv[];
      ws: Workspace;
      rec: Recorder;
    },
    readAhead: ReadAhead,
  ) {
    this.#gpu = gpu;
    this.#config = parts.config;
    this.#decoder = parts.decoder;
    this.#experts = parts.experts;
    this.#kv = parts.kv;
    this.#ws = parts.ws;
    this.#rec = parts.rec;
    this.#readAhead = readAhead;
  }

  /**
   * Tells `tell` the routing of every chunk from now on, with predictions for `depth` sparse layers
   * ahead (0 to `maxPredictionDepth`) of single tokens.
   *
   * @returns what ends it
   */
  observe(tell: (routing: Routing) => void, depth = 0): () => void {
    const observer = { tell, depth: Math.min(depth, maxPredictionDepth) };
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** Sparse layers ahead that somebody wants predictions for. */
  get #depth(): number {
    return Math.max(0, ...Array.from(this.#observers, ({ depth }) => depth));
  }

  /**
   * Evaluates a chunk. What needs no readback may still be running on the GPU afterwards.
   * @throws MowgliError `ABORTED`, what reading experts throws, and errors of the device
   */
  async run(chunk: Chunk): Promise<Evaluated> {
    try {
      this.#decoder.recordEmbedding(this.#rec, this.#ws, chunk.tokens);
      return await (this.#experts.complete ? this.#runResident(chunk) : this.#runStreaming(chunk));
    } catch (error) {
      this.#rec.discard();
      throw error;
    }
  }

  /** Runs every kernel of a chunk with the experts that happen to be there; the result means nothing. */
  async rehearse(chunk: Chunk): Promise<void> {
    this.#decoder.recordEmbedding(this.#rec, this.#ws, chunk.tokens);
    chunk.finish?.(this.#rec, this.#recordLayers(chunk));
    if (!this.#experts.complete && chunk.tokens === 1) {
      this.#decoder.recordPrediction(this.#rec, this.#ws, 0, 1);
    }
    this.#rec.submit();
    await this.#gpu.idle();
  }

  /**
   * Finds out what it costs to wait for the GPU between layers, as decoding with experts elsewhere has
   * to: some layers of the one token of `chunk` in one go, and the same with a wait behind each. An empty
   * submission would tell less: a wait also costs what the GPU idles around it.
   */
  async calibrate({ position }: Chunk): Promise<void> {
    const layers = Math.min(calibratedLayers, this.#config.numHiddenLayers);
    const [rec, ws] = [this.#rec, this.#ws];
    const time = async (waits: boolean) => {
      const start = performance.now();
      for (let layer = 0; layer < layers; layer++) {
        this.#decoder.recordAttention(rec, ws, this.#kv[layer], layer, position, 1, undefined);
        if (waits || layer === layers - 1) await this.#gpu.read([ws.topIds], rec);
      }
      return performance.now() - start;
    };
    const [apart, together]: [number[], number[]] = [[], []];
    for (let i = 0; i < 5; i++) {
      together.push(await time(false));
      apart.push(await time(true));
    }
    const whole = median(together);
    const syncMs = Math.max(0, median(apart) - whole) / Math.max(1, layers - 1);
    this.#lookahead = new Lookahead(syncMs, whole / layers);
  }

  async #runResident(chunk: Chunk): Promise<Evaluated> {
    const { reads = [] } = chunk;
    const addend = this.#recordLayers(chunk);
    chunk.finish?.(this.#rec, addend);
    const routing = this.#observers.size > 0 ? this.#routingReads(chunk.tokens) : [];
    const all = [...reads, ...routing];
    const data = await this.#submit(all);
    if (routing.length > 0) {
      const layers = this.#split(data[reads.length], chunk.tokens);
      this.#tell(chunk, layers, data[reads.length + 1]);
    }
    return { addend, data: data.slice(0, reads.length) };
  }

  /** Every layer, with the experts that are on the GPU. */
  #recordLayers({ position, tokens }: Chunk): Addend | undefined {
    const rec = this.#rec;
    const ws = this.#ws;
    let addend: Addend | undefined;
    for (let layer = 0; layer < this.#config.numHiddenLayers; layer++) {
      this.#decoder.recordAttention(rec, ws, this.#kv[layer], layer, position, tokens, addend);
      if (this.#decoder.isSparse(layer)) {
        this.#decoder.recordRouter(rec, ws, layer, tokens);
        this.#recordObserved(layer, tokens);
        const resident = this.#experts.resident(layer);
        addend = this.#decoder.recordExperts(rec, ws, layer, tokens, resident);
      } else {
        addend = this.#decoder.recordMlp(rec, ws, layer, tokens);
      }
    }
    return addend;
  }

  async #runStreaming(chunk: Chunk): Promise<Evaluated> {
    const { position, tokens, reads = [] } = chunk;
    const { numHiddenLayers: layers } = this.#config;
    const [decoder, rec, ws] = [this.#decoder, this.#rec, this.#ws];
    const began = performance.now();
    const ahead = this.#readsAhead(tokens);
    const predict = ahead && tokens === 1;
    const routing: Uint32Array[] = Array.from({ length: layers }, () => new Uint32Array());
    let addend: Addend | undefined;
    let next = 0;
    for (;;) {
      throwIfAborted(chunk.signal, 'evaluating the tokens');
      const horizon = this.#horizon(next, tokens);
      const asked: number[] = []; // layers whose routers were recorded since the last wait
      let stopped = false; // behind the last one asked, before its experts
      while (next < layers) {
        decoder.recordAttention(rec, ws, this.#kv[next], next, position, tokens, addend);
        if (!decoder.isSparse(next)) {
          addend = decoder.recordMlp(rec, ws, next++, tokens);
          continue;
        }
        decoder.recordRouter(rec, ws, next, tokens);
        this.#recordObserved(next, tokens);
        asked.push(next);
        if (asked.length === horizon) {
          stopped = true;
          if (predict) decoder.recordPrediction(rec, ws, next, 1);
          break;
        }
        decoder.recordSave(rec, ws, next);
        const resident = this.#experts.resident(next);
        addend = decoder.recordExperts(rec, ws, next++, tokens, resident);
      }
      if (!stopped) chunk.finish?.(rec, addend);
      const wanted = [
        ...(asked.length > 0 ? [this.#routingRange(asked[0], asked.at(-1)!, tokens)] : []),
        ...(stopped && predict ? [predictionOf(ws, this.#config, asked.at(-1)!, 1)] : []),
      ];
      const waited = performance.now();
      const all = stopped ? wanted : [...wanted, ...reads];
      const data = await this.#submit(all);
      if (asked.length > 0) {
        const ms = performance.now() - waited;
        this.#experts.use.waited(asked[0], 'gpu', ms);
        if (tokens === 1) this.#lookahead.took(ms, asked.length);
      }

      let redo = false;
      for (const layer of asked) {
        const ids = this.#idsAt(data[0], layer - asked[0], tokens);
        const needed = countExperts(ids, this.#config.numExperts);
        const missing = this.#experts.missing(layer, needed.experts);
        if (tokens === 1) this.#lookahead.saw(missing.length > 0);
        this.#experts.touch(layer, needed.experts, needed.tokens, missing.length);
        routing[layer] = ids;
        const recorded = !(stopped && layer === asked.at(-1));
        if (recorded && missing.length === 0) {
          this.#experts.forgetAhead(layer);
          continue;
        }
        if (recorded) decoder.recordRestore(rec, ws, layer);
        const predicted = recorded
          ? this.#idsAfter(data[0], asked, layer)
          : predict
            ? new Uint32Array(data[1])
            : undefined;
        const guess = ahead ? this.#guess(layer, tokens, predicted) : undefined;
        addend = await this.#computeExperts(chunk, layer, needed.experts, missing, guess);
        next = layer + 1;
        redo = true;
        break;
      }
      if (redo) continue;
      if (stopped) throw new Error('stopped at a layer and did not go on');
      this.#experts.step(tokens);
      if (tokens === 1) this.#trial.took(performance.now() - began);
      if (this.#observers.size > 0) {
        const predictions = this.#depth > 0 && tokens === 1;
        const more = predictions ? await this.#gpu.read([ws.prediction.ids]) : [];
        this.#tell(chunk, routing, more[0]);
      }
      return { addend, data: data.slice(wanted.length) };
    }
  }

  /** Submits what was recorded, and answers what some ranges hold then. */
  async #submit(reads: readonly BufferSlice[]): Promise<ArrayBuffer[]> {
    if (reads.length > 0) return this.#gpu.read(reads, this.#rec);
    this.#rec.submit();
    return [];
  }

  /**
   * The experts of a layer, whose router has been heard: those on the GPU at once, then the missing
   * ones round by round.
   *
   * @param guess a later layer and those of its experts that are worth reading early
   */
  async #computeExperts(
    { tokens, signal }: Chunk,
    layer: number,
    needed: readonly number[],
    missing: readonly number[],
    guess: { layer: number; experts: readonly number[] } | undefined,
  ): Promise<Addend> {
    const [decoder, rec, ws] = [this.#decoder, this.#rec, this.#ws];
    let addend: Addend | undefined;
    if (missing.length < needed.length) {
      const resident = this.#experts.resident(layer, needed);
      addend = decoder.recordExperts(rec, ws, layer, tokens, resident);
    }
    if (missing.length > 0) {
      // What an eviction takes away must be on the queue before the eviction.
      rec.submit();
      let left = missing.length;
      for await (const round of this.#experts.rounds(layer, missing, signal)) {
        left -= round.length;
        if (left === 0 && guess) this.#experts.readAhead(guess.layer, guess.experts);
        addend = decoder.recordExperts(rec, ws, layer, tokens, this.#experts.inRound(layer));
        // The last one can wait for what follows it.
        if (left > 0) rec.submit();
      }
    } else if (guess) {
      this.#experts.readAhead(guess.layer, guess.experts);
    }
    this.#experts.forgetAhead(layer);
    return addend!;
  }

  /** Sparse layers to record before the next wait. */
  #horizon(next: number, tokens: number): number {
    if (tokens > 1) return 1;
    let left = 0;
    for (let layer = next; layer < this.#config.numHiddenLayers; layer++) {
      if (this.#decoder.isSparse(layer)) left++;
    }
    return this.#lookahead.choose(left);
  }

  #readsAhead(tokens: number): boolean {
    if (this.#readAhead !== 'auto') return this.#readAhead === 'on';
    return tokens > 1 || this.#trial.on;
  }

  /** What is worth reading before the next sparse layer's router has spoken. */
  #guess(layer: number, tokens: number, predicted: Uint32Array | undefined) {
    let next = layer + 1;
    while (next < this.#config.numHiddenLayers && !this.#decoder.isSparse(next)) next++;
    if (next === this.#config.numHiddenLayers) return undefined;
    const { numExperts, numExpertsPerTok } = this.#config;
    if (predicted && tokens === 1) return { layer: next, experts: Array.from(predicted) };
    // A long chunk needs nearly every expert of every layer.
    if (tokens * numExpertsPerTok < 3 * numExperts) return undefined;
    return { layer: next, experts: Array.from({ length: numExperts }, (_, expert) => expert) };
  }

  /** The choice of the first router behind a missed layer: made with what was there, nearly right. */
  #idsAfter(data: ArrayBuffer, asked: readonly number[], layer: number): Uint32Array | undefined {
    const after = asked.find((other) => other > layer);
    return after === undefined ? undefined : this.#idsAt(data, after - asked[0], 1);
  }

  #recordObserved(layer: number, tokens: number): void {
    const depth = this.#depth;
    if (depth > 0 && tokens === 1) {
      this.#decoder.recordPrediction(this.#rec, this.#ws, layer, depth);
    }
  }

  #routingRange(first: number, last: number, tokens: number): BufferSlice {
    const { buffer, offset } = routingOf(this.#ws, this.#config, first, tokens);
    return buffer.slice(offset, (last - first + 1) * routingStride(this.#config, tokens));
  }

  #routingReads(tokens: number): BufferSlice[] {
    const all = this.#routingRange(0, this.#config.numHiddenLayers - 1, tokens);
    return this.#depth > 0 && tokens === 1 ? [all, this.#ws.prediction.ids] : [all];
  }

  #idsAt(data: ArrayBuffer, index: number, tokens: number): Uint32Array {
    const { numExpertsPerTok: topK } = this.#config;
    return new Uint32Array(data, index * routingStride(this.#config, tokens), tokens * topK);
  }

  #split(data: ArrayBuffer, tokens: number): Uint32Array[] {
    return this.#config.sparseLayers.map((sparse, layer) =>
      sparse ? this.#idsAt(data, layer, tokens) : new Uint32Array(),
    );
  }

  #tell(
    { position, tokens }: Chunk,
    layers: readonly Uint32Array[],
    predicted: ArrayBuffer | undefined,
  ): void {
    const depth = this.#depth;
    const { numHiddenLayers, sparseLayers } = this.#config;
    const sparse = layers.flatMap((_, layer) => (sparseLayers[layer] ? [layer] : []));
    const predictions = layers.map((_, layer) => {
      if (!predicted || !sparseLayers[layer]) return [];
      const after = sparse.filter((other) => other > layer).length;
      return Array.from({ length: Math.min(depth, after) }, (_, i) =>
        this.#idsAt(predicted, i * numHiddenLayers + layer, 1),
      );
    });
    for (const { tell } of this.#observers) tell({ position, tokens, layers, predictions });
  }
}

/** The different experts among some ids, in rising order, and how often each is there. */
function countExperts(ids: Uint32Array, experts: number): { experts: number[]; tokens: number[] } {
  const counts = new Uint32Array(experts);
  for (const id of ids) counts[id]++;
  const found: number[] = [];
  for (let expert = 0; expert < experts; expert++) if (counts[expert] > 0) found.push(expert);
  return { experts: found, tokens: found.map((expert) => counts[expert]) };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
