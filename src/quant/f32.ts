import type { EncodableFormat } from './format.ts';

/** IEEE 754 binary32, little-endian. */
export const F32: EncodableFormat = {
  name: 'F32',
  blockElements: 1,
  blockBytes: 4,
  shader: 'f32',
  decode(bytes, out) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
  },
  encode(values) {
    return new Uint8Array(values.slice().buffer);
  },
};
