import { halfAt, setHalf } from './f16.ts';
import { blockFormat } from './format.ts';

/**
 * Q8_0: 32 values in 34 bytes, 8.5 bits per weight.
 *
 *     byte  0  f16     d
 *     byte  2  i8[32]  q
 *     value[j] = d q[j]
 */
export const Q8_0 = blockFormat({
  name: 'Q8_0',
  elements: 32,
  bytes: 34,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let j = 0; j < 32; j++) out[to + j] = d * ((bytes[at + 2 + j] << 24) >> 24);
  },
  /** As ggml's `quantize_row_q8_0_ref`, bit for bit. */
  encode(values, from, bytes, at) {
    let largest = 0;
    for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(values[from + j]));
    const d = Math.fround(largest / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    setHalf(bytes, at, d);
    for (let j = 0; j < 32; j++) {
      const scaled = Math.fround(values[from + j] * inverse);
      // C's roundf: halves go away from zero.
      bytes[at + 2 + j] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    }
  },
});
