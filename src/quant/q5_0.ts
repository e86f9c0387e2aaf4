import { halfAt, setHalf } from './f16.ts';
import { blockFormat } from './format.ts';
import { quantizeSymmetric, setFifthBits, setNibbles } from './legacy-encode.ts';

/**
 * Q5_0: 32 values in 22 bytes, 5.5 bits per weight.
 *
 *     byte  0  f16     d
 *     byte  2  u32     the fifth bit of q[j] is bit j
 *     byte  6  u8[16]  low bits of q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = d (q[j] - 16)
 */
export const Q5_0 = blockFormat({
  name: 'Q5_0',
  elements: 32,
  bytes: 22,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 6 + j];
      const low = (bytes[at + 2 + (j >> 3)] >> (j & 7)) & 1;
      const high = (bytes[at + 4 + (j >> 3)] >> (j & 7)) & 1;
      out[to + j] = d * (((byte & 15) | (low << 4)) - 16);
      out[to + j + 16] = d * (((byte >> 4) | (high << 4)) - 16);
    }
  },
  /** As ggml's `quantize_row_q5_0_ref`, bit for bit. */
  encode(values, from, bytes, at) {
    const { d, q } = quantizeSymmetric(values, from, 16);
    setHalf(bytes, at, d);
    setFifthBits(bytes, at + 2, q);
    setNibbles(bytes, at + 6, q);
  },
});
