import { type FloatType, formats } from '../quant/index.ts';
import { counterWord, type Keys, mix, normalLevels } from './synthetic-random.ts';

/** The bit patterns of a tensor's values, by level. */
export type ValueTable = Uint16Array | Uint32Array;

/** The table of normally distributed values of a float format. */
export function valueTable(type: FloatType, mean: number, deviation: number): ValueTable {
  const values = Float32Array.from(normalLevels, (z) => mean + deviation * z);
  const { buffer, byteOffset } = formats[type].encode(values);
  return formats[type].blockBytes === 2
    ? new Uint16Array(buffer, byteOffset, values.length)
    : new Uint32Array(buffer, byteOffset, values.length);
}

/**
 * Fills `target` with the bytes of a tensor of floats from `offset` on. Of element i:
 *
 *     pair = floor(i / 2), of which lo and hi are the lower 32 bits and the rest
 *     word = mix(lo + k1 + hi * 0x9e3779b9, k2)
 *     half = i even ? word & 0xffff : word >> 16
 *     z    = normal quantile of ((half >> 4) + 1/2) / 4096      |z| <= 3.67, deviation 0.9998
 *     value = mean + deviation * z, rounded to binary32 and then to the tensor's type
 */
export function fillFloats(
  target: Uint8Array,
  offset: number,
  table: ValueTable,
  keys: Keys,
): void {
  const pairBytes = 2 * table.BYTES_PER_ELEMENT;
  const first = Math.floor(offset / pairBytes);
  const skip = offset - first * pairBytes;
  // Whole pairs go straight into the caller's buffer if it can be seen as 32-bit words.
  const aligned = skip === 0 && target.byteOffset % 4 === 0;
  const direct = aligned ? Math.floor(target.length / pairBytes) : 0;
  if (direct > 0) {
    const words = new Uint32Array(target.buffer, target.byteOffset, (direct * pairBytes) / 4);
    fillPairs(words, first, table, keys);
  }
  const rest = target.subarray(direct * pairBytes);
  if (rest.length === 0) return;
  const pairs = Math.ceil((skip + rest.length) / pairBytes);
  const words = new Uint32Array((pairs * pairBytes) / 4);
  fillPairs(words, first + direct, table, keys);
  rest.set(new Uint8Array(words.buffer, skip, rest.length));
}

/** Little-endian, as every platform with typed arrays in use is: the low half is the first element. */
function fillPairs(words: Uint32Array, firstPair: number, table: ValueTable, keys: Keys): void {
  const wordsPerPair = table.BYTES_PER_ELEMENT / 2;
  let at = 0;
  // Pairs in turns that have the upper bits of their number in common; nearly always one turn.
  for (let pair = firstPair; at < words.length; ) {
    const counter = counterWord(pair, keys);
    const pairs = Math.min(2 ** 32 - (pair % 2 ** 32), (words.length - at) / wordsPerPair);
    const part = words.subarray(at, at + pairs * wordsPerPair);
    if (table instanceof Uint16Array) fillPairsOf16(part, counter, table, keys.k2);
    else fillPairsOf32(part, counter, table, keys.k2);
    at += part.length;
    pair += pairs;
  }
}

function fillPairsOf16(words: Uint32Array, start: number, table: Uint16Array, k2: number): void {
  let counter = start;
  for (let i = 0; i < words.length; i++) {
    // `mix` by hand: this loop is what the speed of the store depends on.
    let h = counter;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15) ^ k2, 0x846ca68b);
    h ^= h >>> 16;
    words[i] = table[(h >>> 4) & 0xfff] | (table[h >>> 20] << 16);
    counter = (counter + 1) | 0;
  }
}

function fillPairsOf32(words: Uint32Array, start: number, table: Uint32Array, k2: number): void {
  let counter = start;
  for (let i = 0; i < words.length; i += 2) {
    const h = mix(counter, k2);
    words[i] = table[(h >>> 4) & 0xfff];
    words[i + 1] = table[h >>> 20];
    counter = (counter + 1) | 0;
  }
}
