import { F8_E4M3 } from './f8_e4m3.ts';
import { blockFormat } from './format.ts';

const elements = 128;
const bytes = 4 + elements;

/**
 * F8_B128: 128 values in 132 bytes: FP8 as it is published (`F8_E4M3` weights with a tensor
 * `weight_scale_inv` of one scale for 128 x 128 of them), each row's 128 values behind their scale. No
 * file holds it: `files/fp8-store.ts` reads the two tensors as one of this format, so that the rest
 * of the engine sees one more block format.
 *
 * Files hold any number of columns; here rows are whole blocks, the last one filled up with zeros.
 * Kernels multiply those with whatever follows a row of activations, whose own padding is only to a
 * multiple of 8: the next token's values, or what the buffer held before. That is safe as long as those
 * are finite (0 * NaN is NaN), as they are: buffers of activations hold nothing but f32, are zeroed when
 * they are made, and WebGPU answers reads past a binding's end with a value from within it, or zero.
 *
 *     byte 0  f32      d
 *     byte 4  u8[128]  q, e4m3fn
 *     value[j] = d q[j]
 */
export const F8_B128 = blockFormat({
  name: 'F8_B128',
  hasIntegers: false,
  elements,
  bytes,
  decode(data, at, out, to) {
    const d = new DataView(data.buffer, data.byteOffset).getFloat32(at, true);
    const values = out.subarray(to, to + elements);
    F8_E4M3.decode(data.subarray(at + 4, at + bytes), values);
    for (let j = 0; j < elements; j++) values[j] *= d;
  },
});
