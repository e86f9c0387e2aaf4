import { MowgliError } from '../errors.ts';
import { type ExpertLayout, expertLayout, sameLayout } from '../experts/expert-layout.ts';
import { shareSlots } from '../experts/slot-shares.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { TensorStore } from '../files/tensors.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { Gpu } from '../gpu/device.ts';
import { uniformBufferBytes } from '../gpu/recorder.ts';
import type { KvType } from '../kernels/kv-cache.ts';
import { type ActivationType, codebookBytes } from '../kernels/matrix.ts';
import { allocateKvCache } from '../model/kv-cache.ts';
import { memoryNeeds } from '../model/memory-needs.ts';
import { allocateWorkspace, largestChunk, readbackBytes } from '../model/workspace.ts';

/** What a run asks for besides the model. */
export interface RunShape {
  /** Capacity of the KV cache, in tokens. */
  readonly context: number;
  /** Tokens of a prompt evaluated at a time. */
  readonly chunk: number;
  readonly kvType: KvType;
  readonly activations: ActivationType;
  /** Bytes that one binding may span on the GPU. */
  readonly maxBindingBytes: number;
}

/** Experts of one layout. */
export interface ExpertKind {
  readonly layout: ExpertLayout;
  readonly layers: readonly number[];
}

/** Bytes on the GPU that do not depend on the budget, and what the experts could take. */
export interface FixedMemory {
  /** All weights but the experts'. */
  readonly residentBytes: number;
  readonly kvBytes: number;
  /** Activations of one chunk, tables, codebooks, uniforms and the readback buffer. */
  readonly activationBytes: number;
  readonly kinds: readonly ExpertKind[];
  readonly expertsPerLayer: number;
  /** Slots that hold every expert, and their bytes. */
  readonly experts: number;
  readonly expertsBytes: number;
}

/** What goes where with some GPU memory. */
export interface MemoryPlan {
  readonly residentBytes: number;
  readonly kvBytes: number;
  readonly activationBytes: number;
  readonly slots: number;
  readonly slotBytes: number;
  /** All of it together. */
  readonly totalBytes: number;
}

/**
 * What a model takes on the GPU, whatever the budget: counted by the code that allocates it.
 * @throws MowgliError `OUT_OF_MEMORY` when something does not fit a binding
 */
export async function fixedMemory(
  config: ModelConfig,
  tensors: TensorStore,
  shape: RunShape,
): Promise<FixedMemory> {
  const { context, kvType, maxBindingBytes } = shape;
  const { numExperts, numHiddenLayers, sparseLayers } = config;
  const kv = new CountedBuffers(maxBindingBytes);
  await allocateKvCache(kv.asBuffers(), config, context, kvType);
  const activations = new CountedBuffers(maxBindingBytes);
  const chunk = largestChunk(config, Math.min(shape.chunk, context), maxBindingBytes);
  const ws = await allocateWorkspace(activations.asBuffers(), config, chunk, shape.activations);
  await activations.allocate('readback', readbackBytes(ws));
  await activations.allocate('expert table', 4 * numHiddenLayers * numExperts);
  await activations.allocate('expert table', 4 * numExperts);
  const codebooks = codebookBytes(Array.from(tensors.tensors.values(), ({ type }) => type));
  const kinds: { layout: ExpertLayout; layers: number[] }[] = [];
  for (const [layer, sparse] of sparseLayers.entries()) {
    if (!sparse) continue;
    const layout = expertLayout(config, tensors, layer, maxBindingBytes);
    const known = kinds.find((kind) => sameLayout(kind.layout, layout));
    if (known) known.layers.push(layer);
    else kinds.push({ layout, layers: [layer] });
  }
  const total = (of: (kind: ExpertKind) => number) =>
    kinds.reduce((sum, kind) => sum + of(kind), 0);
  return {
    residentBytes: memoryNeeds(config, tensors.tensors).residentBytes,
    kvBytes: kv.bytes,
    activationBytes: activations.bytes + codebooks + uniformBufferBytes,
    kinds,
    expertsPerLayer: numExperts,
    experts: total(({ layers }) => layers.length * numExperts),
    expertsBytes: total(({ layers, layout }) => layers.length * numExperts * layout.bytes),
  };
}

/** Bytes that are needed with any number of slots. */
export function fixedBytes({ residentBytes, kvBytes, activationBytes }: FixedMemory): number {
  return residentBytes + kvBytes + activationBytes;
}

/** The least GPU memory that a model runs with: a slot for each kind of experts. */
export function leastBytes(fixed: FixedMemory): number {
  return fixed.kinds.reduce((sum, { layout }) => sum + layout.bytes, fixedBytes(fixed));
}

/** GPU memory with which nothing is streamed. */
export function completeBytes(fixed: FixedMemory): number {
  return fixedBytes(fixed) + fixed.expertsBytes;
}

/**
 * Divides GPU memory as the engine does.
 * @throws MowgliError `OUT_OF_MEMORY` when it is not enough
 */
export function planMemory(fixed: FixedMemory, gpuBytes: number): MemoryPlan {
  const { residentBytes, kvBytes, activationBytes, kinds, expertsPerLayer } = fixed;
  const least = leastBytes(fixed);
  if (gpuBytes < least) {
    throw new MowgliError(
      'OUT_OF_MEMORY',
      `${gpuBytes} bytes of GPU memory are not enough: the weights that every token needs take ` +
        `${residentBytes}, the context ${kvBytes}, activations ${activationBytes}, and the smallest ` +
        `expert cache ${least - fixedBytes(fixed)}: ${least} in all; plan with more (--gpu-memory), or ` +
        'with a smaller context or chunk, or a model in a smaller number format',
    );
  }
  const counts = kinds.length
    ? shareSlots(kinds, expertsPerLayer, gpuBytes - fixedBytes(fixed))
    : [];
  const slotBytes = counts.reduce((sum, count, i) => sum + count * kinds[i].layout.bytes, 0);
  return {
    residentBytes,
    kvBytes,
    activationBytes,
    slots: counts.reduce((sum, count) => sum + count, 0),
    slotBytes,
    totalBytes: fixedBytes(fixed) + slotBytes,
  };
}

/** Counts what is asked of a `BufferSet` instead of allocating it. */
class CountedBuffers {
  bytes = 0;
  readonly gpu: { readonly capabilities: { readonly maxBindingBytes: number } };

  constructor(maxBindingBytes: number) {
    this.gpu = { capabilities: { maxBindingBytes } };
  }

  async allocate(_label: string, wanted: number) {
    const bytes = Gpu.roundBytes(wanted);
    this.bytes += bytes;
    const buffer = { bytes, all: () => ({ buffer, offset: 0, bytes }) };
    return buffer;
  }

  /** For code that allocates and does nothing else with the GPU. */
  asBuffers(): BufferSet {
    return this as unknown as BufferSet;
  }
}
