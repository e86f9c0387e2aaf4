import { floatToHalf } from './f16.ts';
import type { NumberType } from './format.ts';
import { numberFormats } from './index.ts';

/** Byte offsets in a block of the halves that scale it. In IQ1_M one is spread over four words. */
const halvesAt: Partial<Record<NumberType, readonly number[]>> = {
  Q8_0: [0],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  IQ3_S: [0],
  IQ3_XXS: [0],
  IQ2_S: [0],
  IQ2_XS: [0],
  IQ2_XXS: [0],
  IQ1_S: [0],
};

/**
 * Blocks of random bits, to test decoders with: every scale, sign, codebook entry and bit of a number
 * is equally likely, which an encoder would not give. Only what scales a whole block is chosen, so that
 * values are finite, of either sign, and up to about `largest` in magnitude; block scales vary by 2.
 * Formats without blocks get evenly distributed values.
 *
 * @param random numbers in [0, 1)
 * @param largest magnitude of the largest values
 */
export function randomBlocks(
  type: NumberType,
  blocks: number,
  random: () => number,
  largest = 1,
): Uint8Array {
  const { blockElements, blockBytes, encode } = numberFormats[type];
  if (blockElements === 1) {
    return encode!(Float32Array.from({ length: blocks }, () => largest * (2 * random() - 1)));
  }
  const bytes = Uint8Array.from({ length: blocks * blockBytes }, () => Math.floor(random() * 256));
  const unit = largest / largestAtScaleOne(type);
  for (let block = 0; block < blocks; block++) {
    const part = bytes.subarray(block * blockBytes, (block + 1) * blockBytes);
    setScale(type, part, unit * (0.5 + random() / 2), random() < 0.5);
  }
  return bytes;
}

/** The largest magnitude in some random blocks of scale 1. */
function largestAtScaleOne(type: NumberType): number {
  const { blockBytes, blockElements, decode } = numberFormats[type];
  let state = 1;
  const block = new Uint8Array(blockBytes);
  const values = new Float32Array(blockElements);
  let largest = 0;
  for (let sample = 0; sample < 16; sample++) {
    for (let i = 0; i < blockBytes; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      block[i] = state >>> 24;
    }
    setScale(type, block, 1, false);
    decode(block, values);
    for (const value of values) largest = Math.max(largest, Math.abs(value));
  }
  return largest;
}

/** Makes a block of random bits finite by overwriting what scales all of it. */
export function setScale(
  type: NumberType,
  block: Uint8Array,
  scale: number,
  negative: boolean,
): void {
  const half = floatToHalf(negative ? -scale : scale);
  for (const at of halvesAt[type] ?? []) {
    block[at] = half;
    block[at + 1] = half >>> 8;
  }
  if (type === 'MXFP4') block[0] = 127 + Math.floor(Math.log2(scale));
  if (type === 'F8_B128') {
    const view = new DataView(block.buffer, block.byteOffset);
    view.setFloat32(0, negative ? -scale : scale, true);
    // All ones but for the sign are NaN.
    for (let i = 4; i < block.length; i++) if ((block[i] & 0x7f) === 0x7f) block[i] ^= 1;
  }
  if (type !== 'IQ1_M') return;
  for (let w = 0; w < 4; w++) {
    const at = 49 + 2 * w;
    block[at] = (block[at] & 15) | (((half >>> (4 * w)) & 15) << 4);
  }
}
