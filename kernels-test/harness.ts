import { afterAll, expect, onTestFinished } from 'vitest';
import type { BufferSlice, GpuBuffer } from '../src/gpu/buffer.ts';
import { BufferSet } from '../src/gpu/buffer-set.ts';
import { Gpu, type GpuCapabilities } from '../src/gpu/device.ts';
import type { Recorder } from '../src/gpu/recorder.ts';
import {
  type ExpertMatrix,
  type Matrix,
  type MatrixPart,
  noSlot,
  padded,
  paddedFor,
  type Rows,
  rowBytes,
  type Slab,
} from '../src/kernels/matrix.ts';
import { openDawn } from '../src/node/dawn.ts';
import { quietWait } from '../src/node/quiet-wait.ts';
import { nodeShaders } from '../src/node/shaders.ts';
import { formats, type NumberType, numberFormats, type TensorType } from '../src/quant/index.ts';
import { randomBlocks } from '../src/quant/random-blocks.ts';
import { baseSeed, type Random } from './random.ts';
import type { Values } from './reference/values.ts';

/** Fills what nobody has written: NaN as f32, as two f16 and as two bf16, and a large integer. */
export const poison = 0x7ffe7ffe;

/** Poisoned words around what a test uses. 64 words are 256 bytes, so that ranges stay bindable. */
const guard = 64;

/**
 * Opens a device for the tests of one file, and disposes of it after them.
 * @param capabilities what to pretend about the device, to reach the variants it would not choose
 * @param shaders shaders of a test, besides those of the package
 */
export async function openTestGpu(
  capabilities: Partial<GpuCapabilities> = {},
  shaders: ReadonlyMap<string, string> = new Map(),
): Promise<Gpu> {
  const { adapter, driver } = await openDawn();
  const gpu = await Gpu.open(adapter, {
    shaders: new Map([...nodeShaders(), ...shaders]),
    capabilities,
    ...(driver.isSoftware && { wait: quietWait }),
  });
  afterAll(() => gpu.dispose());
  return gpu;
}

/** Records, submits, and throws what the device has to say about it. */
export async function runOnGpu(gpu: Gpu, work: (rec: Recorder) => void): Promise<void> {
  const rec = gpu.record();
  work(rec);
  rec.submit();
  await gpu.idle();
}

/** A weight matrix on the GPU and what its format made of the values. */
export interface TestMatrix {
  readonly matrix: Matrix;
  /** [rows, columns] as the GPU decodes them. */
  readonly decoded: Float32Array;
}

/** Matrices of the experts that share slots, and what their formats made of the values. */
export interface TestExperts {
  readonly matrices: readonly ExpertMatrix[];
  /** [matrix][expert] -> [rows, columns]; also of experts that are absent from the GPU. */
  readonly decoded: readonly (readonly Float32Array[])[];
  readonly isAbsent: (expert: number) => boolean;
}

/** GPU buffers of one test: everything that the test does not set is poison. */
export class TestBuffers extends BufferSet {
  /** `words` poisoned words, in the middle of more of them; the bound range ends with a guard. */
  async output(words: number): Promise<BufferSlice> {
    const buffer = await this.poisoned(guard + words + guard);
    return buffer.slice(4 * guard, 4 * (words + guard));
  }

  /** Like `output`, for rows. */
  async outputRows(rows: number, stride: number): Promise<Rows> {
    return { slice: await this.output(rows * stride), stride };
  }

  /** An input, followed by poison that no kernel may let into its results. */
  async input(data: Float32Array | Uint32Array): Promise<BufferSlice> {
    const slice = await this.output(data.length);
    this.gpu.write(slice.buffer, slice.offset, data);
    return slice;
  }

  /** [rows, columns] as an input, rows padded with zeros to `stride`. */
  async inputRows(values: Values, columns: number, stride = padded(columns)): Promise<Rows> {
    return { slice: await this.input(padRows(values, columns, stride)), stride };
  }

  /** A weight matrix in parts that begin at the rows of `parts`, each in a buffer of its own. */
  async matrix(
    type: TensorType,
    values: Float32Array,
    columns: number,
    parts: readonly number[] = [0],
  ): Promise<TestMatrix> {
    return this.#matrix(type, encodeRows(type, values, columns), columns, parts);
  }

  /** Random weights in any format, in parts like those of `matrix`. */
  async randomMatrix(
    random: Random,
    type: NumberType,
    rows: number,
    columns: number,
    parts: readonly number[] = [0],
  ): Promise<TestMatrix> {
    return this.#matrix(type, randomRows(random, type, rows, columns), columns, parts);
  }

  /** @param bytes whole rows, padded for the GPU */
  async #matrix(
    type: NumberType,
    bytes: Uint8Array,
    columns: number,
    parts: readonly number[],
  ): Promise<TestMatrix> {
    const stride = rowBytes(type, columns);
    const rows = bytes.length / stride;
    const matrixParts: MatrixPart[] = [];
    for (const [i, firstRow] of parts.entries()) {
      const end = parts[i + 1] ?? rows;
      const slice = await this.#bytes(bytes.subarray(firstRow * stride, end * stride));
      matrixParts.push({ slice, firstRow, rows: end - firstRow });
    }
    return {
      // Last part first: what a kernel wrongly takes for its own is then not put right by the next one.
      matrix: { type, rows, columns, parts: matrixParts.toReversed() },
      decoded: cutRows(decode(type, bytes), columns, paddedFor(type, columns)),
    };
  }

  /**
   * Random matrices of some experts in the slots of several slabs, in random order, with empty
   * slots among them, and with the table entries of another layer before theirs.
   * @param shapes [rows, columns] of the matrices that lie in one slot, one after the other
   */
  async experts(
    random: Random,
    type: NumberType,
    experts: number,
    shapes: readonly (readonly [number, number])[],
    options: { slots?: number; slabs?: number; absent?: readonly number[]; scale?: number } = {},
  ): Promise<TestExperts> {
    const { slots = experts + 2, slabs = 2, absent = [] } = options;
    const starts: number[] = [];
    let end = 0;
    for (const [rows, columns] of shapes) {
      starts.push(end);
      end += Math.ceil((rows * rowBytes(type, columns)) / 16) * 16;
    }
    const slotBytes = Math.ceil(end / 256) * 256;
    const perSlab = Math.ceil(slots / slabs);
    const slabList: Slab[] = [];
    for (let firstSlot = 0; firstSlot < slots; firstSlot += perSlab) {
      const count = Math.min(perSlab, slots - firstSlot);
      const buffer = await this.poisoned((count * slotBytes) / 4);
      slabList.push({ slice: buffer.all(), firstSlot, slots: count });
    }

    const table = 3;
    const slotOf = new Uint32Array(table + experts).fill(0);
    slotOf.fill(noSlot, table);
    const order = random.permutation(slots);
    const decoded: Float32Array[][] = shapes.map(() => []);
    for (let e = 0; e < experts; e++) {
      if (!absent.includes(e)) slotOf[table + e] = order[e];
      for (const [i, [rows, columns]] of shapes.entries()) {
        const scale = options.scale ?? 1 / Math.sqrt(columns);
        const bytes = randomRows(random, type, rows, columns, scale);
        decoded[i].push(cutRows(decode(type, bytes), columns, paddedFor(type, columns)));
        if (absent.includes(e)) continue;
        const slab = slabList[Math.floor(order[e] / perSlab)];
        const at = (order[e] - slab.firstSlot) * slotBytes + starts[i];
        this.gpu.write(slab.slice.buffer, at, wholeWords(bytes));
      }
    }
    const shared = {
      type,
      slabs: slabList.toReversed(), // for the reason that the parts of a matrix are
      slotBytes,
      slotOf: await this.input(slotOf),
      table,
    };
    const matrices = shapes.map(([rows, columns], i) => ({
      ...shared,
      rows,
      columns,
      offset: starts[i],
    }));
    return { matrices, decoded, isAbsent: (expert) => absent.includes(expert) };
  }

  /**
   * A matrix too large to be random throughout: its rows are those of `block`, over and over. It is
   * cut into parts as large as a binding may be.
   */
  async repeatedMatrix(
    type: TensorType,
    block: Float32Array,
    columns: number,
    rows: number,
  ): Promise<Matrix> {
    const blockRows = block.length / columns;
    const bytes = formats[type].encode(padRows(block, columns, padded(columns)));
    const stride = rowBytes(type, columns);
    const rowsPerPart = Math.floor(this.gpu.capabilities.maxBindingBytes / stride);
    const parts: MatrixPart[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += rowsPerPart) {
      const count = Math.min(rowsPerPart, rows - firstRow);
      const buffer = await this.allocate('test', count * stride);
      for (let row = firstRow, run = 0; row < firstRow + count; row += run) {
        const from = row % blockRows;
        run = Math.min(blockRows - from, firstRow + count - row);
        const piece = bytes.subarray(from * stride, (from + run) * stride);
        this.gpu.write(buffer, (row - firstRow) * stride, piece);
      }
      parts.push({ slice: buffer.slice(0, count * stride), firstRow, rows: count });
    }
    return { type, rows, columns, parts };
  }

  /** A buffer of `words` poisoned words. */
  async poisoned(words: number): Promise<GpuBuffer> {
    const buffer = await this.allocate('test', 4 * words);
    const piece = new Uint32Array(Math.min(buffer.bytes / 4, 1 << 20)).fill(poison);
    for (let at = 0; at < buffer.bytes; at += piece.byteLength) {
      const left = Math.min(piece.length, (buffer.bytes - at) / 4);
      this.gpu.write(buffer, at, piece.subarray(0, left));
    }
    return buffer;
  }

  async #bytes(bytes: Uint8Array): Promise<BufferSlice> {
    const slice = await this.output(Math.ceil(bytes.length / 4));
    this.gpu.write(slice.buffer, slice.offset, wholeWords(bytes));
    return slice;
  }
}

/** Buffers that are freed when the running test ends. */
export function testBuffers(gpu: Gpu): TestBuffers {
  const buffers = new TestBuffers(gpu);
  onTestFinished(() => buffers.destroy());
  return buffers;
}

/**
 * Reads `words` words of an output, and checks that everything around them is still poison.
 * `words` is what the kernel was to write; the guard behind it is part of the bound range.
 */
export async function readOutput(gpu: Gpu, out: BufferSlice, words: number): Promise<Uint32Array> {
  const [bytes] = await gpu.read([out.buffer.all()]);
  const all = new Uint32Array(bytes);
  const start = out.offset / 4;
  for (let i = 0; i < all.length; i++) {
    if ((i < start || i >= start + words) && all[i] !== poison) {
      expect.fail(
        `wrote ${all[i].toString(16)} at word ${i - start} of an output of ${words} words (MOWGLI_SEED=${baseSeed})`,
      );
    }
  }
  return all.subarray(start, start + words);
}

/** Like `readOutput`, as f32. */
export async function readFloats(gpu: Gpu, out: BufferSlice, n: number): Promise<Float32Array> {
  const words = await readOutput(gpu, out, n);
  return new Float32Array(words.buffer, words.byteOffset, n);
}

/**
 * Reads [rows, columns] of an output whose rows begin at column `first`.
 * @param padding what the columns around must hold: `zeros` that the kernel wrote, or poison
 * @param isWritten rows that the kernel was to write; the others must be poison
 */
export async function readRows(
  gpu: Gpu,
  out: Rows,
  shape: { rows: number; columns: number; first?: number },
  padding: 'zeros' | 'untouched' = 'untouched',
  isWritten: (row: number) => boolean = () => true,
): Promise<Float32Array> {
  const { rows, columns, first = 0 } = shape;
  const words = await readOutput(gpu, out.slice, rows * out.stride);
  const values = new Float32Array(words.buffer, words.byteOffset, words.length);
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < out.stride; column++) {
      const at = row * out.stride + column;
      const isInside = column >= first && column < first + columns;
      if (isInside && isWritten(row)) {
        result[row * columns + column - first] = values[at];
      } else {
        const isRight =
          padding === 'zeros' && isWritten(row) ? values[at] === 0 : words[at] === poison;
        if (!isRight) {
          expect.fail(
            `wrote ${values[at]} at row ${row}, column ${column} (MOWGLI_SEED=${baseSeed})`,
          );
        }
      }
    }
  }
  return result;
}

/** [rows, columns] -> [rows, stride], zeros between. */
export function padRows(
  values: Values,
  columns: number,
  stride: number,
): Float32Array<ArrayBuffer> {
  const rows = values.length / columns;
  const out = new Float32Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    out.set(values.subarray(row * columns, (row + 1) * columns), row * stride);
  }
  return out;
}

/** The bytes of [rows, columns] on the GPU, where rows are whole groups. */
function encodeRows(type: TensorType, values: Float32Array, columns: number): Uint8Array {
  return formats[type].encode(padRows(values, columns, padded(columns)));
}

/**
 * The bytes of random weights [rows, columns] on the GPU: normally distributed floats of standard
 * deviation `scale`, or blocks of random bits with values up to about 4 `scale`.
 */
export function randomRows(
  random: Random,
  type: NumberType,
  rows: number,
  columns: number,
  scale = 1,
): Uint8Array {
  if (type in formats) {
    return encodeRows(type as TensorType, random.normal(rows * columns, scale), columns);
  }
  const { blockElements } = numberFormats[type];
  const stride = rowBytes(type, columns);
  const blocks = (rows * paddedFor(type, columns)) / blockElements;
  const bytes = randomBlocks(type, blocks, () => random.unit(), 4 * scale);
  const past = columns % blockElements;
  if (past === 0) return bytes;
  if (type !== 'F8_B128')
    throw new Error(`rows of ${type} are whole blocks, not ${columns} values`);
  // The values past the columns, a byte each at the end of the row, are zeros.
  for (let row = 1; row <= rows; row++) {
    bytes.fill(0, row * stride - (blockElements - past), row * stride);
  }
  return bytes;
}

/** The same bytes, followed by poison up to a whole word, which is how a GPU buffer is written. */
function wholeWords(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4).fill(poison & 0xff);
  whole.set(bytes);
  return whole;
}

/** [rows, stride] -> [rows, columns]. */
function cutRows(values: Float32Array, columns: number, stride: number): Float32Array {
  const rows = values.length / stride;
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    out.set(values.subarray(row * stride, row * stride + columns), row * columns);
  }
  return out;
}

/** What a format makes of bytes. */
export function decode(type: NumberType, bytes: Uint8Array): Float32Array {
  const { blockBytes, blockElements } = numberFormats[type];
  const out = new Float32Array((bytes.length / blockBytes) * blockElements);
  numberFormats[type].decode(bytes, out);
  return out;
}

/** Values rounded through a format. */
export function roundedTo(type: TensorType, values: Float32Array): Float32Array {
  return decode(type, formats[type].encode(values));
}
