import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { iq3sGrid, putPoint } from './iq-grids.ts';

/**
 * IQ3_S: 256 values in 110 bytes, 3.4375 bits per weight; 8 groups of 32 values.
 *
 *     byte   0  f16     d
 *     byte   2  u8[64]  the low bits of points p of iq3sGrid, one for 4 values
 *     byte  66  u8[8]   the ninth bit of p[8 g + k] is bit k of byte g
 *     byte  74  u8[32]  signs: bit j of byte k is that of value 8 k + j
 *     byte 106  u8[4]   scales s: group 2 g in the low nibble of byte g, group 2 g + 1 in the high one
 *     value[4 k + j] = d (2 s[k / 8] + 1) * +-point(p[k])[j]
 */
export const IQ3_S = blockFormat({
  name: 'IQ3_S',
  elements: 256,
  bytes: 110,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 64; k++) {
      const g = k >> 3;
      const point = bytes[at + 2 + k] | (((bytes[at + 66 + g] >> (k & 7)) & 1) << 8);
      const nibble = (bytes[at + 106 + (g >> 1)] >> ((g & 1) << 2)) & 15;
      const signs = bytes[at + 74 + (k >> 1)] >> ((k & 1) << 2);
      putPoint(iq3sGrid, point, d * (1 + 2 * nibble), signs, out, to + 4 * k);
    }
  },
});
