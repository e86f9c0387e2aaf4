/** What a run needed of the experts and what it took to have them on the GPU. */
export interface ExpertUsage {
  /** Experts that fit the GPU at once, and how many the model has. */
  slots: number;
  experts: number;
  /** (layer, expert) needed by a token, or by a chunk of a prompt, and on the GPU already. */
  hits: number;
  /** The same, but brought first. */
  misses: number;
  /** hits / (hits + misses); 1 when nothing was needed. */
  hitRate: number;
  /** Read from the files, and taken from the host's memory. */
  bytesFromFiles: number;
  bytesFromHost: number;
  bytesUploaded: number;
  /** Experts that gave up their slot. */
  evictions: number;
  /** Experts read before they were needed: used then, and not. */
  readAhead: { useful: number; wasted: number };
  /** Milliseconds: for the GPU (computing, and saying who is needed), for reads, for uploads. */
  waitMs: { gpu: number; read: number; upload: number };
}

/** What was waited for in one layer, in milliseconds. */
export interface LayerWaits {
  gpu: number;
  read: number;
  upload: number;
}

/** Counts for `ExpertUsage`, since the model was loaded; a run's are the difference. */
export class ExpertUse {
  readonly #slots: number;
  readonly #experts: number;
  readonly #perLayer: number;
  #hits = 0;
  #misses = 0;
  #fromFiles = 0;
  #fromHost = 0;
  #uploaded = 0;
  #evictions = 0;
  #useful = 0;
  #wasted = 0;
  readonly #waits: LayerWaits[];
  /** Times that each expert was needed; by layer. */
  readonly #counts = new Map<number, Uint32Array>();

  /** @param experts of the whole model */
  constructor(layers: number, perLayer: number, slots: number, experts: number) {
    this.#perLayer = perLayer;
    this.#slots = slots;
    this.#experts = experts;
    this.#waits = Array.from({ length: layers }, () => ({ gpu: 0, read: 0, upload: 0 }));
  }

  needed(layer: number, experts: readonly number[], missed: number): void {
    this.#misses += missed;
    this.#hits += experts.length - missed;
    let counts = this.#counts.get(layer);
    if (!counts) {
      counts = new Uint32Array(this.#perLayer);
      this.#counts.set(layer, counts);
    }
    for (const expert of experts) counts[expert]++;
  }

  readBytes(bytes: number): void {
    this.#fromFiles += bytes;
  }

  hostBytes(bytes: number): void {
    this.#fromHost += bytes;
  }

  uploaded(bytes: number): void {
    this.#uploaded += bytes;
  }

  evicted(): void {
    this.#evictions++;
  }

  aheadUseful(): void {
    this.#useful++;
  }

  aheadWasted(): void {
    this.#wasted++;
  }

  waited(layer: number, what: keyof LayerWaits, ms: number): void {
    this.#waits[layer][what] += ms;
  }

  /** Everything so far. */
  now(): ExpertUsage {
    const needed = this.#hits + this.#misses;
    const total = (what: keyof LayerWaits) =>
      this.#waits.reduce((sum, waits) => sum + waits[what], 0);
    return {
      slots: this.#slots,
      experts: this.#experts,
      hits: this.#hits,
      misses: this.#misses,
      hitRate: needed === 0 ? 1 : this.#hits / needed,
      bytesFromFiles: this.#fromFiles,
      bytesFromHost: this.#fromHost,
      bytesUploaded: this.#uploaded,
      evictions: this.#evictions,
      readAhead: { useful: this.#useful, wasted: this.#wasted },
      waitMs: { gpu: total('gpu'), read: total('read'), upload: total('upload') },
    };
  }

  /** Times that each expert of a layer was needed so far. */
  counts(layer: number): Uint32Array {
    return this.#counts.get(layer) ?? new Uint32Array(this.#perLayer);
  }

  /** Waits of each layer so far. */
  layerWaits(): LayerWaits[] {
    return this.#waits.map((waits) => ({ ...waits }));
  }
}

/** What happened between two moments. */
export function usageBetween(before: ExpertUsage, after: ExpertUsage): ExpertUsage {
  const hits = after.hits - before.hits;
  const misses = after.misses - before.misses;
  return {
    slots: after.slots,
    experts: after.experts,
    hits,
    misses,
    hitRate: hits + misses === 0 ? 1 : hits / (hits + misses),
    bytesFromFiles: after.bytesFromFiles - before.bytesFromFiles,
    bytesFromHost: after.bytesFromHost - before.bytesFromHost,
    bytesUploaded: after.bytesUploaded - before.bytesUploaded,
    evictions: after.evictions - before.evictions,
    readAhead: {
      useful: after.readAhead.useful - before.readAhead.useful,
      wasted: after.readAhead.wasted - before.readAhead.wasted,
    },
    waitMs: {
      gpu: after.waitMs.gpu - before.waitMs.gpu,
      read: after.waitMs.read - before.waitMs.read,
      upload: after.waitMs.upload - before.waitMs.upload,
    },
  };
}
