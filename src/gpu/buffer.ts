import type { Ledger } from './ledger.ts';

let nextId = 0;

/** A GPU buffer whose bytes are on the ledger until it is destroyed. */
export class GpuBuffer {
  /** Unique in the process; part of bind group cache keys. */
  readonly id = nextId++;
  readonly label: string;
  readonly bytes: number;
  readonly raw: GPUBuffer;
  readonly #ledger: Ledger;
  readonly #onDestroy: () => void;
  #destroyed = false;

  constructor(raw: GPUBuffer, label: string, ledger: Ledger, onDestroy: () => void) {
    this.raw = raw;
    this.label = label;
    this.bytes = raw.size;
    this.#ledger = ledger;
    this.#onDestroy = onDestroy;
    ledger.add(label, this.bytes);
  }

  /** A range of this buffer, in bytes. Bound ranges must begin at a multiple of 256. */
  slice(offset: number, bytes: number): BufferSlice {
    return { buffer: this, offset, bytes };
  }

  /** The whole buffer as a range. */
  all(): BufferSlice {
    return { buffer: this, offset: 0, bytes: this.bytes };
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.raw.destroy();
    this.#ledger.remove(this.label, this.bytes);
    this.#onDestroy();
  }
}

/** A range of a GPU buffer, in bytes. */
export interface BufferSlice {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly bytes: number;
}
