import type { TensorType } from '../quant/index.ts';
import type { ReadOptions } from './byte-source.ts';

/** What a container says about one tensor. `shape` is row-major: the last axis is contiguous. */
export interface TensorInfo {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Named tensors, wherever their bytes are. Names are Hugging Face's. */
export interface TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Reads `length` bytes of a tensor from `offset` within it (all of it by default).
   * @throws MowgliError `TENSOR_MISSING`, and what `ByteSource.read` throws.
   */
  read(
    name: string,
    options?: ReadOptions & { offset?: number; length?: number },
  ): Promise<Uint8Array>;
  close(): Promise<void>;
}
