import { halfAt, setHalf } from './f16.ts';
import { blockFormat } from './format.ts';
import { quantizeSymmetric, setNibbles } from './legacy-encode.ts';

/**
 * Q4_0: 32 values in 18 bytes, 4.5 bits per weight.
 *
 *     byte  0  f16     d
 *     byte  2  u8[16]  q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = d (q[j] - 8)
 */
export const Q4_0 = blockFormat({
  name: 'Q4_0',
  elements: 32,
  bytes: 18,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 2 + j];
      out[to + j] = d * ((byte & 15) - 8);
      out[to + j + 16] = d * ((byte >> 4) - 8);
    }
  },
  /** As ggml's `quantize_row_q4_0_ref`, bit for bit. */
  encode(values, from, bytes, at) {
    const { d, q } = quantizeSymmetric(values, from, 8);
    setHalf(bytes, at, d);
    setNibbles(bytes, at + 2, q);
  },
});
