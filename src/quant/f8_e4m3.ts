import type { EncodableFormat } from './format.ts';

/** Value of every pattern. */
const patternValues = Float32Array.from({ length: 256 }, (_, pattern) => {
  const sign = pattern & 0x80 ? -1 : 1;
  const exponent = (pattern >> 3) & 15;
  const fraction = pattern & 7;
  if (exponent === 15 && fraction === 7) return Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -9;
  return sign * (1 + fraction / 8) * 2 ** (exponent - 7);
});

/** Above this, halfway from the largest value (448) to the next there would be, is nothing. */
const overflow = 464;

/**
 * F8_E4M3, the FP8 that weights are published in (e4m3fn; OCP 8-bit Floating Point Specification
 * 1.0): sign, four bits of exponent with a bias of 7, three of fraction. There is no infinity; only
 * the pattern of all ones, with either sign, is NaN. The values are meant to be multiplied with a
 * tensor `weight_scale_inv` that has one scale for 128 x 128 of them: that is for the reader of the
 * tensor to do, a format sees single bytes.
 */
export const F8_E4M3: EncodableFormat = {
  name: 'F8_E4M3',
  blockElements: 1,
  blockBytes: 1,
  shader: 'f8_e4m3',
  decode(bytes, out) {
    for (let i = 0; i < out.length; i++) out[i] = patternValues[bytes[i]];
  },
  /** Nearest value, halfway to the even pattern; what is too large becomes NaN, as in PyTorch. */
  encode(values) {
    return Uint8Array.from(values, (value) => {
      const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
      const magnitude = Math.abs(value);
      if (!(magnitude <= overflow)) return sign | 0x7f;
      // Below 2^-6 the patterns are the multiples of 2^-9; above, eight to a power of two.
      const exponent = Math.max(-6, Math.floor(Math.log2(magnitude)));
      const scaled = magnitude * 2 ** (3 - exponent);
      const floor = Math.floor(scaled);
      const rest = scaled - floor;
      const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
      return sign | (rounded + (exponent + 6) * 8);
    });
  },
};
