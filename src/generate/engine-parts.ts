import { MowgliError } from '../errors.ts';
import { ExpertCache } from '../experts/expert-cache.ts';
import { defaultPolicy, type PolicyName } from '../experts/policy.ts';
import type { WeightLoader } from '../experts/tensor-upload.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import type { KvType, LayerKv } from '../kernels/kv-cache.ts';
import { type ActivationType, uploadCodebooks } from '../kernels/matrix.ts';
import { Decoder } from '../model/decoder.ts';
import type { ReadAhead } from '../model/forward-pass.ts';
import { allocateKvCache } from '../model/kv-cache.ts';
import {
  allocateWorkspace,
  largestChunk,
  readbackBytes,
  type Workspace,
} from '../model/workspace.ts';
import {
  completeBytes,
  type FixedMemory,
  fixedBytes,
  fixedMemory,
  leastBytes,
} from '../planner/memory-plan.ts';
import type { LoadProgress } from './types.ts';

export interface EngineOptions {
  /** Capacity of the KV cache, in tokens. */
  context: number;
  /** Tokens evaluated at a time while reading a prompt. */
  chunk: number;
  kvType: KvType;
  /** Default: f32. */
  activations?: ActivationType | undefined;
  /** Bytes of GPU memory to use at most, for everything. Default: what the model takes. */
  gpuMemory?: number | undefined;
  /** Bytes of host memory that keep experts read before. Default 0: the operating system's cache does. */
  hostMemory?: number | undefined;
  policy?: PolicyName | undefined;
  readAhead?: ReadAhead | undefined;
  /** Share of the expert slots for those used most before; see `usedBefore`. Default 0. */
  pin?: number | undefined;
  /** How often experts were used in earlier runs, [layer, expert]. */
  usedBefore?: ArrayLike<number> | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** What an engine has on the GPU. */
export interface EngineParts {
  /** Everything that was allocated. */
  readonly buffers: BufferSet;
  readonly config: ModelConfig;
  /** Tokens that the KV cache has room for. */
  readonly context: number;
  /** Tokens that the workspace has room for. */
  readonly chunk: number;
  readonly decoder: Decoder;
  readonly experts: ExpertCache;
  readonly kv: readonly LayerKv[];
  readonly ws: Workspace;
}

/**
 * Reads a model's weights onto the GPU, of experts as many as fit, and allocates what evaluating takes.
 * After an error, what `buffers` has is left to the caller to free.
 *
 * @throws MowgliError `OUT_OF_MEMORY`, `ABORTED`, and what reading throws
 */
export async function loadParts(
  buffers: BufferSet,
  checkpoint: Checkpoint,
  options: EngineOptions,
): Promise<EngineParts> {
  const { gpu } = buffers;
  const { config, tensors } = checkpoint;
  const { context, kvType, activations = 'f32', gpuMemory = gpu.memory } = options;
  const { signal, onProgress } = options;
  const { maxBindingBytes } = gpu.capabilities;
  gpu.ledger.limit = gpuMemory;
  const shape = { context, chunk: options.chunk, kvType, activations, maxBindingBytes };
  const fixed = await fixedMemory(config, tensors, shape);
  checkBudget(fixed, gpuMemory);
  const chunk = largestChunk(config, Math.min(options.chunk, context), maxBindingBytes);
  const kv = await allocateKvCache(buffers, config, context, kvType);
  const ws = await allocateWorkspace(buffers, config, chunk, activations);
  await gpu.reserveReadback(readbackBytes(ws));
  uploadCodebooks(
    gpu,
    Array.from(tensors.tensors.values(), ({ type }) => type),
  );
  const streams = completeBytes(fixed) > gpuMemory;
  const total = fixed.residentBytes + (streams ? 0 : fixed.expertsBytes);
  let done = 0;
  const loader: WeightLoader = {
    tensors,
    buffers,
    signal,
    onBytes: (bytes) => {
      done += bytes;
      // Bytes of the files; on the GPU some are padded, so that this is a little short of all.
      onProgress?.({ phase: 'weights', done: Math.min(done, total), total });
    },
  };
  const decoder = await Decoder.load(loader, config);
  const experts = await ExpertCache.create(loader, config, {
    gpuBytes: gpuMemory - gpu.ledger.bytes,
    hostBytes: options.hostMemory ?? 0,
    policy: options.policy ?? defaultPolicy,
    pin: options.pin ?? 0,
    usedBefore: options.usedBefore,
  });
  onProgress?.({ phase: 'weights', done: total, total });
  return { buffers, config, context, chunk, decoder, experts, kv, ws };
}

/** @throws MowgliError `OUT_OF_MEMORY` when what every token needs and the smallest cache do not fit */
function checkBudget(fixed: FixedMemory, gpuMemory: number): void {
  const least = leastBytes(fixed);
  if (least <= gpuMemory) return;
  const { residentBytes, kvBytes, activationBytes } = fixed;
  throw new MowgliError(
    'OUT_OF_MEMORY',
    `${gpuMemory} bytes of GPU memory are allowed, and ${least} are the least that this takes: ` +
      `${residentBytes} for the weights that every token needs, ${kvBytes} for the context, ` +
      `${activationBytes} for activations, and ${least - fixedBytes(fixed)} for the smallest cache of ` +
      `experts; allow ${least - gpuMemory} bytes more (gpuMemory, --gpu-memory), or use a smaller ` +
      'context or chunk, or a model in a smaller number format',
  );
}
