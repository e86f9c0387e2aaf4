import { MowgliError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { closeAll } from './concurrent.ts';
import type { GgufHeader, GgufTensor } from './gguf-header.ts';
import { fromGgufName } from './gguf-names.ts';
import { show } from './json.ts';
import {
  noSuchTensor,
  showShape,
  type TensorInfo,
  type TensorReadOptions,
  type TensorStore,
  tensorRange,
} from './tensors.ts';

/** A GGUF file, opened. */
export interface GgufFile {
  readonly source: ByteSource;
  readonly header: GgufHeader;
}

interface Place extends TensorInfo {
  readonly source: ByteSource;
  readonly offset: number;
}

/** More than any model has; a header of a few kilobytes must not become millions of tensors. */
const maxTensors = 2 ** 18;

/**
 * The tensors of a GGUF file, or of the files that one is split into, under Hugging Face's names. The
 * experts of a layer, which GGUF stacks, are tensors of their own; each is a contiguous part of the
 * stack. A tensor without a counterpart in Hugging Face's model keeps its name.
 */
export class GgufStore implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #places = new Map<string, Place>();
  readonly #sources: readonly ByteSource[];

  /**
   * @throws MowgliError `FILE_INVALID` when two files have the same tensor or there are absurdly many,
   * `TENSOR_SHAPE` when a stack of experts has no dimension for them.
   */
  constructor(files: readonly GgufFile[]) {
    this.#sources = files.map(({ source }) => source);
    for (const { source, header } of files) {
      for (const tensor of header.tensors.values()) this.#add(source, tensor);
    }
    this.tensors = new Map(
      Array.from(this.#places.values(), ({ name, type, shape, bytes }) => [
        name,
        { name, type, shape, bytes },
      ]),
    );
  }

  #add(source: ByteSource, tensor: GgufTensor): void {
    const target = fromGgufName(tensor.name) ?? { name: tensor.name };
    if ('name' in target) {
      this.#put({ ...tensor, source, name: target.name });
      return;
    }
    if (tensor.shape.length !== 3) {
      throw new MowgliError(
        'TENSOR_SHAPE',
        `${source.name}: tensor ${tensor.name} has the shape ${showShape(tensor.shape)}, but a stack of experts must have three dimensions; the file is of another architecture or damaged`,
      );
    }
    const [experts, ...shape] = tensor.shape;
    const bytes = tensor.bytes / experts;
    for (let expert = 0; expert < experts; expert++) {
      const name = target.nameOfExpert(expert);
      const offset = tensor.offset + expert * bytes;
      this.#put({ name, type: tensor.type, shape, bytes, offset, source });
    }
  }

  #put(place: Place): void {
    if (this.#places.has(place.name) || this.#places.size >= maxTensors) {
      const problem = this.#places.has(place.name)
        ? `tensor ${show(place.name)} is there twice`
        : `there are more than ${maxTensors} tensors`;
      throw new MowgliError(
        'FILE_INVALID',
        `${place.source.name}: ${problem}; download the model again`,
      );
    }
    this.#places.set(place.name, place);
  }

  /**
   * Reads `length` bytes of a tensor from `offset` within it (all of it by default).
   * @throws MowgliError `TENSOR_MISSING`, `OPTION_INVALID` when the range is not within the tensor,
   * and what `ByteSource.read` throws.
   */
  async read(name: string, options?: TensorReadOptions): Promise<Uint8Array> {
    const place = this.#places.get(name);
    if (place === undefined) throw noSuchTensor(name);
    const { offset, length } = tensorRange(place, options);
    return place.source.read(place.offset + offset, length, options);
  }

  /** Waits for the reads in flight, then gives the files up. Closing again does nothing. */
  close(): Promise<void> {
    return closeAll(this.#sources);
  }
}
