/** Counts every byte of GPU memory that is held, by what it is for. */
export class Ledger {
  /** Bytes that may be held at most. */
  limit = Number.POSITIVE_INFINITY;
  #held = new Map<string, number>();
  #bytes = 0;
  #peak = 0;

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Most bytes held at any moment so far. */
  get peakBytes(): number {
    return this.#peak;
  }

  /** Bytes held now, by label. */
  byLabel(): Record<string, number> {
    return Object.fromEntries(this.#held);
  }

  add(label: string, bytes: number): void {
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
    this.#held.set(label, (this.#held.get(label) ?? 0) + bytes);
  }

  remove(label: string, bytes: number): void {
    this.#bytes -= bytes;
    const left = (this.#held.get(label) ?? 0) - bytes;
    if (left === 0) this.#held.delete(label);
    else this.#held.set(label, left);
  }
}
