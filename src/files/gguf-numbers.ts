import type { GgufNumbers, GgufValueType } from './gguf-types.ts';

/** How a number of one type lies in a file: little-endian, without alignment. */
export interface NumberCodec {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number | bigint;
  readonly write: (view: DataView, at: number, value: number | bigint) => void;
  /** Many of them, of their own memory. */
  readonly array: (buffer: ArrayBuffer) => GgufNumbers;
}

type NumberType = Exclude<GgufValueType, 'string' | 'array'>;

/** Typed arrays are in the byte order of the machine: little-endian wherever WebGPU runs. */
export const numberCodecs: Readonly<Record<NumberType, NumberCodec>> = {
  u8: codec(1, 'Uint8', Uint8Array),
  i8: codec(1, 'Int8', Int8Array),
  bool: codec(1, 'Uint8', Uint8Array),
  u16: codec(2, 'Uint16', Uint16Array),
  i16: codec(2, 'Int16', Int16Array),
  u32: codec(4, 'Uint32', Uint32Array),
  i32: codec(4, 'Int32', Int32Array),
  f32: codec(4, 'Float32', Float32Array),
  f64: codec(8, 'Float64', Float64Array),
  u64: codec(8, 'BigUint64', BigUint64Array),
  i64: codec(8, 'BigInt64', BigInt64Array),
};

type SmallKind = 'Uint8' | 'Int8' | 'Uint16' | 'Int16' | 'Uint32' | 'Int32' | 'Float32' | 'Float64';

/** @param kind what the methods of a `DataView` call the type */
function codec(
  bytes: number,
  kind: SmallKind | 'BigUint64' | 'BigInt64',
  Numbers: new (buffer: ArrayBuffer) => GgufNumbers,
): NumberCodec {
  const array = (buffer: ArrayBuffer) => new Numbers(buffer);
  const read = (view: DataView, at: number) => view[`get${kind}`](at, true);
  if (kind === 'BigUint64' || kind === 'BigInt64') {
    const write = (view: DataView, at: number, value: number | bigint) =>
      view[`set${kind}`](at, BigInt(value), true);
    return { bytes, read, write, array };
  }
  const write = (view: DataView, at: number, value: number | bigint) =>
    view[`set${kind}`](at, Number(value), true);
  return { bytes, read, write, array };
}
