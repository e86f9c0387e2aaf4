import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { evenSigns, iq2xxsGrid, putPoint } from './iq-grids.ts';

/**
 * IQ2_XXS: 256 values in 66 bytes, 2.0625 bits per weight; 8 groups of 32 values.
 *
 *     byte 0  f16    d
 *     byte 2  group g has 8 bytes from 2 + 8 g:
 *               0  u8[4]  points p of iq2xxsGrid, one for 8 values
 *               4  u32    bits 7k to 7k + 6: signs of values 8k to 8k + 7, but the last (see
 *                         evenSigns); bits 28 to 31: scale s[g]
 *     value[32 g + 8 k + j] = d (s[g] + 1/2) / 4  * +-point(p[k])[j]
 */
export const IQ2_XXS = blockFormat({
  name: 'IQ2_XXS',
  elements: 256,
  bytes: 66,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let g = 0; g < 8; g++) {
      const group = at + 2 + 8 * g;
      const word =
        bytes[group + 4] |
        (bytes[group + 5] << 8) |
        (bytes[group + 6] << 16) |
        (bytes[group + 7] << 24);
      const scale = d * (0.5 + (word >>> 28)) * 0.25;
      for (let k = 0; k < 4; k++) {
        const signs = evenSigns((word >>> (7 * k)) & 127);
        putPoint(iq2xxsGrid, bytes[group + k], scale, signs, out, to + 32 * g + 8 * k);
      }
    }
  },
});
