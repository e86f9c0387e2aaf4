import { MowgliError, throwIfAborted } from '../errors.ts';
import {
  type FloatType,
  formatBytes,
  formats,
  type NumberType,
  numberFormats,
} from '../quant/index.ts';
import { expectedTensors } from './expected-tensors.ts';
import { show } from './json.ts';
import type { ModelConfig } from './model-config.ts';
import { type BlockPool, blockPool, fillBlocks, runBytes } from './synthetic-blocks.ts';
import { fillFloats, type ValueTable, valueTable } from './synthetic-floats.ts';
import { tensorKeys } from './synthetic-random.ts';
import {
  elementCount,
  noSuchTensor,
  type TensorInfo,
  type TensorReadOptions,
  type TensorStore,
  tensorRange,
} from './tensors.ts';

/** Number formats of synthetic weights. */
export interface SyntheticTypes {
  /** Of every tensor; when it is a format of blocks, norms and routers are F32. Default `BF16`. */
  type?: NumberType;
  /** Of the experts' matrices. Default `type`. */
  expertsType?: NumberType;
  /** Of the down projections, of experts and of dense layers. Default that of gate and up. */
  downType?: NumberType;
  /** Of the embedding and the output matrix. Default `type`. */
  embedType?: NumberType;
}

export interface SyntheticOptions extends SyntheticTypes {
  /** A whole number below 2^32. Default 0. */
  seed?: number;
}

/** The formats that synthetic weights can be made in: FP8 comes with its scales, as F8_B128. */
export const syntheticTypes: readonly NumberType[] = (
  Object.keys(numberFormats) as NumberType[]
).filter((type) => type !== 'F8_E4M3');

/**
 * Bytes made before other work gets its turn, and the signal is looked at again: some milliseconds'
 * worth.
 */
const bytesPerTurn = { floats: 32 << 20, blocks: 128 << 20 };

/**
 * How peaked the router's and the output's logits are: their standard deviation, for a normalised
 * input. Above 1, so that the choices of experts and of tokens do not hang on the last bit.
 */
const routerGain = 2;
const outputGain = 4;

/**
 * The output of attention, in a model with blocks. Attention between random keys is nearly an average,
 * the same for all tokens. As strong as the experts' output it makes them alike within a dozen layers,
 * and then they choose the same experts: of 24 tokens and 64 experts, 18 are in use in layer 42,
 * and with this 60. Models all of floats are without, as the tests' fixtures were made of them.
 */
const attentionGain = 0.3;

/**
 * Random weights for any configuration, made when they are read: a model of any size without a file.
 * With the scale that networks are initialised with, so that activations neither vanish nor explode.
 *
 * What is at some place of a tensor depends on the seed, the tensor's name and the place alone, so any
 * range can be made by itself. With
 *
 *     name = FNV-1a of the tensor's name in UTF-8
 *     k1   = mix(name ^ mix(seed + 0x9e3779b9))       k2 = mix(k1 + 0x9e3779b9)
 *     mix(x, k = 0): x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x ^= k; x *= 0x846ca68b; x ^= x >> 16
 *
 * every float is a function of its number (`fillFloats`). Blocks are made once, two MiB of them for
 * each format and deviation; a tensor is runs of these, from places that are functions of the run's
 * number (`fillBlocks`). That goes as fast as memory is copied, so that a streamed run of the largest
 * models waits for weights no longer than it would for a fast disk's. Experts differ in all runs, rows
 * of the vocabulary's matrices from each other.
 *
 * Mean and deviation: norms 1 and 0.1; `embed_tokens` 0 and 1, or 1/sqrt(hidden) when it is tied to
 * the output; projections 0 and 1/sqrt(inputs), times 2 for the router (`mlp.gate`), 4 for `lm_head`
 * and, where any tensor is of blocks, 0.3 for `o_proj`. Floats are normally distributed, and so are
 * blocks of formats that this library has an encoder for.
 */
export class SyntheticStore implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #config: ModelConfig;
  readonly #seed: number;
  readonly #hasBlocks: boolean;
  /** By type, mean and deviation; a model has few different ones. */
  readonly #tables = new Map<string, ValueTable>();
  readonly #pools = new Map<string, BlockPool>();
  #closed = false;

  /**
   * A matrix whose rows are not whole blocks of its format is F32 instead.
   * @throws MowgliError `OPTION_INVALID` for a seed that is not a whole number below 2^32, or a type
   * that weights cannot be made in.
   */
  constructor(config: ModelConfig, options: SyntheticOptions = {}) {
    const { seed = 0 } = options;
    if (seed >>> 0 !== seed) {
      throw new MowgliError(
        'OPTION_INVALID',
        `seed is ${seed}; it must be a whole number from 0 to 4294967295`,
      );
    }
    for (const key of ['type', 'expertsType', 'downType', 'embedType'] as const) {
      const type = options[key];
      if (type === undefined || syntheticTypes.includes(type)) continue;
      throw new MowgliError(
        'OPTION_INVALID',
        `${key} is ${show(type)}; synthetic weights can be made in ${syntheticTypes.join(', ')}`,
      );
    }
    this.#config = config;
    this.#seed = seed;
    this.tensors = new Map(
      Array.from(expectedTensors(config), ({ name, shape }) => {
        const type = tensorType(name, shape, options);
        return [name, { name, type, shape, bytes: formatBytes(type, elementCount(shape)) }];
      }),
    );
    this.#hasBlocks = [...this.tensors.values()].some(({ type }) => !isFloat(type));
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
    const perTurn = isFloat(tensor.type) ? bytesPerTurn.floats : bytesPerTurn.blocks;
    const fill = this.#filler(tensor);
    for (let done = 0; done < length; done += perTurn) {
      throwIfAborted(signal, `Making ${name}`);
      if (done > 0) await new Promise((resolve) => setTimeout(resolve));
      fill(target.subarray(done, done + perTurn), offset + done);
    }
    throwIfAborted(signal, `Making ${name}`);
    return target;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#tables.clear();
    this.#pools.clear();
  }

  /** What fills a piece of memory with the tensor's bytes from an offset on. */
  #filler({ name, type, shape }: TensorInfo): (target: Uint8Array, offset: number) => void {
    const keys = tensorKeys(this.#seed, name);
    const { mean, deviation } = this.#distribution(name, shape);
    const key = `${type} ${mean} ${deviation}`;
    if (isFloat(type)) {
      const table = cached(this.#tables, key, () => valueTable(type, mean, deviation));
      return (target, offset) => fillFloats(target, offset, table, keys);
    }
    const pool = cached(this.#pools, key, () =>
      blockPool(type, deviation, tensorKeys(this.#seed, key)),
    );
    const run = runBytes(type, shape[shape.length - 1], isOfVocabulary(name));
    return (target, offset) => fillBlocks(target, offset, pool, run, keys);
  }

  #distribution(name: string, shape: readonly number[]): { mean: number; deviation: number } {
    const inputs = shape[shape.length - 1];
    if (/norm\.weight$/.test(name)) return { mean: 1, deviation: 0.1 };
    if (name === 'model.embed_tokens.weight') {
      return { mean: 0, deviation: this.#config.tieWordEmbeddings ? inputs ** -0.5 : 1 };
    }
    return { mean: 0, deviation: this.#gain(name) * inputs ** -0.5 };
  }

  #gain(name: string): number {
    if (name === 'lm_head.weight') return outputGain;
    if (name.endsWith('.mlp.gate.weight')) return routerGain;
    return this.#hasBlocks && name.endsWith('.o_proj.weight') ? attentionGain : 1;
  }
}

function isFloat(type: NumberType): type is FloatType {
  return type in formats;
}

function isOfVocabulary(name: string): boolean {
  return name === 'model.embed_tokens.weight' || name === 'lm_head.weight';
}

function tensorType(name: string, shape: readonly number[], types: SyntheticTypes): NumberType {
  const { type = 'BF16', expertsType = type, embedType = type } = types;
  const isVector = shape.length === 1;
  if (isVector || name.endsWith('.mlp.gate.weight')) return isFloat(type) ? type : 'F32';
  const inner = name.includes('.mlp.experts.') ? expertsType : type;
  const wanted = isOfVocabulary(name)
    ? embedType
    : name.endsWith('.down_proj.weight')
      ? (types.downType ?? inner)
      : inner;
  const isWhole = shape[shape.length - 1] % numberFormats[wanted].blockElements === 0;
  return isWhole ? wanted : 'F32';
}

function cached<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make();
  cache.set(key, made);
  return made;
}
