import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';
import { iq1sGrid } from './iq-grids.ts';

/**
 * IQ1_S: 256 values in 50 bytes, 1.5625 bits per weight; 8 groups of 32 values.
 *
 *     byte  0  f16     d
 *     byte  2  u8[32]  for 8 values each: the low bits of a point p of iq1sGrid
 *     byte 34  u16[8]  group g: bits 3k to 3k + 2 are the high bits of p[4 g + k]; bits 12 to 14 the
 *                      scale s[g]; bit 15 says that the shift h[g] is -1/8 instead of 1/8
 *     value[8 k + j] = d (2 s[k / 4] + 1) (point(p[k])[j] + h[k / 4])
 */
export const IQ1_S = blockFormat({
  name: 'IQ1_S',
  elements: 256,
  bytes: 50,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const group = at + 34 + ((k >> 2) << 1);
      const word = bytes[group] | (bytes[group + 1] << 8);
      const point = bytes[at + 2 + k] | (((word >> (3 * (k & 3))) & 7) << 8);
      const scale = d * (2 * ((word >> 12) & 7) + 1);
      const shift = word & 0x8000 ? -0.125 : 0.125;
      for (let j = 0; j < 8; j++) {
        out[to + 8 * k + j] = scale * (iq1sGrid.values[8 * point + j] + shift);
      }
    }
  },
});
