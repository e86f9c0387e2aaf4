import { blockFormat } from './format.ts';
import { setNibbles } from './legacy-encode.ts';

/** Twice the values of E2M1, the four-bit float: sign, two bits of exponent, one of fraction. */
const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/**
 * MXFP4: 32 values in 17 bytes, 4.25 bits per weight (OCP Microscaling Formats 1.0, as ggml lays
 * them out).
 *
 *     byte 0  u8      e: the block's exponent, E8M0
 *     byte 1  u8[16]  q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = 2^(e - 127) E2M1[q[j]]
 *
 * As in ggml, e = 255 is an exponent like any other, where the specification has NaN; and minus
 * zero is read as zero.
 */
export const MXFP4 = blockFormat({
  name: 'MXFP4',
  elements: 32,
  bytes: 17,
  decode(bytes, at, out, to) {
    const d = 2 ** (bytes[at] - 128);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 1 + j];
      out[to + j] = d * doubled[byte & 15];
      out[to + j + 16] = d * doubled[byte >> 4];
    }
  },
  /** As ggml's `quantize_row_mxfp4_ref`, bit for bit: the nearest value, the first of equally near ones. */
  encode(values, from, bytes, at) {
    let largest = 0;
    for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(values[from + j]));
    const exponent = Math.floor(Math.fround(Math.log2(largest))) - 2 + 127;
    bytes[at] = largest > 0 ? Math.max(0, exponent) : 0;
    const d = 2 ** (bytes[at] - 128);
    const q = new Uint8Array(32);
    for (let j = 0; j < 32; j++) {
      let nearest = Number.POSITIVE_INFINITY;
      for (const [code, level] of doubled.entries()) {
        const distance = Math.abs(Math.fround(Math.fround(level * d) - values[from + j]));
        if (distance >= nearest) continue;
        nearest = distance;
        q[j] = code;
      }
    }
    setNibbles(bytes, at + 1, q);
  },
});
