import { halfToFloat } from './f16.ts';
import { blockFormat } from './format.ts';
import { iq1sGrid } from './iq-grids.ts';

/**
 * IQ1_M: 256 values in 56 bytes, 1.75 bits per weight; 16 groups of 16 values.
 *
 *     byte  0  u8[32]  for 8 values each: the low bits of a point p of iq1sGrid
 *     byte 32  u8[16]  for group g a byte, of which each nibble belongs to 8 values, the low one to
 *                      the first: bits 0 to 2 are the high bits of p; bit 3 says that the shift h is
 *                      -1/8 instead of 1/8
 *     byte 48  u16[4]  word w: bits 3k to 3k + 2 are the scale s[4 w + k]   (k < 4); bits 12 to 15 are
 *                      bits 4w to 4w + 3 of the f16 d
 *     value[8 k + j] = d (2 s[k / 2] + 1) (point(p[k])[j] + h[k])
 */
export const IQ1_M = blockFormat({
  name: 'IQ1_M',
  elements: 256,
  bytes: 56,
  decode(bytes, at, out, to) {
    let half = 0;
    for (let w = 0; w < 4; w++) half |= (bytes[at + 49 + 2 * w] >> 4) << (4 * w);
    const d = halfToFloat(half);
    for (let k = 0; k < 32; k++) {
      const g = k >> 1;
      const word = bytes[at + 48 + ((g >> 2) << 1)] | (bytes[at + 49 + ((g >> 2) << 1)] << 8);
      const nibble = (bytes[at + 32 + g] >> ((k & 1) << 2)) & 15;
      const point = bytes[at + k] | ((nibble & 7) << 8);
      const scale = d * (2 * ((word >> (3 * (g & 3))) & 7) + 1);
      const shift = nibble & 8 ? -0.125 : 0.125;
      for (let j = 0; j < 8; j++) {
        out[to + 8 * k + j] = scale * (iq1sGrid.values[8 * point + j] + shift);
      }
    }
  },
});
