import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import type { ShaderDefines } from '../gpu/shader.ts';
import { formatBytes, type NumberType, numberFormats } from '../quant/index.ts';
import {
  type Codebook,
  iq1sGrid,
  iq2sGrid,
  iq2xsGrid,
  iq2xxsGrid,
  iq3sGrid,
  iq3xxsGrid,
} from '../quant/iq-grids.ts';

/** Columns rounded up to whole octets: the row stride of activations. */
export function padded(columns: number): number {
  return Math.ceil(columns / 8) * 8;
}

/** Columns rounded up to whole blocks and octets: the row length of weights on the GPU. */
export function paddedFor(type: NumberType, columns: number): number {
  const { blockElements } = numberFormats[type];
  return Math.ceil(columns / Math.max(8, blockElements)) * Math.max(8, blockElements);
}

/** Bytes of one padded row of weights. */
export function rowBytes(type: NumberType, columns: number): number {
  return formatBytes(type, paddedFor(type, columns));
}

/**
 * A weight matrix [rows, columns] on the GPU, in its file's number format. One larger than a
 * binding may be is cut into parts of whole rows.
 */
export interface Matrix {
  readonly type: NumberType;
  readonly rows: number;
  readonly columns: number;
  readonly parts: readonly MatrixPart[];
}

export interface MatrixPart {
  readonly slice: BufferSlice;
  readonly firstRow: number;
  readonly rows: number;
}

/** Rows of f32 on the GPU: [any, stride], stride a multiple of 8, zeros past the columns in use. */
export interface Rows {
  readonly slice: BufferSlice;
  readonly stride: number;
  /** The same in int8 (see `quantize`): kept up to date by whoever writes these rows. */
  readonly q8?: BufferSlice | undefined;
}

/** How activations meet weights that are integers: exactly, or in int8 with a scale for each 32. */
export type ActivationType = 'f32' | 'int8';

/** Values that share a scale in int8. */
const q8Block = 32;

/** Blocks of one row in int8. */
export function q8Blocks(stride: number): number {
  return Math.ceil(stride / q8Block);
}

/** Bytes of one row in int8. */
export function q8RowBytes(stride: number): number {
  return 48 * q8Blocks(stride);
}

/**
 * One matrix of every expert that is on the GPU. Slots of equal size lie in slabs that fit a
 * binding; `slotOf[table + expert]` is the expert's slot, or `noSlot`.
 */
export interface ExpertMatrix {
  readonly type: NumberType;
  readonly rows: number;
  readonly columns: number;
  readonly slabs: readonly Slab[];
  /** From one slot to the next, in bytes; a multiple of 256. */
  readonly slotBytes: number;
  /** From a slot's start to the matrix, in bytes; a multiple of 16. */
  readonly offset: number;
  readonly slotOf: BufferSlice;
  /** Where the layer's experts begin in `slotOf`. */
  readonly table: number;
}

/** A run of slots in one binding. */
export interface Slab {
  readonly slice: BufferSlice;
  readonly firstSlot: number;
  readonly slots: number;
}

/** Entry of `slotOf` for an expert that is not on the GPU. */
export const noSlot = 0xffffffff;

/**
 * What a shader needs to decode weights of a type: its defines, and storage to bind behind the
 * `bindings` that the shader has itself.
 */
export function decoder(gpu: Gpu, type: NumberType, bindings: number) {
  const defines: ShaderDefines = {
    FORMAT: numberFormats[type].shader,
    F16: gpu.capabilities.f16,
    CODEBOOK: bindings + 1,
  };
  const codebook = codebooks[type];
  if (!codebook) return { defines, storage: [] };
  return { defines, storage: [gpu.constant(`codebook ${type}`, () => pack(codebook))] };
}

/**
 * What a product of weights of a type with `x` reads of it: its int8 image, if it has one and the
 * weights are integers, or else its floats.
 */
export function operand(gpu: Gpu, type: NumberType, x: Rows) {
  if (x.q8 && numberFormats[type].hasIntegers) {
    return {
      /** Distinguishes the kernel from that of f32. */
      suffix: ' int8',
      defines: { INT8: true, PAIRS: gpu.capabilities.software } as ShaderDefines,
      slice: x.q8,
      /** From one row to the next, in what the kernels take at a time: octets, or blocks in int8. */
      stride: q8Blocks(x.stride),
    };
  }
  return { suffix: '', defines: {} as ShaderDefines, slice: x.slice, stride: x.stride / 8 };
}

/** Points of the I-quants, which `shaders/quant/codebook.wgsl` reads. */
const codebooks: Partial<Record<NumberType, Codebook>> = {
  IQ1_S: iq1sGrid,
  IQ1_M: iq1sGrid,
  IQ2_XXS: iq2xxsGrid,
  IQ2_XS: iq2xsGrid,
  IQ2_S: iq2sGrid,
  IQ3_XXS: iq3xxsGrid,
  IQ3_S: iq3sGrid,
};

/** Bytes that `uploadCodebooks` takes on the GPU. */
export function codebookBytes(types: Iterable<NumberType>): number {
  let bytes = 0;
  for (const type of new Set(types)) bytes += 2 * (codebooks[type]?.codes.length ?? 0);
  return bytes;
}

/** Uploads what the kernels of some types read, before what is left of the memory is given away. */
export function uploadCodebooks(gpu: Gpu, types: Iterable<NumberType>): void {
  for (const type of new Set(types)) decoder(gpu, type, 0);
}

/** Two codes of 16 bits to a word. */
function pack({ codes }: Codebook): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: codes.length / 2 },
    (_, i) => codes[2 * i] | (codes[2 * i + 1] << 16),
  );
}
