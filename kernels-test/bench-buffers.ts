import type { BufferSlice, GpuBuffer } from '../src/gpu/buffer.ts';
import { BufferSet } from '../src/gpu/buffer-set.ts';
import type { Gpu } from '../src/gpu/device.ts';
import {
  type ExpertMatrix,
  type Matrix,
  padded,
  q8RowBytes,
  type Rows,
  rowBytes,
} from '../src/kernels/matrix.ts';
import { quantize } from '../src/kernels/quantize.ts';
import { type NumberType, numberFormats } from '../src/quant/index.ts';
import { randomBlocks } from '../src/quant/random-blocks.ts';
import { Random } from './random.ts';

/** How activations meet the weights. */
export type Arithmetic = 'f32' | 'int8';

/** WebGPU's usage of buffers that hold the workgroup counts of a dispatch. */
export const indirectUsage = 0x100;

const random = new Random('bench');

/**
 * Weights of all cases. It is larger than caches are: matrices taken from it one after the other lie
 * in different places, so that none is in a cache because the same kernel ran a moment ago. And there
 * is only one, since memory that nobody has touched yet is slow on a software GPU.
 */
export class WeightPool {
  readonly buffers: readonly GpuBuffer[];
  readonly #gpu: Gpu;
  #type: NumberType = 'F32';
  #buffer = 0;
  #offset = 0;

  private constructor(gpu: Gpu, buffers: readonly GpuBuffer[]) {
    this.#gpu = gpu;
    this.buffers = buffers;
  }

  static async create(gpu: Gpu): Promise<WeightPool> {
    const { software, maxBindingBytes } = gpu.capabilities;
    const bytes = Math.min(maxBindingBytes, software ? 128 << 20 : 512 << 20);
    const buffers = [await gpu.allocate('weights', bytes), await gpu.allocate('weights', bytes)];
    return new WeightPool(gpu, buffers);
  }

  /** Makes everything in it valid weights of a type: a run of blocks over and over. */
  fill(type: NumberType): void {
    if (this.#type === type) return;
    this.#type = type;
    this.#offset = 0;
    const run = randomBlocks(type, 1 << 13, () => random.unit(), 0.1);
    for (const buffer of this.buffers) {
      for (let at = 0; at < buffer.bytes; at += run.length) {
        this.#gpu.write(buffer, at, run.subarray(0, Math.min(run.length, buffer.bytes - at)));
      }
    }
  }

  /** Rounded up to where both a binding and a block of the run may begin. */
  aligned(bytes: number): number {
    let unit = numberFormats[this.#type].blockBytes;
    while (unit % 256 !== 0) unit *= 2;
    return Math.ceil(bytes / unit) * unit;
  }

  /** The next range. */
  take(bytes: number): BufferSlice {
    if (this.#offset + bytes > this.buffers[this.#buffer].bytes) {
      this.#buffer = (this.#buffer + 1) % this.buffers.length;
      this.#offset = 0;
    }
    const slice = this.buffers[this.#buffer].slice(this.#offset, bytes);
    this.#offset += this.aligned(bytes);
    return slice;
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy();
  }
}

/** Buffers of one case. */
export class BenchBuffers extends BufferSet {
  readonly #pool: WeightPool;

  constructor(gpu: Gpu, pool: WeightPool) {
    super(gpu);
    this.#pool = pool;
  }

  /** Activations in f32, and in int8 as well if so asked for. */
  async rows(rows: number, columns: number, arithmetic: Arithmetic = 'f32'): Promise<Rows> {
    const stride = padded(columns);
    const slice = await this.floats(rows * stride);
    if (arithmetic === 'f32') return { slice, stride };
    const q8 = (await this.allocate('activations', rows * q8RowBytes(stride))).all();
    const result = { slice, stride, q8 };
    const rec = this.gpu.record();
    quantize(rec, result, rows);
    rec.submit();
    return result;
  }

  /** Random f32 values: a run of them over and over. */
  async floats(count: number): Promise<BufferSlice> {
    const buffer = await this.allocate('activations', 4 * count);
    const run = random.normal(Math.min(count, 1 << 16));
    for (let at = 0; at < count; at += run.length) {
      this.gpu.write(buffer, 4 * at, run.subarray(0, Math.min(run.length, count - at)));
    }
    return buffer.all();
  }

  /** Room for `count` words. */
  async words(count: number, usage = 0): Promise<BufferSlice> {
    return (await this.allocate('activations', 4 * count, usage)).all();
  }

  /** Some u32 values. */
  async integers(values: readonly number[]): Promise<BufferSlice> {
    return (await this.upload('activations', Uint32Array.from(values))).all();
  }

  /** A matrix in some place of the pool, in as many parts as it takes. */
  matrix(type: NumberType, rows: number, columns: number): Matrix {
    this.#pool.fill(type);
    const stride = rowBytes(type, columns);
    const most = Math.floor(this.#pool.buffers[0].bytes / stride);
    const parts: { slice: BufferSlice; firstRow: number; rows: number }[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      parts.push({ slice: this.#pool.take(count * stride), firstRow, rows: count });
    }
    return { type, rows, columns, parts };
  }

  /**
   * Matrices of `experts` experts that lie one after the other in a slot. The pool is the slots; where
   * it has too few, experts share them.
   */
  async experts(
    type: NumberType,
    experts: number,
    shapes: readonly (readonly [number, number])[],
  ): Promise<ExpertMatrix[]> {
    const pool = this.#pool;
    pool.fill(type);
    const sizes = shapes.map(([rows, columns]) => pool.aligned(rows * rowBytes(type, columns)));
    const slotBytes = sizes.reduce((sum, size) => sum + size);
    const perSlab = Math.floor(pool.buffers[0].bytes / slotBytes);
    const slabs = pool.buffers.map((buffer, i) => ({
      slice: buffer.slice(0, perSlab * slotBytes),
      firstSlot: i * perSlab,
      slots: perSlab,
    }));
    const slots = perSlab * slabs.length;
    const slotOf = await this.integers(Array.from({ length: experts }, (_, e) => e % slots));
    return shapes.map(([rows, columns], i) => ({
      type,
      rows,
      columns,
      slabs,
      slotBytes,
      offset: sizes.slice(0, i).reduce((sum, size) => sum + size, 0),
      slotOf,
      table: 0,
    }));
  }
}
