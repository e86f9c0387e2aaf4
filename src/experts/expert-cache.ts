import { MowgliError, throwIfAborted } from '../errors.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { GpuBuffer } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import { noSlot } from '../kernels/matrix.ts';
import { concurrentReads, ExpertImages } from './expert-images.ts';
import { type ExpertLayout, expertLayout, sameLayout } from './expert-layout.ts';
import { ExpertReader } from './expert-reader.ts';
import { ExpertUse } from './expert-use.ts';
import { type CachePolicy, createPolicy, hotSet, type PolicyName } from './policy.ts';
import type { LayerExperts, SlotPool } from './slot-pool.ts';
import { allocateSlots } from './slot-shares.ts';
import type { WeightLoader } from './tensor-upload.ts';

export interface ExpertCacheOptions {
  /** Bytes of GPU memory for slots and their tables. */
  readonly gpuBytes: number;
  /** Bytes of host memory that keep experts read before; 0 leaves that to the operating system. */
  readonly hostBytes: number;
  readonly policy: PolicyName;
  /** Share of the slots for the experts that were used most before; they are loaded at once and stay. */
  readonly pin: number;
  /** How often experts were used before, [layer, expert]. */
  readonly usedBefore: ArrayLike<number> | undefined;
}

/** Bytes of experts that are read while those before them are computed. */
export const roundBytes = 64 << 20;

/** Bytes queued for upload before they are waited for: until then the driver holds a copy. */
const queuedBytes = 256 << 20;

/** Slots of one layout, and who is in them. */
interface Pool {
  readonly slots: SlotPool;
  readonly policy: CachePolicy;
  readonly free: number[];
  /** Layers whose experts live here; a policy's keys count layers in this order. */
  readonly layers: readonly number[];
  /** Keys of experts that stay. */
  readonly pinned: ReadonlySet<number>;
}

interface CachedLayer {
  readonly pool: Pool;
  /** Of expert 0, among the keys of the pool's policy. */
  readonly firstKey: number;
  /** All experts of the layer, once they are there for good. */
  forGood?: LayerExperts;
}

/**
 * The experts of a model that are on the GPU, in slots, and the way there for the others: from the
 * files or the host's memory. Truth about who is where is here; the GPU has a copy, the table
 * `[layer, expert] -> slot` that kernels read.
 *
 * Uploads are queued: work submitted before one still finds the slot's former content, so a slot can
 * be given away as soon as what reads it was submitted, not only when that is done.
 */
export class ExpertCache {
  /** Every expert is on the GPU, for good. */
  readonly complete: boolean;
  readonly use: ExpertUse;
  readonly #gpu: Gpu;
  readonly #experts: number;
  readonly #images: ExpertImages;
  readonly #pools: readonly Pool[];
  /** By layer; none for a layer without experts. */
  readonly #layers: readonly (CachedLayer | undefined)[];
  /** Slot of expert e of layer l at l * experts + e, or `noSlot`. */
  readonly #slotOf: Uint32Array<ArrayBuffer>;
  readonly #table: GpuBuffer;
  readonly #roundTable: GpuBuffer;
  #roundSlots: readonly number[] = [];
  #queued = 0;

  private constructor(
    gpu: Gpu,
    config: ModelConfig,
    reader: ExpertReader,
    pools: readonly Pool[],
    tables: { slotOf: Uint32Array<ArrayBuffer>; table: GpuBuffer; round: GpuBuffer },
    hostBytes: number,
  ) {
    this.#gpu = gpu;
    const { numExperts: experts } = config;
    this.#experts = experts;
    this.#pools = pools;
    this.#slotOf = tables.slotOf;
    this.#table = tables.table;
    this.#roundTable = tables.round;
    const layers: (CachedLayer | undefined)[] = new Array(config.numHiddenLayers);
    for (const pool of pools) {
      for (const [i, layer] of pool.layers.entries()) {
        layers[layer] = {
          pool,
          firstKey: i * experts,
        };
      }
    }
    this.#layers = layers;
    this.complete = pools.every(({ slots, layers: of }) => slots.slots === of.length * experts);
    const slots = pools.reduce((sum, pool) => sum + pool.slots.slots, 0);
    const all = pools.reduce((sum, pool) => sum + pool.layers.length * experts, 0);
    this.use = new ExpertUse(layers.length, experts, slots, all);
    this.#images = new ExpertImages({
      reader,
      layouts: Array.from(layers, (cached) => cached?.pool.slots.layout),
      experts,
      perToken: config.numExpertsPerTok,
      hostBytes: this.complete ? 0 : hostBytes,
      use: this.use,
    });
  }

  /**
   * Allocates slots within the budget, shared out among layouts by the bytes of their experts. Where
   * every expert has a slot, all are loaded at once; else each when it is first needed.
   *
   * @throws MowgliError `OUT_OF_MEMORY` when the budget has no room for one expert of each layout,
   * `TENSOR_MISSING`, `ABORTED`, and what reading throws
   */
  static async create(
    loader: WeightLoader,
    config: ModelConfig,
    options: ExpertCacheOptions,
  ): Promise<ExpertCache> {
    const { buffers, tensors } = loader;
    const { maxBindingBytes } = buffers.gpu.capabilities;
    const { numExperts: experts, sparseLayers } = config;
    const kinds: { layout: ExpertLayout; layers: number[] }[] = [];
    for (const [layer, sparse] of sparseLayers.entries()) {
      if (!sparse) continue;
      const layout = expertLayout(config, tensors, layer, maxBindingBytes);
      const known = kinds.find((kind) => sameLayout(kind.layout, layout));
      if (known) known.layers.push(layer);
      else kinds.push({ layout, layers: [layer] });
    }
    const tableBytes = 4 * sparseLayers.length * experts;
    const slotOf = new Uint32Array(sparseLayers.length * experts).fill(noSlot);
    const table = await buffers.allocate('expert table', tableBytes);
    const round = await buffers.allocate('expert table', 4 * experts);
    buffers.gpu.write(table, 0, slotOf);
    const slotBytes = options.gpuBytes - table.bytes - round.bytes;
    const pools = (await allocateSlots(buffers, kinds, experts, slotBytes)).map(
      (slots, i): Pool => {
        const { layers } = kinds[i];
        const shape = { layers: layers.length, experts, slots: slots.slots };
        const { usedBefore = [], pin } = options;
        const used = layers.flatMap((layer) =>
          Array.from({ length: experts }, (_, e) => usedBefore[layer * experts + e] ?? 0),
        );
        const pinned = hotSet(used, Math.floor(pin * slots.slots));
        return {
          slots,
          pinned,
          policy: createPolicy(options.policy, shape, { pinned }),
          free: Array.from({ length: slots.slots }, (_, slot) => slots.slots - 1 - slot),
          layers,
        };
      },
    );
    const cache = new ExpertCache(
      buffers.gpu,
      config,
      new ExpertReader(tensors),
      pools,
      { slotOf, table, round },
      options.hostBytes,
    );
    await cache.#loadFirst(loader);
    return cache;
  }

  /**
   * The experts of a layer that are on the GPU, as kernels take them. Where it is known which of them
   * matter, `among` saves dispatches; those of others may be left out then.
   */
  resident(layer: number, among?: readonly number[]): LayerExperts {
    const cached = this.#layers[layer]!;
    if (cached.forGood) return cached.forGood;
    const first = layer * this.#experts;
    const slots = among
      ? among.map((expert) => this.#slotOf[first + expert])
      : this.#slotOf.subarray(first, first + this.#experts);
    const there = Array.from(slots).filter((slot) => slot !== noSlot);
    const experts = cached.pool.slots.matrices(this.#table.all(), first, there);
    if (this.complete && there.length === this.#experts) cached.forGood = experts;
    return experts;
  }

  /** The experts of a layer whose turn it is; see `rounds`. */
  inRound(layer: number): LayerExperts {
    const { pool } = this.#layers[layer]!;
    return pool.slots.matrices(this.#roundTable.all(), 0, this.#roundSlots);
  }

  /** Which of some experts are not on the GPU. */
  missing(layer: number, experts: readonly number[]): number[] {
    const first = layer * this.#experts;
    return experts.filter((expert) => this.#slotOf[first + expert] === noSlot);
  }

  /**
   * Notes that `tokens[i]` tokens were sent to `experts[i]` of a layer; `missed` of the experts were not
   * on the GPU.
   */
  touch(
    layer: number,
    experts: readonly number[],
    tokens: readonly number[],
    missed: number,
  ): void {
    const { pool, firstKey } = this.#layers[layer]!;
    for (const [i, expert] of experts.entries()) pool.policy.touch(firstKey + expert, tokens[i]);
    this.use.needed(layer, experts, missed);
  }

  /** A chunk of so many tokens is done. */
  step(tokens: number): void {
    for (const { policy } of this.#pools) policy.step(tokens);
  }

  /**
   * Brings experts of a layer onto the GPU, as many at a time as there are slots and as overlap well
   * with computing; reads those of the next round meanwhile. In each round, the experts of the round,
   * and no others, are in `inRound(layer)`. Whoever takes a round must have submitted what it
   * recorded before it asks for another round.
   *
   * @throws MowgliError what reading throws, `ABORTED`; the experts of finished rounds stay
   */
  async *rounds(
    layer: number,
    experts: readonly number[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly number[]> {
    const { pool } = this.#layers[layer]!;
    const most = Math.max(1, Math.floor(roundBytes / pool.slots.layout.bytes));
    const perRound = Math.min(most, Math.max(1, pool.slots.slots - pool.pinned.size));
    const batches: number[][] = [];
    for (let i = 0; i < experts.length; i += perRound) batches.push(experts.slice(i, i + perRound));
    const begin = (batch: readonly number[]) => {
      const start = performance.now();
      const images = this.#images.take(layer, batch, signal);
      images.catch(() => {}); // whoever awaits it hears of it
      this.use.waited(layer, 'read', performance.now() - start); // of what is made, not read
      return images;
    };
    let reading = begin(batches[0] ?? []);
    try {
      for (const [i, batch] of batches.entries()) {
        const start = performance.now();
        const images = await reading;
        this.use.waited(layer, 'read', performance.now() - start);
        reading = begin(batches[i + 1] ?? []);
        await this.#place(layer, batch, images);
        yield batch;
      }
    } finally {
      // Nothing may be on its way into a buffer that others take.
      await reading.then(
        (images) => this.#images.giveBack(images),
        () => {},
      );
    }
  }

  /**
   * Begins to read experts that will probably be needed, into the host's memory; they take no slots
   * before somebody asks for them.
   */
  readAhead(layer: number, experts: readonly number[]): void {
    this.#images.readAhead(layer, this.missing(layer, experts));
  }

  /** Gives up what was read ahead for a layer and was not needed. */
  forgetAhead(layer: number): void {
    this.#images.forgetAhead(layer);
  }

  /** Ends what is being read. The slots are freed with the buffers they were allocated from. */
  dispose(): Promise<void> {
    return this.#images.dispose();
  }

  /** Every expert into a slot, layer after layer, or where not all have one, those that are pinned. */
  async #loadFirst({ signal, onBytes }: WeightLoader): Promise<void> {
    for (const [layer, cached] of this.#layers.entries()) {
      if (!cached) continue;
      const { pool, firstKey } = cached;
      const experts: number[] = [];
      for (let e = 0; e < this.#experts; e++) {
        if (this.complete || pool.pinned.has(firstKey + e)) experts.push(e);
      }
      const { bytes } = pool.slots.layout;
      const perBatch = Math.max(1, Math.min(concurrentReads, Math.floor(roundBytes / bytes)));
      for (let i = 0; i < experts.length; i += perBatch) {
        throwIfAborted(signal, 'loading the model');
        const batch = experts.slice(i, i + perBatch);
        const images = await this.#images.take(layer, batch, signal, onBytes);
        await this.#place(layer, batch, images);
      }
    }
    await this.#flush();
  }

  /** Puts experts into slots, of which there are as many, and makes them the present round. */
  async #place(
    layer: number,
    experts: readonly number[],
    images: readonly Uint8Array[],
  ): Promise<void> {
    // Where the CPU is the GPU, a buffer that nothing in flight uses is written in place, eight times as
    // fast as through a copy that waits for its turn; and after one such copy Dawn makes one each time.
    const before = performance.now();
    if (this.#gpu.capabilities.software) await this.#gpu.idle();
    const start = performance.now();
    this.use.waited(layer, 'gpu', start - before);
    const { pool, firstKey } = this.#layers[layer]!;
    const own = new Set(experts.map((expert) => firstKey + expert));
    const round = new Uint32Array(this.#experts).fill(noSlot);
    for (const [i, expert] of experts.entries()) {
      const slot = pool.free.pop() ?? this.#evict(pool, firstKey + expert, own);
      pool.slots.write(slot, images[i]);
      this.#queued += pool.slots.layout.bytes;
      round[expert] = slot;
      this.#setSlot(layer, expert, slot);
      pool.policy.insert(firstKey + expert);
      this.use.uploaded(pool.slots.layout.bytes);
      this.#images.keep(layer, expert, images[i]);
    }
    this.#gpu.write(this.#roundTable, 0, round);
    this.#roundSlots = experts.map((expert) => round[expert]);
    this.use.waited(layer, 'upload', performance.now() - start);
    if (this.#queued > queuedBytes) await this.#flush();
  }

  /** The slot of the expert that the policy gives up for another one. */
  #evict(pool: Pool, incoming: number, keep: ReadonlySet<number>): number {
    const key = pool.policy.victim(incoming, (candidate) => !keep.has(candidate));
    if (key === undefined) {
      throw new MowgliError('GPU_ERROR', 'the expert cache has no slot left to give away');
    }
    const layer = pool.layers[Math.floor(key / this.#experts)];
    const expert = key % this.#experts;
    const slot = this.#slotOf[layer * this.#experts + expert];
    this.#setSlot(layer, expert, noSlot);
    pool.policy.remove(key);
    this.use.evicted();
    return slot;
  }

  #setSlot(layer: number, expert: number, slot: number): void {
    const at = layer * this.#experts + expert;
    this.#slotOf[at] = slot;
    this.#gpu.write(this.#table, 4 * at, this.#slotOf.subarray(at, at + 1));
  }

  /** Waits until what was queued has left the driver's memory. */
  async #flush(): Promise<void> {
    this.#queued = 0;
    this.#gpu.device.queue.submit([]);
    await this.#gpu.idle();
  }
}
