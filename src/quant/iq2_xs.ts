import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { evenSigns, iq2xsGrid, putPoint } from './iq-grids.ts';

/**
 * IQ2_XS: 256 values in 74 bytes, 2.3125 bits per weight; 16 groups of 16 values.
 *
 *     byte  0  f16      d
 *     byte  2  u16[32]  for 8 values each: bits 0 to 8 a point p of iq2xsGrid, bits 9 to 15 the signs
 *                       but the last (see evenSigns)
 *     byte 66  u8[8]    scales s: group 2 g in the low nibble of byte g, group 2 g + 1 in the high one
 *     value[8 k + j] = d (s[k / 2] + 1/2) / 4  * +-point(p[k])[j]
 */
export const IQ2_XS = blockFormat({
  name: 'IQ2_XS',
  elements: 256,
  bytes: 74,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const word = bytes[at + 2 + 2 * k] | (bytes[at + 3 + 2 * k] << 8);
      const nibble = (bytes[at + 66 + (k >> 2)] >> ((k & 2) << 1)) & 15;
      const scale = d * (0.5 + nibble) * 0.25;
      putPoint(iq2xsGrid, word & 511, scale, evenSigns(word >> 9), out, to + 8 * k);
    }
  },
});
