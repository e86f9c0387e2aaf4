/**
 * Buffers of the host that experts pass through on their way to the GPU, reused: fresh memory is
 * several times slower to write. As many are kept as were ever in use at once.
 */
export class Staging {
  readonly bytes: number;
  readonly #free: Uint8Array[] = [];
  /** Buffers made so far. */
  made = 0;

  /** @param bytes of one buffer: the largest expert */
  constructor(bytes: number) {
    this.bytes = bytes;
  }

  take(): Uint8Array {
    const buffer = this.#free.pop();
    if (buffer) return buffer;
    this.made++;
    return new Uint8Array(this.bytes);
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }
}
