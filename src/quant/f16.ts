import type { EncodableFormat } from './format.ts';

/** Value of a binary16 bit pattern. */
export function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >>> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The binary16 at a byte offset, little-endian: the scale of most block formats. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return halfToFloat(bytes[at] | (bytes[at + 1] << 8));
}

/** Rounds to a binary16 and stores it, little-endian. */
export function setHalf(bytes: Uint8Array, at: number, value: number): void {
  const h = floatToHalf(value);
  bytes[at] = h;
  bytes[at + 1] = h >>> 8;
}

const scratch = new DataView(new ArrayBuffer(4));

/** Nearest binary16 bit pattern (ties to even); beyond 65504 gives infinity. */
export function floatToHalf(value: number): number {
  scratch.setFloat32(0, value);
  const u = scratch.getUint32(0);
  const sign = (u >>> 16) & 0x8000;
  const magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to 65536 or more
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is a multiple of 2^-24: rounding is that of the scaled value.
    const scaled = Math.abs(value) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor & 1) ? floor + 1 : floor);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** IEEE 754 binary16, little-endian. */
export const F16: EncodableFormat = {
  name: 'F16',
  blockElements: 1,
  blockBytes: 2,
  shader: 'f16',
  decode(bytes, out) {
    for (let i = 0; i < out.length; i++) out[i] = halfAt(bytes, 2 * i);
  },
  encode(values) {
    const out = new Uint8Array(2 * values.length);
    for (let i = 0; i < values.length; i++) setHalf(out, 2 * i, values[i]);
    return out;
  },
};
