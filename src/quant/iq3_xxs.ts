import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { evenSigns, iq3xxsGrid, putPoint } from './iq-grids.ts';

/**
 * IQ3_XXS: 256 values in 98 bytes, 3.0625 bits per weight; 8 groups of 32 values.
 *
 *     byte  0  f16     d
 *     byte  2  u8[64]  points p of iq3xxsGrid, one for 4 values
 *     byte 66  u32[8]  group g: bits 7k to 7k + 6 are the signs of values 8k to 8k + 7, but the last
 *                      (see evenSigns); bits 28 to 31 the scale s[g]
 *     value[4 k + j] = d (s[k / 8] + 1/2) / 2  * +-point(p[k])[j]
 */
export const IQ3_XXS = blockFormat({
  name: 'IQ3_XXS',
  elements: 256,
  bytes: 98,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let g = 0; g < 8; g++) {
      const tail = at + 66 + 4 * g;
      const word =
        bytes[tail] | (bytes[tail + 1] << 8) | (bytes[tail + 2] << 16) | (bytes[tail + 3] << 24);
      const scale = d * (0.5 + (word >>> 28)) * 0.5;
      for (let k = 8 * g; k < 8 * g + 8; k++) {
        const signs = evenSigns((word >>> (7 * ((k & 7) >> 1))) & 127) >> ((k & 1) << 2);
        putPoint(iq3xxsGrid, bytes[at + 2 + k], scale, signs, out, to + 4 * k);
      }
    }
  },
});
