import { halfAt, setHalf } from './f16.ts';
import { blockFormat } from './format.ts';
import { quantizeAffine, setNibbles } from './legacy-encode.ts';

/**
 * Q4_1: 32 values in 20 bytes, 5 bits per weight.
 *
 *     byte  0  f16     d
 *     byte  2  f16     m, the least value
 *     byte  4  u8[16]  q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = d q[j] + m
 */
export const Q4_1 = blockFormat({
  name: 'Q4_1',
  elements: 32,
  bytes: 20,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    const m = halfAt(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 4 + j];
      out[to + j] = d * (byte & 15) + m;
      out[to + j + 16] = d * (byte >> 4) + m;
    }
  },
  /** As ggml's `quantize_row_q4_1_ref`, bit for bit. */
  encode(values, from, bytes, at) {
    const { d, m, q } = quantizeAffine(values, from, 15);
    setHalf(bytes, at, d);
    setHalf(bytes, at + 2, m);
    setNibbles(bytes, at + 4, q);
  },
});
