import type { Staging } from './staging.ts';

/** Experts kept in the host's memory, within a budget; the one that was not used for longest goes first. */
export class HostCache {
  readonly #most: number;
  readonly #staging: Staging;
  /** In order of last use. */
  readonly #images = new Map<number, Uint8Array>();

  /** @param staging where images come from and go back to */
  constructor(bytes: number, staging: Staging) {
    this.#most = staging.bytes > 0 ? Math.floor(bytes / staging.bytes) : 0;
    this.#staging = staging;
  }

  has(key: number): boolean {
    return this.#images.has(key);
  }

  /** An expert's image, which is the caller's until it is put back. */
  take(key: number): Uint8Array | undefined {
    const image = this.#images.get(key);
    this.#images.delete(key);
    return image;
  }

  /** Keeps an image, or answers false: then it is still the caller's. */
  put(key: number, image: Uint8Array): boolean {
    if (this.#most === 0 || this.#images.has(key)) return false;
    for (const [oldest, old] of this.#images) {
      if (this.#images.size < this.#most) break;
      this.#images.delete(oldest);
      this.#staging.give(old);
    }
    this.#images.set(key, image);
    return true;
  }

  clear(): void {
    this.#images.clear();
  }
}
