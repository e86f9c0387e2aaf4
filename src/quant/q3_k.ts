import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';

/**
 * Q3_K: 256 values in 110 bytes, 3.4375 bits per weight; 16 groups of 16 values.
 *
 *     byte   0  u8[32]  the third bit of q[32 k + l] is bit k of byte l   (k < 8, l < 32)
 *     byte  32  u8[64]  low bits of q: value 128 h + 32 k + l is bits 2k and 2k + 1 of byte 32 h + l
 *     byte  96  u8[12]  six-bit scales s[g]: the low four bits are in nibbles, those of s[g] and
 *                       s[g + 8] in byte g; the high two of s[g] are bits 2 (g / 4) of byte 8 + g % 4
 *     byte 108  f16     d
 *     value[i] = d (s[i / 16] - 32) (q[i] - 4)
 */
export const Q3_K = blockFormat({
  name: 'Q3_K',
  elements: 256,
  bytes: 110,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at + 108);
    for (let g = 0; g < 16; g++) {
      const low = (bytes[at + 96 + (g & 7)] >> (g < 8 ? 0 : 4)) & 15;
      const high = (bytes[at + 104 + (g & 3)] >> ((g >> 2) << 1)) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      for (let i = 16 * g; i < 16 * g + 16; i++) {
        const byte = bytes[at + 32 + ((i >> 7) << 5) + (i & 31)];
        const low2 = (byte >> (((i >> 5) & 3) << 1)) & 3;
        const third = (bytes[at + (i & 31)] >> (i >> 5)) & 1;
        out[to + i] = scale * ((low2 | (third << 2)) - 4);
      }
    }
  },
});
