import { throwIfAborted } from '../errors.ts';
import { expertLayout } from '../experts/expert-layout.ts';
import { ExpertReader } from '../experts/expert-reader.ts';
import { type LayerExperts, SlotPool } from '../experts/slot-pool.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { TensorInfo, TensorStore } from '../files/tensors.ts';
import type { GpuBuffer } from '../gpu/buffer.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { KvType, LayerKv } from '../kernels/kv-cache.ts';
import { type ActivationType, noSlot } from '../kernels/matrix.ts';
import type { Addend } from '../kernels/rmsnorm.ts';
import { topK } from '../kernels/topk.ts';
import { Decoder } from '../model/decoder.ts';
import { allocateKvCache } from '../model/kv-cache.ts';
import { allocateWorkspace, type Workspace } from '../model/workspace.ts';
import type { ComputeCosts, LayerCosts, MoveCosts } from './costs.ts';
import { type Excerpt, excerpt } from './scratch-tensors.ts';

/** Bytes of scratch weights: more than caches hold, where a layer has as many. */
const attentionBytes = 96 << 20;
const slotBytes = 128 << 20;
const outputBytes = 24 << 20;

/** Milliseconds of computing that a sample should last, and samples of each kind. */
const sampleMs = 25;
const samples = 7;

/** Tokens of context that attention is timed with, besides none. */
const longContext = 1024;

/** Passes through the output in one sample. */
const outputRuns = 4;

export interface MeasureOptions {
  readonly kvType: KvType;
  readonly activations: ActivationType;
  readonly signal?: AbortSignal | undefined;
  /** Told before each kind of layer and at the end. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Layers whose tensors have the same types, and so take the same time. */
interface LayerKind {
  readonly layers: readonly number[];
  /** Where its layers are in the excerpt: `copies` of them from `first` on. */
  readonly first: number;
  readonly copies: number;
}

/** What was measured on a GPU. */
export interface MeasuredCompute {
  readonly compute: ComputeCosts;
  /** From the host's memory into a slot, of an expert of average size. */
  readonly upload: MoveCosts;
}

/**
 * Times the model's own kernels on this GPU, at its shapes and in its number formats, on a few scratch
 * layers: whole passes as decoding makes them, and the same with parts left out. Frees what it took.
 *
 * @throws MowgliError `OUT_OF_MEMORY`, `ABORTED`, and the error of a device that is lost
 */
export async function measureCompute(
  gpu: Gpu,
  model: { readonly config: ModelConfig; readonly tensors: TensorStore },
  { kvType, activations, signal, onProgress }: MeasureOptions,
): Promise<MeasuredCompute> {
  const { config } = model;
  const { tensors } = model.tensors;
  const kinds = layerKinds(config, tensors);
  const vocab = vocabularyOf(config, tensors);
  const part = excerpt(
    config,
    tensors,
    kinds.flatMap(({ layers, copies }) => layers.slice(0, copies)),
    vocab,
  );
  const buffers = new BufferSet(gpu);
  try {
    const bench = await Bench.create(buffers, part, { kvType, activations }, signal);
    const layers: LayerCosts[] = [];
    const syncs: number[] = [];
    const uploads: MoveCosts[] = [];
    for (const [done, kind] of kinds.entries()) {
      onProgress?.(done, kinds.length + 1);
      const { costs, syncMs, upload } = await bench.measureLayers(kind);
      for (const layer of kind.layers) layers[layer] = costs;
      syncs.push(syncMs);
      for (const _ of kind.layers) if (upload) uploads.push(upload);
    }
    onProgress?.(kinds.length, kinds.length + 1);
    const outputMs = await bench.measureToken();
    onProgress?.(kinds.length + 1, kinds.length + 1);
    const tokenMs = (outputMs * config.vocabSize) / vocab;
    return {
      compute: { tokenMs, layers, syncMs: mean(syncs) },
      upload: {
        firstMs: mean(uploads.map(({ firstMs }) => firstMs)),
        nextMs: mean(uploads.map(({ nextMs }) => nextMs)),
      },
    };
  } finally {
    buffers.destroy();
  }
}

/** The excerpt on the GPU, and what records parts of its forward pass. */
class Bench {
  readonly #gpu: Gpu;
  readonly #buffers: BufferSet;
  readonly #part: Excerpt;
  readonly #decoder: Decoder;
  readonly #ws: Workspace;
  readonly #kv: readonly LayerKv[];
  readonly #rec: Recorder;
  readonly #signal: AbortSignal | undefined;

  private constructor(
    buffers: BufferSet,
    part: Excerpt,
    parts: { decoder: Decoder; ws: Workspace; kv: readonly LayerKv[] },
    signal: AbortSignal | undefined,
  ) {
    this.#gpu = buffers.gpu;
    this.#buffers = buffers;
    this.#part = part;
    this.#decoder = parts.decoder;
    this.#ws = parts.ws;
    this.#kv = parts.kv;
    this.#rec = buffers.gpu.record();
    this.#signal = signal;
  }

  static async create(
    buffers: BufferSet,
    part: Excerpt,
    { kvType, activations }: Pick<MeasureOptions, 'kvType' | 'activations'>,
    signal: AbortSignal | undefined,
  ): Promise<Bench> {
    const { config, tensors } = part;
    const loader = { tensors, buffers, signal, onBytes() {} };
    const decoder = await Decoder.load(loader, config);
    const ws = await allocateWorkspace(buffers, config, 1, activations);
    const kv = await allocateKvCache(buffers, config, longContext + 1, kvType);
    return new Bench(buffers, part, { decoder, ws, kv }, signal);
  }

  /** Times one kind of layers, and what brings an expert to one. */
  async measureLayers(
    kind: LayerKind,
  ): Promise<{ costs: LayerCosts; syncMs: number; upload: MoveCosts | undefined }> {
    const { first, copies } = kind;
    const sparse = this.#decoder.isSparse(first);
    const slots = sparse ? await ScratchSlots.create(this.#buffers, this.#part, first) : undefined;
    const all = (turn: number) => slots?.filled(turn);
    let count = copies;
    /** Calls `one` for `count` layers, the copies over and over, each with what the last one left. */
    const layers = (
      one: (layer: number, turn: number, addend: Addend | undefined) => Addend | undefined,
    ) => {
      this.#decoder.recordEmbedding(this.#rec, this.#ws, 1);
      let addend: Addend | undefined;
      for (let turn = 0; turn < count; turn++) addend = one(first + (turn % copies), turn, addend);
    };
    const pass = (experts: (turn: number) => LayerExperts | undefined, position = 0) =>
      this.#sample(() =>
        layers((layer, turn, addend) => {
          this.#recordRouted(layer, position, addend);
          return this.#recordMlp(layer, experts(turn));
        }),
      );
    /** As layers go that lack experts: those that are there, uploads, and those that have come. */
    const stopping = async (uploads: number) => {
      const start = performance.now();
      this.#decoder.recordEmbedding(this.#rec, this.#ws, 1);
      let addend: Addend | undefined;
      for (let turn = 0; turn < count; turn++) {
        const layer = first + (turn % copies);
        this.#recordRouted(layer, 0, addend);
        this.#rec.submit();
        await this.#gpu.read([this.#ws.topIds]);
        this.#recordMlp(layer, slots?.empty);
        this.#rec.submit();
        for (let i = 0; i < uploads; i++) slots?.upload(turn * uploads + i);
        addend = this.#recordMlp(layer, all(turn));
        this.#rec.submit();
      }
      await this.#gpu.read([this.#ws.topIds]);
      return performance.now() - start;
    };
    const restoring = () =>
      this.#sample(() =>
        layers((layer) => {
          if (sparse) this.#decoder.recordRestore(this.#rec, this.#ws, layer);
          return undefined;
        }),
      );

    await pass(all); // compiles
    const once = await pass(all);
    count = Math.max(copies, Math.min(24, Math.ceil((sampleMs * copies) / once)), 4);
    const { numExpertsPerTok } = this.#part.config;
    const [
      idle,
      whole,
      stopped,
      oneUploaded,
      uploaded,
      withoutExperts,
      noSlots,
      restored,
      farther,
    ] = await this.#medians([
      () => this.#sample(() => {}),
      () => pass(all),
      () => stopping(0),
      () => stopping(1),
      () => stopping(numExpertsPerTok),
      () => pass(() => undefined),
      () => pass(() => slots?.empty),
      restoring,
      () => pass(() => undefined, longContext),
    ]);
    const perLayer = (ms: number) => Math.max(0, ms / count);
    const noExpertsMs = sparse ? perLayer(noSlots - withoutExperts) : 0;
    const firstMs = perLayer(oneUploaded - stopped);
    const nextMs = perLayer(uploaded - oneUploaded) / Math.max(1, numExpertsPerTok - 1);
    return {
      costs: {
        attentionMs: perLayer((sparse ? withoutExperts : whole) - idle),
        contextMs: perLayer(farther - withoutExperts) / longContext,
        expertsMs: sparse ? perLayer(whole - withoutExperts) : 0,
        noExpertsMs,
        restoreMs: perLayer(restored - idle),
      },
      syncMs: Math.max(idle, perLayer(stopped - whole) - noExpertsMs),
      upload: slots && { firstMs: Math.max(firstMs, nextMs), nextMs },
    };
  }

  /** Milliseconds of what follows the last layer. */
  async measureToken(): Promise<number> {
    const ws = this.#ws;
    const output = (runs: number) =>
      this.#sample(() => {
        for (let i = 0; i < runs; i++) {
          this.#decoder.recordEmbedding(this.#rec, ws, 1);
          this.#decoder.logits(this.#rec, ws, undefined, ws.logits, 0, 1);
          topK(this.#rec, {
            logits: ws.logits.slice,
            n: this.#part.config.vocabSize,
            k: 1,
            scratchValues: ws.topKScratchValues,
            scratchIds: ws.topKScratchIds,
            values: ws.topValues,
            ids: ws.topIds,
          });
        }
      });
    await output(1); // compiles
    const [one, several] = await this.#medians([() => output(1), () => output(1 + outputRuns)]);
    return Math.max(0, (several - one) / outputRuns);
  }

  #recordRouted(layer: number, position: number, addend: Addend | undefined): void {
    this.#decoder.recordAttention(this.#rec, this.#ws, this.#kv[layer], layer, position, 1, addend);
    if (this.#decoder.isSparse(layer)) {
      this.#decoder.recordRouter(this.#rec, this.#ws, layer, 1);
    }
  }

  #recordMlp(layer: number, experts: LayerExperts | undefined): Addend | undefined {
    if (!this.#decoder.isSparse(layer)) {
      return this.#decoder.recordMlp(this.#rec, this.#ws, layer, 1);
    }
    return experts && this.#decoder.recordExperts(this.#rec, this.#ws, layer, 1, experts);
  }

  /** Milliseconds from the beginning of recording to the readback, as decoding a token takes it. */
  async #sample(record: () => void): Promise<number> {
    const start = performance.now();
    record();
    this.#rec.submit();
    await this.#gpu.read([this.#ws.topIds]);
    return performance.now() - start;
  }

  /** Medians of samples taken in turns: what else the machine does then slows all of them down alike. */
  async #medians(sources: readonly (() => Promise<number>)[]): Promise<number[]> {
    const times: number[][] = sources.map(() => []);
    for (let round = 0; round <= samples; round++) {
      for (const [i, sample] of sources.entries()) {
        throwIfAborted(this.#signal, 'measuring the GPU');
        const ms = await sample();
        if (round > 0) times[i].push(ms); // the first one may compile
      }
    }
    return times.map(median);
  }
}

/** Slots with scratch experts in them. */
class ScratchSlots {
  /** As if no expert of a layer were on the GPU. */
  readonly empty: LayerExperts;
  readonly #gpu: Gpu;
  readonly #pool: SlotPool;
  readonly #images: readonly Uint8Array[];
  readonly #table: GpuBuffer;
  readonly #filled: readonly LayerExperts[];
  readonly #firstEntry = new Uint32Array(1);

  /** @param turns tables of so many turns, and behind them an empty one */
  private constructor(
    gpu: Gpu,
    pool: SlotPool,
    images: readonly Uint8Array[],
    { table, turns, experts }: { table: GpuBuffer; turns: number; experts: number },
  ) {
    this.#gpu = gpu;
    this.#pool = pool;
    this.#images = images;
    this.#table = table;
    const all = Array.from({ length: pool.slots }, (_, slot) => slot);
    this.#filled = Array.from({ length: turns }, (_, turn) =>
      pool.matrices(table.all(), turn * experts, all),
    );
    this.empty = pool.matrices(table.all(), turns * experts, []);
  }

  static async create(
    buffers: BufferSet,
    { config, tensors }: Excerpt,
    layer: number,
  ): Promise<ScratchSlots> {
    const { gpu } = buffers;
    const { numExperts: experts, numExpertsPerTok } = config;
    const layout = expertLayout(config, tensors, layer, gpu.capabilities.maxBindingBytes);
    const count = Math.max(numExpertsPerTok, Math.floor(slotBytes / layout.bytes));
    const slots = Math.min(experts, count);
    const pool = await SlotPool.create(buffers, layout, slots);
    const images = Array.from({ length: numExpertsPerTok }, () => new Uint8Array(layout.bytes));
    const reader = new ExpertReader(tensors);
    for (const [e, image] of images.entries()) {
      await reader.read(layout, layer, e, image, undefined);
    }
    for (let slot = 0; slot < slots; slot++) pool.write(slot, images[slot % images.length]);
    // In each turn an expert is in another slot: none is in a cache from the last turn.
    const turns = Math.max(1, Math.min(16, Math.floor(slots / numExpertsPerTok)));
    const slotOf = new Uint32Array((turns + 1) * experts).fill(noSlot);
    for (let turn = 0; turn < turns; turn++) {
      for (let e = 0; e < experts; e++) {
        slotOf[turn * experts + e] = (e + turn * numExpertsPerTok) % slots;
      }
    }
    const table = await buffers.upload('expert table', slotOf);
    return new ScratchSlots(gpu, pool, images, { table, turns, experts });
  }

  /** A layer whose experts are all there. */
  filled(turn: number): LayerExperts {
    return this.#filled[turn % this.#filled.length];
  }

  /** Queues an expert, and its entries in the tables, as the expert cache does. */
  upload(turn: number): void {
    this.#pool.write(turn % this.#pool.slots, this.#images[turn % this.#images.length]);
    for (let entry = 0; entry < 2; entry++) this.#gpu.write(this.#table, 0, this.#firstEntry);
  }
}

/** Layers by the types and shapes of their tensors, with room for some of each in an excerpt. */
function layerKinds(config: ModelConfig, tensors: ReadonlyMap<string, TensorInfo>): LayerKind[] {
  const signatures: string[] = config.sparseLayers.map(() => '');
  const bytes: number[] = config.sparseLayers.map(() => 0);
  for (const { name, type, bytes: size } of tensors.values()) {
    const match = /^model\.layers\.(\d+)\.(.*)$/.exec(name);
    // The experts of a layer are alike, or become so when they are loaded.
    if (match === null || /\.experts\.[1-9]\d*\./.test(name)) continue;
    signatures[Number(match[1])] += `${match[2]} ${type};`;
    if (!match[2].startsWith('mlp.experts.')) bytes[Number(match[1])] += size;
  }
  const found = new Map<string, number[]>();
  for (const [layer, signature] of signatures.entries()) {
    found.set(signature, [...(found.get(signature) ?? []), layer]);
  }
  let first = 0;
  return Array.from(found.values(), (layers) => {
    const wanted = Math.ceil(attentionBytes / found.size / Math.max(1, bytes[layers[0]]));
    const copies = Math.min(layers.length, Math.max(1, Math.min(8, wanted)));
    const kind = { layers, first, copies };
    first += copies;
    return kind;
  });
}

/** Rows of the output matrix to time. */
function vocabularyOf(config: ModelConfig, tensors: ReadonlyMap<string, TensorInfo>): number {
  const { vocabSize } = config;
  const output = tensors.get('lm_head.weight') ?? tensors.get('model.embed_tokens.weight');
  const rowBytes = output ? output.bytes / vocabSize : 1;
  return Math.min(vocabSize, Math.max(1024, Math.floor(outputBytes / rowBytes)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
