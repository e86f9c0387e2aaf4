import { mapConcurrent } from '../files/concurrent.ts';
import type { TensorStore } from '../files/tensors.ts';
import { rowBytes } from '../kernels/matrix.ts';
import { formatBytes } from '../quant/index.ts';
import { type ExpertLayout, expertTensor, imageOffset, projections } from './expert-layout.ts';
import { repack, tensorInfo } from './tensor-upload.ts';

/** Reads experts from the files into memory, as they are to lie on the GPU. */
export class ExpertReader {
  readonly #tensors: TensorStore;

  constructor(tensors: TensorStore) {
    this.#tensors = tensors;
  }

  /**
   * Fills `image` (`layout.bytes` long) with gate, up and down of an expert, read at once. When it
   * fails, nothing writes to `image` any more.
   *
   * @returns bytes read from the files
   * @throws MowgliError what `TensorStore.read` throws
   */
  async read(
    layout: ExpertLayout,
    layer: number,
    expert: number,
    image: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const read = await mapConcurrent(projections, projections.length, async (projection) => {
      const name = expertTensor(layer, expert, projection);
      const { type, shape } = tensorInfo({ tensors: this.#tensors }, name);
      const [rows, columns] = shape;
      const bytes = rows * formatBytes(type, columns);
      const at = imageOffset(layout, projection);
      const target = layout[projection].type;
      if (type === target && formatBytes(type, columns) === rowBytes(target, columns)) {
        await this.#tensors.read(name, { into: image.subarray(at, at + bytes), signal });
      } else {
        const inFile = await this.#tensors.read(name, { signal });
        image.set(repack(inFile, type, target, rows, columns), at);
      }
      return bytes;
    });
    return read.reduce((sum, bytes) => sum + bytes, 0);
  }
}
