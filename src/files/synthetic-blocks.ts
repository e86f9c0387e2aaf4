import { floatToHalf } from '../quant/f16.ts';
import { type BlockType, numberFormats } from '../quant/index.ts';
import { setScale } from '../quant/random-blocks.ts';
import { counterWord, type Keys, mix, normalLevels } from './synthetic-random.ts';

/**
 * A pool's size at most: few enough bytes to be copied from a cache, few enough blocks to be made in
 * a tenth of a second.
 */
const poolBytes = 2 << 20;
const poolBlocks = 1 << 15;

/** Bytes of a run at most: from here on a longer one is hardly faster (20 GB/s and more). */
const longestRun = 8 << 10;

/** Blocks of one format and deviation, from which tensors are put together. */
export interface BlockPool {
  readonly blockBytes: number;
  readonly bytes: Uint8Array;
}

/** Bytes that lie in a tensor as they lie in the pool: whole blocks. */
export function runBytes(type: BlockType, columns: number, unlikeRows: boolean): number {
  const { blockBytes, blockElements } = numberFormats[type];
  const most = Math.floor(longestRun / blockBytes);
  const inRow = Math.ceil(columns / blockElements);
  return blockBytes * (unlikeRows ? Math.max(1, Math.min(most, Math.floor(inRow / 3))) : most);
}

/**
 * Fills `target` with the bytes of a tensor of blocks from `offset` on. A tensor is a sequence of runs
 * of a fixed length, each copied from the pool at a place of its own: of run r,
 *
 *     word  = mix(lo + k1 + hi * 0x9e3779b9, k2)            lo and hi: the lower 32 bits of r and the rest
 *     first = floor(word * places / 2^32)                   block of the pool that the run begins with
 *     places = blocks of the pool - blocks of a run + 1
 */
export function fillBlocks(
  target: Uint8Array,
  offset: number,
  pool: BlockPool,
  run: number,
  keys: Keys,
): void {
  const { blockBytes, bytes } = pool;
  const places = (bytes.length - run) / blockBytes + 1;
  let index = Math.floor(offset / run);
  let within = offset - index * run;
  for (let at = 0; at < target.length; index++) {
    const word = mix(counterWord(index, keys), keys.k2);
    const from = Math.floor((word * places) / 2 ** 32) * blockBytes + within;
    const length = Math.min(run - within, target.length - at);
    target.set(bytes.subarray(from, from + length), at);
    at += length;
    within = 0;
  }
}

/**
 * Random blocks whose values have mean 0 and the given deviation. Where the format has an encoder they
 * are normally distributed values, encoded; the blocks of the others are random bits, scaled one by
 * one: every codebook entry, group scale and quant is equally likely.
 */
export function blockPool(type: BlockType, deviation: number, keys: Keys): BlockPool {
  const { blockBytes, blockElements, encode } = numberFormats[type];
  const blocks = Math.min(poolBlocks, Math.floor(poolBytes / blockBytes));
  const word = (i: number) => mix(counterWord(i, keys), keys.k2);
  // Plain loops: millions of values, made before the first weight can be read.
  if (encode) {
    const values = new Float32Array(blocks * blockElements);
    for (let i = 0; i < values.length; i++) values[i] = deviation * normalLevels[word(i) >>> 20];
    return { blockBytes, bytes: encode(values) };
  }
  if (type === 'F8_B128') return { blockBytes, bytes: f8Blocks(blocks, deviation, word) };
  const bytes = new Uint8Array(blocks * blockBytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = word(i) >>> 24;
  const values = new Float32Array(blockElements);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = bytes.subarray(at, at + blockBytes);
    const negative = (word(at) & 1) === 1;
    setScales(type, block, 1, negative);
    setScales(type, block, deviation / rootMeanSquare(type, block, values), negative);
  }
  return { blockBytes, bytes };
}

/** Deviation of the quants of FP8, of which the largest is 448: what is 3.67 of it still fits. */
const f8Deviation = 112;

function f8Blocks(blocks: number, deviation: number, word: (i: number) => number): Uint8Array {
  const { blockBytes } = numberFormats.F8_B128;
  const levels = Float32Array.from(normalLevels, (z) => f8Deviation * z);
  const quants = numberFormats.F8_E4M3.encode!(levels);
  const bytes = new Uint8Array(blocks * blockBytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = quants[word(i) >>> 20];
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    view.setFloat32(at, deviation / f8Deviation, true);
  }
  return bytes;
}

function rootMeanSquare(type: BlockType, block: Uint8Array, values: Float32Array): number {
  numberFormats[type].decode(block, values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i] * values[i];
  return Math.sqrt(squares / values.length);
}

/**
 * As `setScale`; and where groups have a minimum, it makes the group's mean zero. Random minima would
 * give whole groups one sign.
 */
function setScales(type: BlockType, block: Uint8Array, scale: number, negative: boolean): void {
  setScale(type, block, scale, negative);
  const signed = negative ? -scale : scale;
  if (type === 'Q2_K') {
    for (let g = 0; g < 16; g++) block[g] = (block[g] & 15) * 0x11;
    setHalf(block, 82, 1.5 * signed);
  } else if (type === 'Q4_K' || type === 'Q5_K') {
    // The minima's six bits become those of the scales: see quant/k-scales.ts.
    block.copyWithin(8, 4, 8);
    for (let i = 12; i < 16; i++) block[i] = (block[i] & 15) * 0x11;
    setHalf(block, 2, (type === 'Q4_K' ? 7.5 : 15.5) * signed);
  }
}

function setHalf(block: Uint8Array, at: number, value: number): void {
  const half = floatToHalf(value);
  block[at] = half;
  block[at + 1] = half >>> 8;
}
