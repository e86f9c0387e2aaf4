import { MowgliError } from '../errors.ts';
import type { NumberType } from '../quant/index.ts';
import { isCount, type ReadOptions } from './byte-source.ts';

/** What a container says about one tensor. `shape` is row-major: the last axis is contiguous. */
export interface TensorInfo {
  readonly name: string;
  readonly type: NumberType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Options of reading from a tensor: a part of it, in bytes. All of it by default. */
export interface TensorReadOptions extends ReadOptions {
  /** First byte within the tensor. Default 0. */
  offset?: number;
  /** Bytes to read. Default: what is left after `offset`. */
  length?: number;
}

/** Named tensors, wherever their bytes are. Names are Hugging Face's. */
export interface TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Reads `length` bytes of a tensor from `offset` within it (all of it by default).
   * @throws MowgliError `TENSOR_MISSING`, `OPTION_INVALID` when the range is not within the tensor,
   * and what `ByteSource.read` throws.
   */
  read(name: string, options?: TensorReadOptions): Promise<Uint8Array>;
  /** Waits for the reads in flight, then gives the files up. Closing again does nothing. */
  close(): Promise<void>;
}

/**
 * The bytes that a `TensorStore.read` asks for.
 * @throws MowgliError `OPTION_INVALID` when they are not all within the tensor.
 */
export function tensorRange(
  tensor: TensorInfo,
  options: TensorReadOptions | undefined,
): { offset: number; length: number } {
  const offset = options?.offset ?? 0;
  const length = options?.length ?? tensor.bytes - offset;
  if (!isCount(offset) || !isCount(length) || offset + length > tensor.bytes) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${tensor.name}: cannot read ${length} bytes at ${offset} of its ${tensor.bytes}; ask for a range within the tensor`,
    );
  }
  return { offset, length };
}

/** The error for a tensor that a store does not have. */
export function noSuchTensor(name: string): MowgliError {
  return new MowgliError(
    'TENSOR_MISSING',
    `There is no tensor ${JSON.stringify(name)}; its name must be one of the store's tensors`,
  );
}

/** A shape as it is shown in a message: `[4096, 2048]`. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** Values in a tensor of this shape; 1 for a scalar's `[]`. Not finite, or inexact, if too many. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
