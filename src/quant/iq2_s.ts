import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { iq2sGrid, putPoint } from './iq-grids.ts';

/**
 * IQ2_S: 256 values in 82 bytes, 2.5625 bits per weight; 16 groups of 16 values.
 *
 *     byte  0  f16     d
 *     byte  2  u8[32]  for 8 values each: the low bits of a point p of iq2sGrid
 *     byte 34  u8[32]  for 8 values each: their signs, bit j for value j
 *     byte 66  u8[8]   the high two bits of p[4 g + k] are bits 2k and 2k + 1 of byte g
 *     byte 74  u8[8]   scales s: group 2 g in the low nibble of byte g, group 2 g + 1 in the high one
 *     value[8 k + j] = d (s[k / 2] + 1/2) / 4  * +-point(p[k])[j]
 */
export const IQ2_S = blockFormat({
  name: 'IQ2_S',
  elements: 256,
  bytes: 82,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const high = (bytes[at + 66 + (k >> 2)] >> ((k & 3) << 1)) & 3;
      const point = bytes[at + 2 + k] | (high << 8);
      const nibble = (bytes[at + 74 + (k >> 2)] >> ((k & 2) << 1)) & 15;
      const scale = d * (0.5 + nibble) * 0.25;
      putPoint(iq2sGrid, point, scale, bytes[at + 34 + k], out, to + 8 * k);
    }
  },
});
