import type { BufferSlice } from '../gpu/buffer.ts';
import { formats, type TensorType } from '../quant/index.ts';

/** Weights are decoded eight at a time: rows are padded with zeros to a multiple of this. */
export const groupSize = 8;

/** Columns rounded up to whole groups of eight: the row stride of weights and of activations. */
export function padded(columns: number): number {
  return Math.ceil(columns / groupSize) * groupSize;
}

/** Bytes of one group of eight weights. */
export function groupBytes(type: TensorType): number {
  const { blockElements, blockBytes } = formats[type];
  return (groupSize / blockElements) * blockBytes;
}

/** Bytes of one padded row of weights. */
export function rowBytes(type: TensorType, columns: number): number {
  return (padded(columns) / groupSize) * groupBytes(type);
}

/**
 * A weight matrix [rows, columns] on the GPU, in its file's number format. One larger than a
 * binding may be is cut into parts of whole rows.
 */
export interface Matrix {
  readonly type: TensorType;
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
  readonly type: TensorType;
  readonly rows: number;
  readonly columns: number;
  readonly slabs: readonly Slab[];
  /** From one slot to the next, in groups of eight weights. */
  readonly slotGroups: number;
  /** From a slot's start to the matrix, in groups of eight weights. */
  readonly matrixGroups: number;
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

/** Defines of a shader that decodes weights. */
export function formatDefines(type: TensorType, f16: boolean) {
  return { FORMAT: formats[type].shader, F16: f16 };
}
