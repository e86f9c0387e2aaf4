import { MowgliError, throwIfAborted } from '../errors.ts';
import { formatBytes, formats, type TensorType } from '../quant/index.ts';
import { expectedTensors } from './expected-tensors.ts';
import type { ModelConfig } from './model-config.ts';
import {
  elementCount,
  noSuchTensor,
  type TensorInfo,
  type TensorReadOptions,
  type TensorStore,
  tensorRange,
} from './tensors.ts';

export interface SyntheticOptions {
  /** A whole number below 2^32. Default 0. */
  seed?: number;
  /** Number type of every tensor. Default `BF16`. */
  type?: TensorType;
}

/** Distinct values of a tensor: as many as keep the table of a tensor in the first-level cache. */
const levels = 4096;

/** Bytes made before other work gets its turn, and the signal is looked at again. */
const bytesPerTurn = 32 * 1024 * 1024;

/**
 * How peaked the router's and the output's logits are: their standard deviation, for a normalised
 * input. Above 1, so that the choices of experts and of tokens do not hang on the last bit.
 */
const routerGain = 2;
const outputGain = 4;

/**
 * Random weights for any configuration, made when they are read: a model of any size without a file.
 * Normally distributed, with the scale that networks are initialised with, so that activations
 * neither vanish nor explode.
 *
 * Element `i` of a tensor depends on the seed, the tensor's name and `i` alone, so any range can be
 * made by itself. With 32-bit unsigned arithmetic throughout and
 * `mix(x, k = 0)`: x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x ^= k; x *= 0x846ca68b; x ^= x >> 16
 * (Chris Wellons' lowbias32, with a second key in the middle):
 *
 *     name = FNV-1a of the tensor's name in UTF-8
 *     k1   = mix(name ^ mix(seed + 0x9e3779b9))       k2 = mix(k1 + 0x9e3779b9)
 *     pair = floor(i / 2), of which lo and hi are the lower 32 bits and the rest
 *     word = mix(lo + k1 + hi * 0x9e3779b9, k2)
 *     half = i even ? word & 0xffff : word >> 16
 *     z    = normal quantile of ((half >> 4) + 1/2) / 4096      |z| <= 3.67, deviation 0.9998
 *     value = mean + deviation * z, rounded to binary32 and then to the tensor's type
 *
 * Mean and deviation: norms 1 and 0.1; `embed_tokens` 0 and 1, or 1/sqrt(hidden) when it is tied to
 * the output; projections 0 and 1/sqrt(inputs), times 2 for the router (`mlp.gate`) and 4 for `lm_head`.
 */
export class SyntheticStore implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #config: ModelConfig;
  readonly #seed: number;
  readonly #type: TensorType;
  /** By mean and deviation; a model has few different ones. */
  readonly #tables = new Map<string, ValueTable>();
  /** Of the standard normal distribution, by level. */
  readonly #quantiles = Float64Array.from({ length: levels }, (_, level) =>
    normalQuantile((level + 0.5) / levels),
  );
  #closed = false;

  /**
   * @throws MowgliError `OPTION_INVALID` for a seed that is not a whole number below 2^32, or a type
   * whose values do not stand alone in 2 or 4 bytes.
   */
  constructor(config: ModelConfig, options: SyntheticOptions = {}) {
    const { seed = 0, type = 'BF16' } = options;
    if (seed >>> 0 !== seed) {
      throw new MowgliError(
        'OPTION_INVALID',
        `seed is ${seed}; it must be a whole number from 0 to 4294967295`,
      );
    }
    const { blockElements, blockBytes } = formats[type];
    if (blockElements !== 1 || (blockBytes !== 2 && blockBytes !== 4)) {
      throw new MowgliError(
        'OPTION_INVALID',
        `type is ${type}; synthetic weights can be made in BF16, F16 and F32`,
      );
    }
    this.#config = config;
    this.#seed = seed;
    this.#type = type;
    this.tensors = new Map(
      Array.from(expectedTensors(config), ({ name, shape }) => {
        const bytes = formatBytes(type, elementCount(shape));
        return [name, { name, type, shape, bytes }];
      }),
    );
  }

  async read(name: string, options?: TensorReadOptions): Promise<Uint8Array> {
    if (this.#closed) {
      throw new MowgliError('DISPOSED', 'The synthetic weights were closed; make a new store');
    }
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw noSuchTensor(name);
    const { offset, length } = tensorRange(tensor, options);
    const { into, signal } = options ?? {};
    if (into !== undefined && into.length < length) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${name}: ${length} bytes do not fit into a buffer of ${into.length}; pass a larger one`,
      );
    }
    const target = into?.subarray(0, length) ?? new Uint8Array(length);
    const table = this.#table(tensor);
    const keys = tensorKeys(this.#seed, name);
    for (let done = 0; done < length; done += bytesPerTurn) {
      throwIfAborted(signal, `Making ${name}`);
      if (done > 0) await new Promise((resolve) => setTimeout(resolve));
      fillBytes(target.subarray(done, done + bytesPerTurn), offset + done, table, keys);
    }
    throwIfAborted(signal, `Making ${name}`);
    return target;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #table(tensor: TensorInfo): ValueTable {
    const { mean, deviation } = distribution(tensor, this.#config);
    const key = `${mean} ${deviation}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const values = Float32Array.from(this.#quantiles, (z) => mean + deviation * z);
    const made = bitPatterns(this.#type, values);
    this.#tables.set(key, made);
    return made;
  }
}

function distribution(tensor: TensorInfo, config: ModelConfig) {
  const { name, shape } = tensor;
  const inputs = shape[shape.length - 1];
  if (/norm\.weight$/.test(name)) return { mean: 1, deviation: 0.1 };
  if (name === 'model.embed_tokens.weight') {
    return { mean: 0, deviation: config.tieWordEmbeddings ? inputs ** -0.5 : 1 };
  }
  if (name === 'lm_head.weight') return { mean: 0, deviation: outputGain * inputs ** -0.5 };
  const gain = name.endsWith('.mlp.gate.weight') ? routerGain : 1;
  return { mean: 0, deviation: gain * inputs ** -0.5 };
}

/** The bit patterns of the values, by level. */
type ValueTable = Uint16Array | Uint32Array;

function bitPatterns(type: TensorType, values: Float32Array): ValueTable {
  const { buffer, byteOffset } = formats[type].encode(values);
  return formats[type].blockBytes === 2
    ? new Uint16Array(buffer, byteOffset, values.length)
    : new Uint32Array(buffer, byteOffset, values.length);
}

/** Newton's method on the distribution function, from the centre outwards; for p not near 0 or 1. */
function normalQuantile(p: number): number {
  if (p < 0.5) return -normalQuantile(1 - p); // exactly symmetric
  let z = 0;
  for (let step = 0; step < 100; step++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    const change = (normalDistribution(z, density) - p) / density;
    z -= change;
    if (Math.abs(change) < 1e-9) break; // it converges quadratically: the next change is nothing
  }
  return z;
}

/** 1/2 + density * (z + z^3/3 + z^5/(3 5) + ...), a series that converges fast for |z| < 5. */
function normalDistribution(z: number, density: number): number {
  let term = z;
  let sum = z;
  for (let odd = 3; term > sum * 1e-17; odd += 2) {
    term *= (z * z) / odd;
    sum += term;
  }
  return 0.5 + density * sum;
}

const golden = 0x9e3779b9;

function mix(x: number, key = 0): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15) ^ key, 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

interface Keys {
  readonly k1: number;
  readonly k2: number;
}

function tensorKeys(seed: number, name: string): Keys {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  const k1 = mix(hash ^ mix(seed + golden));
  return { k1, k2: mix(k1 + golden) };
}

/** Fills `target` with the bytes of a tensor from `offset` on. */
function fillBytes(target: Uint8Array, offset: number, table: ValueTable, keys: Keys): void {
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
    const low = pair % 2 ** 32;
    const counter = (low + keys.k1 + Math.imul(Math.floor(pair / 2 ** 32), golden)) | 0;
    const pairs = Math.min(2 ** 32 - low, (words.length - at) / wordsPerPair);
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
