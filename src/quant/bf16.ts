import type { EncodableFormat } from './format.ts';

/** bfloat16: the upper half of a binary32, little-endian. */
export const BF16: EncodableFormat = {
  name: 'BF16',
  blockElements: 1,
  blockBytes: 2,
  shader: 'bf16',
  decode(bytes, out) {
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < out.length; i++) bits[i] = (bytes[2 * i] | (bytes[2 * i + 1] << 8)) << 16;
  },
  encode(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const out = new Uint8Array(2 * values.length);
    for (let i = 0; i < values.length; i++) {
      const u = bits[i];
      // A NaN whose payload sits in the low half would round to infinity: keep it quiet instead.
      const isNaNBits = (u & 0x7fffffff) > 0x7f800000;
      const rounded = isNaNBits ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
      out[2 * i] = rounded;
      out[2 * i + 1] = rounded >>> 8;
    }
    return out;
  },
};
