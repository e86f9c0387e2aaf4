import type { BufferSlice } from '../gpu/buffer.ts';

/** How keys and values are stored: exactly, or rounded to 16-bit floats at half the memory. */
export type KvType = 'f32' | 'f16';

/** Vec4 columns of a head: head_dim rounded up. */
export function headWidth(headDim: number): number {
  return Math.ceil(headDim / 4);
}

/** Bytes of one position of one head in the cache. */
export function kvPositionBytes(type: KvType, headDim: number): number {
  return headWidth(headDim) * (type === 'f32' ? 16 : 8);
}

/**
 * Keys and values of one layer, [kv heads, capacity, head_dim rounded up to 4]. Heads are bound in
 * runs that fit a binding.
 */
export interface LayerKv {
  readonly type: KvType;
  /** Positions, in tokens. */
  readonly capacity: number;
  readonly headDim: number;
  readonly parts: readonly KvPart[];
}

export interface KvPart {
  readonly keys: BufferSlice;
  readonly values: BufferSlice;
  readonly firstHead: number;
  readonly heads: number;
}
