import type { GpuBuffer } from './buffer.ts';
import type { Gpu } from './device.ts';

/** Buffers that live and die together: a failed or finished owner frees them all at once. */
export class BufferSet {
  readonly gpu: Gpu;
  readonly #buffers = new Set<GpuBuffer>();

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** Like `Gpu.allocate`. */
  async allocate(label: string, bytes: number, extraUsage = 0): Promise<GpuBuffer> {
    const buffer = await this.gpu.allocate(label, bytes, extraUsage);
    this.#buffers.add(buffer);
    return buffer;
  }

  /** Like `Gpu.upload`. */
  async upload(label: string, data: ArrayBufferView<ArrayBuffer>): Promise<GpuBuffer> {
    const buffer = await this.allocate(label, data.byteLength);
    this.gpu.write(buffer, 0, data);
    return buffer;
  }

  /** Takes over the buffers of another set, which is empty then. */
  adopt(other: BufferSet): void {
    for (const buffer of other.#buffers) this.#buffers.add(buffer);
    other.#buffers.clear();
  }

  /** Frees every buffer. Calling it again does nothing. */
  destroy(): void {
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.clear();
  }
}
