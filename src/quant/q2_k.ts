import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';

/**
 * Q2_K: 256 values in 84 bytes, 2.625 bits per weight; 16 groups of 16 values.
 *
 *     byte  0  u8[16]  group g: scale s[g] in the low nibble, minimum m[g] in the high one
 *     byte 16  u8[64]  q: value 128 h + 32 k + l is bits 2k and 2k + 1 of byte 32 h + l   (l < 32)
 *     byte 80  f16     d
 *     byte 82  f16     dmin
 *     value[i] = d s[i / 16] q[i] - dmin m[i / 16]
 */
export const Q2_K = blockFormat({
  name: 'Q2_K',
  elements: 256,
  bytes: 84,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at + 80);
    const dmin = halfAt(bytes, at + 82);
    for (let i = 0; i < 256; i++) {
      const group = bytes[at + (i >> 4)];
      const byte = bytes[at + 16 + ((i >> 7) << 5) + (i & 31)];
      const q = (byte >> (((i >> 5) & 3) << 1)) & 3;
      out[to + i] = d * (group & 15) * q - dmin * (group >> 4);
    }
  },
});
