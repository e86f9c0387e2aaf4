import { halfAt } from './f16.ts';
import { blockFormat } from './format.ts';

/**
 * The 16 levels of IQ4_NL and IQ4_XS: dense around zero, where most weights are. Constants of the
 * formats (`kvalues_iq4nl` in llama.cpp's `ggml-common.h`).
 */
export const iq4Levels = Int8Array.of(
  ...[-127, -104, -83, -65, -49, -35, -22, -10],
  ...[1, 13, 25, 38, 53, 69, 89, 113],
);

/**
 * IQ4_NL: 32 values in 18 bytes, 4.5 bits per weight.
 *
 *     byte 0  f16     d
 *     byte 2  u8[16]  q: value j in the low nibble of byte j, value j + 16 in the high one
 *     value[j] = d iq4Levels[q[j]]
 */
export const IQ4_NL = blockFormat({
  name: 'IQ4_NL',
  elements: 32,
  bytes: 18,
  decode(bytes, at, out, to) {
    const d = halfAt(bytes, at);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + 2 + j];
      out[to + j] = d * iq4Levels[byte & 15];
      out[to + j + 16] = d * iq4Levels[byte >> 4];
    }
  },
});
