import type { BufferSlice, GpuBuffer } from '../gpu/buffer.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { Gpu } from '../gpu/device.ts';
import { type NumberType, numberFormats } from '../quant/index.ts';
import { randomBlocks } from '../quant/random-blocks.ts';
import {
  type ExpertMatrix,
  type Matrix,
  padded,
  q8RowBytes,
  type Rows,
  rowBytes,
} from './matrix.ts';

/** Bytes of weights to measure with; larger matrices are measured by some of their rows. */
export const poolBytes = 32 << 20;

/** Bytes that the other buffers of one class may take at most. */
export const activationBytes = 24 << 20;

/** Bytes that a measurement takes at most. */
export const scratchBytes = 64 << 20;

/** Weights and activations to run kernels on; what they compute is of no interest. */
export class TuneScratch {
  readonly gpu: Gpu;
  readonly #pool: GpuBuffer;
  readonly #buffers: BufferSet;
  /** The same numbers in every run: times must not depend on luck. */
  #state = 1;

  private constructor(gpu: Gpu, pool: GpuBuffer) {
    this.gpu = gpu;
    this.#pool = pool;
    this.#buffers = new BufferSet(gpu);
  }

  /** @throws MowgliError `OUT_OF_MEMORY` */
  static async create(gpu: Gpu): Promise<TuneScratch> {
    const bytes = Math.min(poolBytes, gpu.capabilities.maxBindingBytes);
    return new TuneScratch(gpu, await gpu.allocate('tuning', bytes));
  }

  /** Makes the pool valid weights of a type: a run of blocks over and over. */
  fill(type: NumberType): void {
    const run = randomBlocks(type, 1024, () => this.#random(), 0.1);
    for (let at = 0; at < this.#pool.bytes; at += run.length) {
      const piece = run.subarray(0, Math.min(run.length, this.#pool.bytes - at));
      this.gpu.write(this.#pool, at, piece);
    }
  }

  /** Rows of a matrix that the pool has room for. */
  rowsThatFit(type: NumberType, rows: number, columns: number): number {
    const most = Math.floor((this.#pool.bytes - unitOf(type)) / rowBytes(type, columns));
    return Math.max(1, Math.min(rows, most));
  }

  /** Matrices side by side in the pool, as many as it holds: none is in a cache from its last run. */
  matrices(type: NumberType, rows: number, columns: number): Matrix[] {
    const bytes = rows * rowBytes(type, columns);
    const stride = aligned(type, bytes);
    const count = Math.min(16, Math.max(1, Math.floor(this.#pool.bytes / stride)));
    return Array.from({ length: count }, (_, i) => {
      const slice = this.#pool.slice(i * stride, wholeWords(bytes));
      return { type, rows, columns, parts: [{ slice, firstRow: 0, rows }] };
    });
  }

  /** Experts with `count` matrices of one shape each, in as many slots as the pool holds. */
  async experts(
    type: NumberType,
    count: number,
    rows: number,
    columns: number,
  ): Promise<{ matrices: ExpertMatrix[]; slots: number }> {
    const matrixBytes = aligned(type, rows * rowBytes(type, columns));
    const slotBytes = count * matrixBytes;
    const slots = Math.min(64, Math.max(1, Math.floor(this.#pool.bytes / slotBytes)));
    const slice = this.#pool.slice(0, Math.min(this.#pool.bytes, slots * slotBytes));
    const slotOf = await this.integers(Array.from({ length: slots }, (_, e) => e));
    const slabs = [{ slice, firstSlot: 0, slots }];
    const shared = { type, rows, columns, slabs, slotBytes, slotOf, table: 0 };
    const matrices = Array.from({ length: count }, (_, i) => ({
      ...shared,
      offset: i * matrixBytes,
    }));
    return { matrices, slots };
  }

  /** Activations, and on demand an int8 image of them. */
  async rows(rows: number, columns: number, int8 = false): Promise<Rows> {
    const stride = padded(columns);
    const slice = await this.floats(rows * stride);
    return int8
      ? { slice, stride, q8: await this.words((rows * q8RowBytes(stride)) / 4) }
      : { slice, stride };
  }

  /** f32 values between -1 and 1: a run of them over and over. */
  async floats(count: number): Promise<BufferSlice> {
    const buffer = await this.#buffers.allocate('tuning', 4 * count);
    const length = Math.min(count, 1 << 14);
    const run = Float32Array.from({ length }, () => 2 * this.#random() - 1);
    for (let at = 0; at < count; at += length) {
      this.gpu.write(buffer, 4 * at, run.subarray(0, Math.min(length, count - at)));
    }
    return buffer.all();
  }

  async words(count: number, usage = 0): Promise<BufferSlice> {
    return (await this.#buffers.allocate('tuning', 4 * count, usage)).all();
  }

  async integers(values: readonly number[]): Promise<BufferSlice> {
    return (await this.#buffers.upload('tuning', Uint32Array.from(values))).all();
  }

  /** Frees the buffers of one class; the pool stays. */
  clear(): void {
    this.#buffers.destroy();
  }

  destroy(): void {
    this.clear();
    this.#pool.destroy();
  }

  #random(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

/** Bytes at whose multiples both a binding and a block of the run may begin. */
function unitOf(type: NumberType): number {
  let unit = numberFormats[type].blockBytes;
  while (unit % 256 !== 0) unit *= 2;
  return unit;
}

function aligned(type: NumberType, bytes: number): number {
  return Math.ceil(bytes / unitOf(type)) * unitOf(type);
}

function wholeWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
