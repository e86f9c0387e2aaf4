import { expect } from 'vitest';
import { padded, q8Blocks } from '../src/kernels/matrix.ts';
import { poison } from './harness.ts';
import { baseSeed } from './random.ts';
import { int8Rows } from './reference/int8.ts';
import type { Values } from './reference/values.ts';
import { unit } from './tolerance.ts';

/** How far `x / scale * 127` may be from exact, in integers: a division and two roundings. */
export const int8Inexact = 127 * 8 * unit;

/** Words of the int8 image of so many rows. */
export function int8Words(rows: number, columns: number): number {
  return rows * q8Blocks(padded(columns)) * 12;
}

/**
 * Checks that `image` is the int8 image of [rows, columns] as a kernel wrote them: integers and scales
 * within rounding, sums exactly, zeros past the columns.
 * @param isWritten rows that the kernel was to write; the others must be poison
 */
export function expectInt8Image(
  values: Values,
  columns: number,
  image: Uint32Array,
  isWritten: (row: number) => boolean = () => true,
): void {
  const bytes = new Int8Array(image.buffer, image.byteOffset, 4 * image.length);
  const floats = new Float32Array(image.buffer, image.byteOffset, image.length);
  const { scales } = int8Rows(values, columns);
  const blocks = q8Blocks(padded(columns));
  for (let row = 0; row < values.length / columns; row++) {
    for (let block = 0; block < blocks; block++) {
      const at = (row * blocks + block) * 12;
      const where = `row ${row}, block ${block} (MOWGLI_SEED=${baseSeed})`;
      if (!isWritten(row)) {
        const words = image.subarray(at, at + 12);
        expect(
          words.every((word) => word === poison),
          where,
        ).toBe(true);
        continue;
      }
      const scale = floats[at + 8];
      const sums = [0, 0];
      for (let j = 0; j < 32; j++) {
        const integer = bytes[4 * at + j];
        sums[j < 16 ? 0 : 1] += integer;
        const k = 32 * block + j;
        if (k >= columns) {
          expect(integer, where).toBe(0);
          continue;
        }
        const i = row * columns + k;
        expect(Math.abs(scale - scales[i]), where).toBeLessThanOrEqual(8 * unit * scales[i]);
        if (scale === 0) expect(integer, where).toBe(0);
        else {
          const off = Math.abs(values[i] / scale - integer);
          expect(off, where).toBeLessThanOrEqual(0.5 + int8Inexact);
        }
      }
      expect(floats[at + 9], where).toBe(Math.fround(scale * sums[0]));
      expect(floats[at + 10], where).toBe(Math.fround(scale * sums[1]));
      expect(floats[at + 11], where).toBe(Math.fround(scale * (sums[0] + sums[1])));
    }
  }
}
