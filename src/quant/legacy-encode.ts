/** What the encoders of Q4_0, Q4_1, Q5_0 and Q5_1 share: ggml's `quantize_row_*_ref`, in f32 steps. */

/**
 * Finds the value of a block that is largest in magnitude, makes `-steps` stand for it, and rounds
 * the others: whole numbers from 0 to `2 steps - 1`, of which `steps` stands for zero.
 */
export function quantizeSymmetric(
  values: Float32Array,
  from: number,
  steps: number,
): { d: number; q: Uint8Array } {
  let extreme = 0;
  for (let j = 0; j < 32; j++) {
    if (Math.abs(values[from + j]) > Math.abs(extreme)) extreme = values[from + j];
  }
  const d = Math.fround(extreme / -steps);
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  const q = new Uint8Array(32);
  for (let j = 0; j < 32; j++) {
    const scaled = Math.fround(Math.fround(values[from + j] * inverse) + (steps + 0.5));
    q[j] = Math.min(2 * steps - 1, Math.trunc(scaled));
  }
  return { d, q };
}

/** Spreads the whole numbers from 0 to `last` from the least to the greatest value of a block. */
export function quantizeAffine(
  values: Float32Array,
  from: number,
  last: number,
): { d: number; m: number; q: Uint8Array } {
  let least = values[from];
  let greatest = values[from];
  for (let j = 1; j < 32; j++) {
    least = Math.min(least, values[from + j]);
    greatest = Math.max(greatest, values[from + j]);
  }
  const d = Math.fround(Math.fround(greatest - least) / last);
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  const q = new Uint8Array(32);
  for (let j = 0; j < 32; j++) {
    const scaled = Math.fround(Math.fround(values[from + j] - least) * inverse);
    q[j] = Math.min(last, Math.trunc(Math.fround(scaled + 0.5)));
  }
  return { d, m: least, q };
}

/** Stores the low four bits of 32 numbers: the first half of them in the low nibbles. */
export function setNibbles(bytes: Uint8Array, at: number, q: Uint8Array): void {
  for (let j = 0; j < 16; j++) bytes[at + j] = (q[j] & 15) | ((q[j + 16] & 15) << 4);
}

/** Stores the fifth bit of 32 numbers, as a little-endian word. */
export function setFifthBits(bytes: Uint8Array, at: number, q: Uint8Array): void {
  for (let j = 0; j < 32; j++) bytes[at + (j >> 3)] |= (q[j] >> 4) << (j & 7);
}
