import { mapConcurrent } from '../files/concurrent.ts';
import type { ExpertLayout } from './expert-layout.ts';
import type { ExpertReader } from './expert-reader.ts';
import type { ExpertUse } from './expert-use.ts';
import { HostCache } from './host-cache.ts';
import { Staging } from './staging.ts';

/** Reads in flight at once; more gain nothing and delay everything else in the process. */
export const concurrentReads = 4;

/** Bytes of experts that may be read ahead of need, unless one token needs more. */
const aheadBytes = 256 << 20;

export interface ExpertImagesOptions {
  readonly reader: ExpertReader;
  /** By layer; none for a layer without experts. */
  readonly layouts: readonly (ExpertLayout | undefined)[];
  /** Experts of a layer. */
  readonly experts: number;
  /** Experts that a token is sent to in one layer. */
  readonly perToken: number;
  /** Bytes of host memory that keep experts read before. */
  readonly hostBytes: number;
  /** Told of what is read, and of what came of reading ahead. */
  readonly use: ExpertUse;
}

/** An expert on its way from the files, asked for before anybody needed it. */
interface Ahead {
  readonly image: Uint8Array;
  /** Whether it arrived; never rejects. */
  readonly done: Promise<boolean>;
}

/**
 * The images of experts, which are their bytes as slots hold them, from wherever they are soonest: on the
 * way already, in the host's memory, or in the files.
 */
export class ExpertImages {
  readonly #reader: ExpertReader;
  readonly #layouts: readonly (ExpertLayout | undefined)[];
  readonly #experts: number;
  readonly #use: ExpertUse;
  readonly #staging: Staging;
  readonly #host: HostCache;
  readonly #mostAhead: number;
  readonly #ahead = new Map<number, Ahead>();
  /** Reads ahead that have not ended, also those that nobody waits for any more. */
  readonly #reading = new Set<Promise<boolean>>();
  readonly #disposal = new AbortController();

  constructor({ reader, layouts, experts, perToken, hostBytes, use }: ExpertImagesOptions) {
    this.#reader = reader;
    this.#layouts = layouts;
    this.#experts = experts;
    this.#use = use;
    this.#staging = new Staging(Math.max(0, ...layouts.map((layout) => layout?.bytes ?? 0)));
    this.#host = new HostCache(hostBytes, this.#staging);
    this.#mostAhead = Math.max(perToken, Math.floor(aheadBytes / this.#staging.bytes));
  }

  /** The images of some experts of a layer, all or none: the caller's until they are given back or kept. */
  async take(
    layer: number,
    experts: readonly number[],
    signal: AbortSignal | undefined,
    onBytes?: (bytes: number) => void,
  ): Promise<Uint8Array[]> {
    const images: Uint8Array[] = [];
    try {
      return await mapConcurrent(experts, concurrentReads, async (expert) => {
        const image = await this.#take(layer, expert, signal, onBytes);
        images.push(image);
        return image;
      });
    } catch (error) {
      this.giveBack(images);
      throw error;
    }
  }

  giveBack(images: readonly Uint8Array[]): void {
    for (const image of images) this.#staging.give(image);
  }

  /** Gives an image back, for the next time if the host's memory has room. */
  keep(layer: number, expert: number, image: Uint8Array): void {
    this.#keep(this.#key(layer, expert), image);
  }

  /**
   * Begins to read experts that will probably be needed. A failure here is left to whoever needs the
   * expert.
   */
  readAhead(layer: number, experts: readonly number[]): void {
    const layout = this.#layouts[layer]!;
    for (const expert of experts) {
      const key = this.#key(layer, expert);
      if (this.#reading.size >= this.#mostAhead || this.#ahead.size >= this.#mostAhead) return;
      if (this.#ahead.has(key) || this.#host.has(key)) continue;
      const image = this.#staging.take();
      const { signal } = this.#disposal;
      const done = this.#reader.read(layout, layer, expert, image, signal).then(
        (bytes) => {
          this.#use.readBytes(bytes);
          return true;
        },
        () => false,
      );
      this.#reading.add(done);
      void done.then(() => this.#reading.delete(done));
      this.#ahead.set(key, { image, done });
    }
  }

  /** Gives up what was read ahead for a layer and was not needed. */
  forgetAhead(layer: number): void {
    const first = this.#key(layer, 0);
    for (const [key, { image, done }] of this.#ahead) {
      if (key < first || key >= first + this.#experts) continue;
      this.#ahead.delete(key);
      this.#use.aheadWasted();
      void done.then((arrived) => {
        if (arrived) this.#keep(key, image);
        else this.#staging.give(image);
      });
    }
  }

  /** Ends what is being read ahead. */
  async dispose(): Promise<void> {
    this.#disposal.abort();
    await Promise.all(this.#reading);
    this.#ahead.clear();
    this.#host.clear();
  }

  async #take(
    layer: number,
    expert: number,
    signal: AbortSignal | undefined,
    onBytes: ((bytes: number) => void) | undefined,
  ): Promise<Uint8Array> {
    const key = this.#key(layer, expert);
    const ahead = this.#ahead.get(key);
    if (ahead) {
      this.#ahead.delete(key);
      if (await ahead.done) {
        this.#use.aheadUseful();
        return ahead.image;
      }
      this.#staging.give(ahead.image);
    }
    const layout = this.#layouts[layer]!;
    const kept = this.#host.take(key);
    if (kept) {
      this.#use.hostBytes(layout.bytes);
      return kept;
    }
    const image = this.#staging.take();
    try {
      const bytes = await this.#reader.read(layout, layer, expert, image, signal);
      this.#use.readBytes(bytes);
      onBytes?.(bytes);
      return image;
    } catch (error) {
      this.#staging.give(image);
      throw error;
    }
  }

  #keep(key: number, image: Uint8Array): void {
    if (!this.#host.put(key, image)) this.#staging.give(image);
  }

  #key(layer: number, expert: number): number {
    return layer * this.#experts + expert;
  }
}
