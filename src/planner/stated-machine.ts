import type { ModelConfig } from '../files/model-config.ts';
import type { TensorInfo } from '../files/tensors.ts';
import { isExpert } from '../model/memory-needs.ts';
import type { ComputeCosts, LayerCosts, MoveCosts } from './costs.ts';

/** What is said of a machine instead of being measured on this one. */
export interface StatedMachine {
  /** Bytes of GPU memory, and of RAM. */
  readonly gpuMemory?: number;
  readonly hostMemory?: number;
  /** Bytes per second: reading a disk, copying in RAM, from RAM to the GPU, and the GPU's own memory. */
  readonly disk?: number;
  readonly host?: number;
  readonly link?: number;
  readonly gpuBandwidth?: number;
}

/** What a machine that is only told of is taken to have, besides what is told. */
export const statedDefaults = {
  /** Share of the GPU's bandwidth that kernels reach. */
  kernels: 0.6,
  /** Milliseconds of a dispatch, and of a submission with its readback. */
  dispatchMs: 0.005,
  syncMs: 0.25,
  /** Bytes per second out of the page cache, several reads at once. */
  host: 12e9,
  /** Share of the RAM that is left for files. */
  pageCache: 0.9,
} as const;

/** Dispatches of a layer up to its router, of its experts, of going back, and behind the last layer. */
const dispatches = { attention: 8, experts: 2, restore: 3, token: 5 } as const;

/** What computing costs on a GPU of some bandwidth, which decoding is bound by. */
export function statedCompute(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  options: {
    readonly gpuBandwidth: number;
    /** Keys and values of one token in one layer. */
    readonly kvLayerBytes: number;
    readonly expertBytes: (layer: number) => number;
  },
): ComputeCosts {
  const { dispatchMs, syncMs, kernels } = statedDefaults;
  const readMs = (bytes: number) => (1000 * bytes) / (kernels * options.gpuBandwidth);
  const bytes = config.sparseLayers.map(() => 0);
  const routerBytes = config.sparseLayers.map(() => 0);
  let outputBytes = 0;
  for (const { name, bytes: size } of tensors.values()) {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    const isOutput =
      name === (config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
    if (isOutput) outputBytes = size;
    if (layer === undefined || isExpert(name)) continue;
    bytes[Number(layer)] += size;
    if (name.endsWith('.mlp.gate.weight')) routerBytes[Number(layer)] += size;
  }
  const layers = config.sparseLayers.map((sparse, layer): LayerCosts => {
    const experts = sparse ? config.numExpertsPerTok * options.expertBytes(layer) : 0;
    const kernelsOfExperts = dispatches.experts * dispatchMs;
    return {
      attentionMs: readMs(bytes[layer]) + dispatches.attention * dispatchMs,
      contextMs: readMs(options.kvLayerBytes),
      expertsMs: sparse ? readMs(experts) + kernelsOfExperts : 0,
      noExpertsMs: sparse ? kernelsOfExperts : 0,
      restoreMs: sparse ? readMs(routerBytes[layer]) + dispatches.restore * dispatchMs : 0,
    };
  });
  const tokenMs = readMs(outputBytes) + dispatches.token * dispatchMs;
  return { tokenMs, layers, syncMs };
}

/** What moving experts costs at some speed. */
export function statedMove(bytes: number, bytesPerSecond: number): MoveCosts {
  const ms = (1000 * bytes) / bytesPerSecond;
  return { firstMs: ms, nextMs: ms };
}
