import type { Values } from './values.ts';

/** Activations in int8 as `shaders/quantize_block.wgsl` lays them out, and what they stand for. */
export interface Int8Rows {
  /** [rows, blocks, 12] words. */
  readonly image: Uint32Array<ArrayBuffer>;
  /** [rows, columns]: scale times integer. */
  readonly values: Float64Array;
  /** [rows, columns]: the scale of each value. */
  readonly scales: Float64Array;
}

/** Quantizes [rows, columns] in blocks of 32, rows filled up with zeros. */
export function int8Rows(values: Values, columns: number): Int8Rows {
  const rows = values.length / columns;
  const blocks = Math.ceil(columns / 32);
  const image = new Uint32Array(rows * blocks * 12);
  const bytes = new Int8Array(image.buffer);
  const floats = new Float32Array(image.buffer);
  const out = new Float64Array(values.length);
  const scales = new Float64Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const at = (row * blocks + block) * 12;
      const begin = 32 * block;
      const end = Math.min(begin + 32, columns);
      let largest = 0;
      for (let k = begin; k < end; k++) {
        largest = Math.max(largest, Math.abs(values[row * columns + k]));
      }
      const scale = Math.fround(largest / 127);
      const sums = [0, 0];
      for (let k = begin; k < end; k++) {
        const i = row * columns + k;
        const integer = scale > 0 ? Math.round(values[i] / scale) : 0;
        bytes[4 * at + k - begin] = integer;
        sums[k - begin < 16 ? 0 : 1] += integer;
        out[i] = scale * integer;
        scales[i] = scale;
      }
      floats[at + 8] = scale;
      floats[at + 9] = scale * sums[0];
      floats[at + 10] = scale * sums[1];
      floats[at + 11] = scale * (sums[0] + sums[1]);
    }
  }
  return { image, values: out, scales };
}
