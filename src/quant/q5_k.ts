import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { scaleAndMinimum } from './k-scales.ts';

/**
 * Q5_K: 256 values in 176 bytes, 5.5 bits per weight; 8 groups of 32 values.
 *
 *     byte  0  f16      d
 *     byte  2  f16      dmin
 *     byte  4  u8[12]   scales s[g] and minima m[g] of six bits, packed as in k-scales.ts
 *     byte 16  u8[32]   the fifth bit of q[32 g + l] is bit g of byte l   (g < 8, l < 32)
 *     byte 48  u8[128]  low bits of q: value 64 k + l is the low nibble of byte 32 k + l, value
 *                       64 k + 32 + l the high one   (k < 4)
 *     value[i] = d s[i / 32] q[i] - dmin m[i / 32]
 */
export const Q5_K = blockFormat({
  name: 'Q5_K',
  elements: 256,
  bytes: 176,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    const dmin = halfAt(bytes, at + 2);
    for (let g = 0; g < 8; g++) {
      const { scale, minimum } = scaleAndMinimum(bytes, at + 4, g);
      const quants = at + 48 + ((g >> 1) << 5);
      const shift = (g & 1) << 2;
      for (let l = 0; l < 32; l++) {
        const fifth = (bytes[at + 16 + l] >> g) & 1;
        const q = ((bytes[quants + l] >> shift) & 15) | (fifth << 4);
        out[to + 32 * g + l] = d * scale * q - dmin * minimum;
      }
    }
  },
});
