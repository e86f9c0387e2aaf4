import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { iq4Levels } from './iq4_nl.ts';

/**
 * IQ4_XS: 256 values in 136 bytes, 4.25 bits per weight; 8 groups of 32 values.
 *
 *     byte 0  f16      d
 *     byte 2  u16      the high two bits of s[g] are bits 2g and 2g + 1
 *     byte 4  u8[4]    the low bits of scales s: group 2 g in the low nibble of byte g, group 2 g + 1
 *                      in the high one
 *     byte 8  u8[128]  q: of group g, value j in the low nibble of byte 16 g + j, value j + 16 in the
 *                      high one   (j < 16)
 *     value[32 g + j] = d (s[g] - 32) iq4Levels[q]
 */
export const IQ4_XS = blockFormat({
  name: 'IQ4_XS',
  elements: 256,
  bytes: 136,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    const highBits = bytes[at + 2] | (bytes[at + 3] << 8);
    for (let g = 0; g < 8; g++) {
      const low = (bytes[at + 4 + (g >> 1)] >> ((g & 1) << 2)) & 15;
      const scale = d * ((low | (((highBits >> (2 * g)) & 3) << 4)) - 32);
      for (let j = 0; j < 16; j++) {
        const byte = bytes[at + 8 + 16 * g + j];
        out[to + 32 * g + j] = scale * iq4Levels[byte & 15];
        out[to + 32 * g + j + 16] = scale * iq4Levels[byte >> 4];
      }
    }
  },
});
