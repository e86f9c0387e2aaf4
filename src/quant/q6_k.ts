import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';

/**
 * Q6_K: 256 values in 210 bytes, 6.5625 bits per weight; 16 groups of 16 values.
 *
 *     byte   0  u8[128]  low bits of q: values 128 h + l and 128 h + 64 + l are the nibbles of byte
 *                        64 h + l   (h < 2, l < 64)
 *     byte 128  u8[64]   high bits of q: value 128 h + 32 k + l has bits 2k and 2k + 1 of byte 32 h + l
 *                        (k < 4, l < 32)
 *     byte 192  i8[16]   scales s[g]
 *     byte 208  f16      d
 *     value[i] = d s[i / 16] (q[i] - 32)
 */
export const Q6_K = blockFormat({
  name: 'Q6_K',
  elements: 256,
  bytes: 210,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at + 208);
    for (let i = 0; i < 256; i++) {
      const half = i >> 7;
      const low = (bytes[at + 64 * half + (i & 63)] >> (((i >> 6) & 1) << 2)) & 15;
      const high = (bytes[at + 128 + 32 * half + (i & 31)] >> (((i >> 5) & 3) << 1)) & 3;
      const scale = (bytes[at + 192 + (i >> 4)] << 24) >> 24;
      out[to + i] = d * scale * ((low | (high << 4)) - 32);
    }
  },
});
