import { halfAt, setHalf } from './f16.ts';
import { blockFormat } from './format.ts';
import { quantizeAffine, setFifthBits, setNibbles } from './legacy-encode.ts';

/**
 * Q5_1: 32 values in 24 bytes, 6 bits per weight.
 *
 *     byte  0  f16     d
 *     byte  2  f16     m, the least value
 *     byte  4  u32     the fifth bit of q[j] is bit j
 *     byte  8  u8[16]  low bits of q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = d q[j] + m
 */
export const Q5_1 = blockFormat({
  name: 'Q5_1',
  elements: 32,
  bytes: 24,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    const m = halfAt(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 8 + j];
      const low = (bytes[at + 4 + (j >> 3)] >> (j & 7)) & 1;
      const high = (bytes[at + 6 + (j >> 3)] >> (j & 7)) & 1;
      out[to + j] = d * ((byte & 15) | (low << 4)) + m;
      out[to + j + 16] = d * ((byte >> 4) | (high << 4)) + m;
    }
  },
  /** As ggml's `quantize_row_q5_1_ref`, bit for bit. */
  encode(values, from, bytes, at) {
    const { d, m, q } = quantizeAffine(values, from, 31);
    setHalf(bytes, at, d);
    setHalf(bytes, at + 2, m);
    setFifthBits(bytes, at + 4, q);
    setNibbles(bytes, at + 8, q);
  },
});
