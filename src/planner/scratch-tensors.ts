import type { ModelConfig } from '../files/model-config.ts';
import {
  elementCount,
  noSuchTensor,
  type TensorInfo,
  type TensorReadOptions,
  type TensorStore,
  tensorRange,
} from '../files/tensors.ts';
import { formatBytes, type NumberType, numberFormats } from '../quant/index.ts';
import { randomBlocks } from '../quant/random-blocks.ts';

/** Blocks of a run; weights are the same run over and over. */
const runBlocks = 1024;

/** Magnitude of the largest weight: activations neither vanish nor overflow in a few layers. */
const largest = 0.1;

/** A part of a model, with its shapes and number formats and other weights. */
export interface Excerpt {
  readonly config: ModelConfig;
  readonly tensors: TensorStore;
}

/**
 * Some layers of a model, one after the other, and some rows of its vocabulary, to time kernels on.
 * @param layers which ones; one may be there several times
 */
export function excerpt(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  layers: readonly number[],
  vocabSize: number,
): Excerpt {
  const infos = new Map<string, TensorInfo>();
  const add = (name: string, { type, shape }: TensorInfo) =>
    infos.set(name, { name, type, shape, bytes: formatBytes(type, elementCount(shape)) });
  for (const info of tensors.values()) {
    const match = /^model\.layers\.(\d+)\.(.*)$/.exec(info.name);
    if (match === null) {
      const vocabulary = /^(model\.embed_tokens|lm_head)\.weight$/.test(info.name);
      add(info.name, vocabulary ? { ...info, shape: [vocabSize, info.shape[1]] } : info);
      continue;
    }
    for (const [i, layer] of layers.entries()) {
      if (layer === Number(match[1])) add(`model.layers.${i}.${match[2]}`, info);
    }
  }
  return {
    config: {
      ...config,
      vocabSize,
      numHiddenLayers: layers.length,
      sparseLayers: layers.map((layer) => config.sparseLayers[layer]),
    },
    tensors: new ScratchTensors(infos),
  };
}

/** Weights of no meaning, made when they are read. */
class ScratchTensors implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #runs = new Map<NumberType, Uint8Array>();

  constructor(tensors: ReadonlyMap<string, TensorInfo>) {
    this.tensors = tensors;
  }

  async read(name: string, options?: TensorReadOptions): Promise<Uint8Array> {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw noSuchTensor(name);
    const { offset, length } = tensorRange(tensor, options);
    const target = options?.into?.subarray(0, length) ?? new Uint8Array(length);
    const run = this.#run(tensor.type);
    let within = offset % run.length;
    for (let at = 0; at < length; within = 0) {
      const piece = run.subarray(within, within + Math.min(run.length - within, length - at));
      target.set(piece, at);
      at += piece.length;
    }
    return target;
  }

  async close(): Promise<void> {}

  #run(type: NumberType): Uint8Array {
    let run = this.#runs.get(type);
    if (run === undefined) {
      let state = 1; // the same weights each time: times must not depend on luck
      const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
      };
      const blocks = numberFormats[type].blockElements === 1 ? 32 * runBlocks : runBlocks;
      run = randomBlocks(type, blocks, random, largest);
      this.#runs.set(type, run);
    }
    return run;
  }
}
