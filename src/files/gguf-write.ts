import { MowgliError } from '../errors.ts';
import { formatBytes, type NumberType } from '../quant/index.ts';
import { numberCodecs } from './gguf-numbers.ts';
import { type GgufValueType, ggmlTypes, ggufValueTypes } from './gguf-types.ts';
import { elementCount } from './tensors.ts';
import type { FileSink } from './write-safetensors.ts';

/** A metadata value to write, with its type; arrays also with that of their elements. */
export type GgufEntry =
  | readonly [type: Exclude<GgufValueType, 'array'>, value: number | bigint | boolean | string]
  | readonly [type: 'array', elementType: GgufValueType, elements: readonly unknown[]];

/** A tensor to write. `shape` is row-major, the reverse of GGUF's order. */
export interface GgufTensorPlan {
  readonly name: string;
  readonly type: NumberType;
  readonly shape: readonly number[];
}

export interface GgufHeaderPlan {
  readonly metadata: ReadonlyMap<string, GgufEntry>;
  readonly tensors: readonly GgufTensorPlan[];
  /** Default 3. Version 2 differs in nothing but the number. */
  readonly version?: number;
  /** Default 32. Any other is also written into the metadata. */
  readonly alignment?: number;
}

/**
 * The bytes of a GGUF header, padded to where the tensors begin; they follow in the order of the plan,
 * each padded to the alignment.
 * @throws MowgliError `TENSOR_TYPE` when ggml has no such type.
 */
export function encodeGgufHeader(plan: GgufHeaderPlan): Uint8Array {
  const { version = 3, alignment = 32, tensors } = plan;
  const metadata = new Map(plan.metadata);
  if (alignment !== 32) metadata.set('general.alignment', ['u32', alignment]);
  const out = new Bytes();
  out.raw(new TextEncoder().encode('GGUF'));
  out.put('u32', version);
  out.put('u64', tensors.length);
  out.put('u64', metadata.size);
  for (const [key, entry] of metadata) {
    out.put('string', key);
    out.put('u32', ggufValueTypes.indexOf(entry[0]));
    if (entry[0] === 'array') out.array(entry[1], entry[2]);
    else out.put(entry[0], entry[1]);
  }
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    out.put('string', name);
    out.put('u32', shape.length);
    for (const size of shape.toReversed()) out.put('u64', size);
    out.put('u32', ggmlType(type));
    out.put('u64', offset);
    offset += paddedBytes(formatBytes(type, elementCount(shape)), alignment);
  }
  out.raw(new Uint8Array(paddedBytes(out.length, alignment) - out.length));
  return out.bytes();
}

/** A tensor to write, with its bytes, piece by piece: each is valid until the next is asked for. */
export interface GgufTensorData extends GgufTensorPlan {
  bytes(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * Writes a GGUF file. Holds no more than one piece of a tensor.
 * @param onBytes called after each piece with its bytes
 * @throws MowgliError `OPTION_INVALID` when a tensor does not have the bytes that its shape takes, and
 * what the tensors and the sink throw. A file begun stays behind after a failure, closed.
 */
export async function writeGguf(
  sink: FileSink,
  plan: GgufHeaderPlan & { readonly tensors: readonly GgufTensorData[] },
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  const { alignment = 32 } = plan;
  try {
    await sink.write(encodeGgufHeader(plan));
    for (const tensor of plan.tensors) {
      const expected = formatBytes(tensor.type, elementCount(tensor.shape));
      let written = 0;
      for await (const piece of tensor.bytes()) {
        await sink.write(piece);
        written += piece.length;
        onBytes(piece.length);
      }
      if (written !== expected) {
        throw new MowgliError(
          'OPTION_INVALID',
          `tensor ${tensor.name} came with ${written} bytes, but its shape takes ${expected}; pass all of it`,
        );
      }
      await sink.write(new Uint8Array(paddedBytes(written, alignment) - written));
    }
  } finally {
    await sink.close();
  }
}

function paddedBytes(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function ggmlType(type: NumberType): number {
  for (const [number, name] of ggmlTypes) if (name === type) return number;
  throw new MowgliError('TENSOR_TYPE', `GGUF has no number type ${type}; choose another`);
}

/** Bytes that grow. */
class Bytes {
  #buffer = new Uint8Array(1 << 16);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  array(type: GgufValueType, elements: readonly unknown[]): void {
    this.put('u32', ggufValueTypes.indexOf(type));
    this.put('u64', elements.length);
    for (const element of elements) {
      if (type === 'array') this.array(...(element as [GgufValueType, readonly unknown[]]));
      else this.put(type, element);
    }
  }

  put(type: Exclude<GgufValueType, 'array'>, value: unknown): void {
    if (type === 'string') {
      const bytes = new TextEncoder().encode(value as string);
      this.put('u64', bytes.length);
      this.raw(bytes);
      return;
    }
    const { bytes, write } = numberCodecs[type];
    this.#reserve(bytes);
    write(this.#view, this.#length, value as number | bigint);
    this.#length += bytes;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = new Uint8Array(2 * (this.#length + bytes));
    larger.set(this.bytes());
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}
