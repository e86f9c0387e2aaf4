import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
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
  const defines = {
    FORMAT: numberFormats[type].shader,
    F16: gpu.capabilities.f16,
    CODEBOOK: bindings + 1,
  };
  const codebook = codebooks[type];
  if (!codebook) return { defines, storage: [] };
  return { defines, storage: [gpu.constant(`codebook ${type}`, () => pack(codebook))] };
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

/** Two codes of 16 bits to a word. */
function pack({ codes }: Codebook): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: codes.length / 2 },
    (_, i) => codes[2 * i] | (codes[2 * i + 1] << 16),
  );
}
