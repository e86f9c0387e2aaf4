import type { ModelConfig } from '../files/model-config.ts';
import type { TensorInfo } from '../files/tensors.ts';
import { type KvType, kvPositionBytes } from '../kernels/kv-cache.ts';
import { rowBytes } from '../kernels/matrix.ts';
import { formatBytes, type NumberType } from '../quant/index.ts';

/** Bytes on the device. Activations come on top: with the default chunk, some hundred MiB at most. */
export interface MemoryNeeds {
  /** All weights but those of experts: needed for every token. */
  readonly residentBytes: number;
  /** Gate, up and down of one expert; layers of a GGUF file may differ. 0 without experts. */
  readonly expertBytes: { readonly smallest: number; readonly largest: number };
  readonly expertsPerLayer: number;
  readonly sparseLayers: number;
  /** All experts of all layers. */
  readonly allExpertsBytes: number;
  /** Experts that one token needs, in all layers. */
  readonly activeExpertsBytes: number;
  /** Keys and values of one token in all layers, by the number format of the cache. */
  readonly kvBytesPerToken: Readonly<Record<KvType, number>>;
}

const projections = ['gate', 'up', 'down'] as const;

/** What a model needs on the device, from its configuration and the headers of its tensors. */
export function memoryNeeds(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
): MemoryNeeds {
  let residentBytes = 0;
  for (const { name, type, shape } of tensors.values()) {
    if (isExpert(name) || isUnused(name, config)) continue;
    residentBytes += matrixBytes(shape.length === 1 ? 'F32' : type, shape);
  }
  const layers = config.sparseLayers.flatMap((sparse, layer) =>
    sparse ? [oneExpertBytes(config, tensors, layer)] : [],
  );
  const sum = layers.reduce((total, bytes) => total + bytes, 0);
  const heads = 2 * config.numHiddenLayers * config.numKeyValueHeads;
  return {
    residentBytes,
    expertBytes: {
      smallest: layers.length === 0 ? 0 : Math.min(...layers),
      largest: layers.length === 0 ? 0 : Math.max(...layers),
    },
    expertsPerLayer: layers.length === 0 ? 0 : config.numExperts,
    sparseLayers: layers.length,
    allExpertsBytes: sum * config.numExperts,
    activeExpertsBytes: layers.length === 0 ? 0 : sum * config.numExpertsPerTok,
    kvBytesPerToken: {
      f32: heads * kvPositionBytes('f32', config.headDim),
      f16: heads * kvPositionBytes('f16', config.headDim),
    },
  };
}

/** Whether a tensor is one of an expert, of which a token needs only a few. */
export function isExpert(name: string): boolean {
  return /\.mlp\.experts\.\d+\./.test(name);
}

/** Whether `checkTensors` lets a tensor pass that no kernel reads. */
export function isUnused(name: string, config: ModelConfig): boolean {
  return (
    /(^|\.)rotary_emb\.inv_freq$/.test(name) ||
    (config.tieWordEmbeddings && name === 'lm_head.weight')
  );
}

/** All experts of a layer share one type for each projection: their own, or F32 where they differ. */
function oneExpertBytes(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  layer: number,
): number {
  let bytes = 0;
  for (const projection of projections) {
    const types = new Set<NumberType>();
    let shape: readonly number[] = [0, 0];
    for (let expert = 0; expert < config.numExperts; expert++) {
      const name = `model.layers.${layer}.mlp.experts.${expert}.${projection}_proj.weight`;
      const tensor = tensors.get(name);
      if (tensor === undefined) continue; // not after `checkTensors`
      types.add(tensor.type);
      shape = tensor.shape;
    }
    bytes += matrixBytes(types.size === 1 ? [...types][0] : 'F32', shape);
  }
  return bytes;
}

/** Rows are padded on the device to whole blocks and octets. */
function matrixBytes(type: NumberType, shape: readonly number[]): number {
  if (shape.length !== 2) return formatBytes(type, Math.ceil((shape[0] ?? 1) / 8) * 8);
  return shape[0] * rowBytes(type, shape[1]);
}
