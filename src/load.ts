import { MowgliError } from './errors.ts';
import { LearnedUse, type TextStore } from './experts/learned-use.ts';
import { type PolicyName, policyNames } from './experts/policy.ts';
import type { Checkpoint } from './files/checkpoint.ts';
import { type ModelSource, openModel } from './files/open-model.ts';
import { Model } from './generate/model.ts';
import { tuneForModel } from './generate/tuning.ts';
import type { LoadProgress } from './generate/types.ts';
import type { Gpu } from './gpu/device.ts';
import type { KvType } from './kernels/kv-cache.ts';
import type { ActivationType } from './kernels/matrix.ts';
import type { ReadAhead } from './model/forward-pass.ts';

export interface LoadOptions {
  /**
   * Most tokens of prompt and answer together; the KV cache is allocated for them at once.
   * Default: 4096, or what the model was made for if that is less.
   */
  context?: number;
  /** Tokens of a prompt evaluated at a time; fewer if the device cannot do as many. Default 512. */
  chunk?: number;
  /** Keys and values exactly (`f32`, default) or at half the memory (`f16`). */
  kvType?: KvType;
  /**
   * What weights in a quantized format are multiplied with: activations as they are (`f32`), or rounded
   * to int8 with a scale for each 32 (`int8`), as llama.cpp does. Default: `int8` where the CPU is the
   * GPU, since it is faster there and costs far less accuracy than the formats themselves; else `f32`.
   */
  activations?: ActivationType;
  /**
   * Bytes of GPU memory to use at most, for everything. What every token needs is always there; the
   * rest is for the context and for as many experts as fit, and the others are read when a token needs
   * them. Default: what the device gives, up to the whole model.
   */
  gpuMemory?: number;
  /**
   * Bytes of host memory that keep experts on their way from the files to the GPU. Default 0: the
   * operating system's own cache of files does the same, and knows what else needs memory.
   */
  hostMemory?: number;
  /**
   * Bytes of host memory that keep the keys and values of earlier prompts and answers, so that a prompt
   * with the same beginning is not evaluated anew; those used longest ago go first. Default 1 GiB, taken
   * as it is needed. 0: only the last prompt and answer, which are on the GPU.
   */
  prefixCache?: number;
  /** Which expert makes room for another one; see `policyNames`. Default `defaultPolicy`. */
  policy?: PolicyName;
  /**
   * Share (0 to 1) of the room for experts that is kept for those used most in earlier runs, which are
   * loaded at once and stay. Default 0: the policy alone decides.
   */
  pin?: number;
  /** Where the use of experts is remembered from run to run; only while not all of them fit. */
  useStore?: TextStore;
  /** Whether experts are read before it is certain that they are needed. Default `auto`: while it pays. */
  readAhead?: ReadAhead;
  /**
   * `auto` (default): the first load of a model's kind on an adapter measures which variants of the
   * kernels are the fastest there, for some seconds, and remembers it, where the platform has a place
   * for that. `off`: kernels decide by rules. Results differ by rounding only.
   */
  tuning?: TuningMode;
  /** Told how far loading is. */
  onProgress?: (progress: LoadProgress) => void;
  /** Stops loading: `ABORTED` is thrown and everything allocated so far is freed. */
  signal?: AbortSignal;
}

/** Whether the variants of the kernels are measured. */
export type TuningMode = 'auto' | 'off';

export const defaultContext = 4096;
export const defaultChunk = 512;

/**
 * Loads a model from a Hugging Face folder or a GGUF file onto a GPU, which the model then owns: disposing of the
 * model disposes of the GPU, and a failure to load does too.
 *
 * @throws MowgliError with the code of what is wrong with the files, the options or the device
 */
export async function loadModelOn(
  openGpu: () => Promise<Gpu>,
  source: ModelSource,
  options: LoadOptions = {},
): Promise<Model> {
  const { signal, kvType = 'f32', activations, tuning = 'auto' } = options;
  if (kvType !== 'f32' && kvType !== 'f16') {
    throw new MowgliError('OPTION_INVALID', `kvType is ${kvType}; it must be f32 or f16`);
  }
  if (activations !== undefined && activations !== 'f32' && activations !== 'int8') {
    throw new MowgliError(
      'OPTION_INVALID',
      `activations is ${activations}; it must be f32 or int8`,
    );
  }
  if (tuning !== 'auto' && tuning !== 'off') {
    throw new MowgliError('OPTION_INVALID', `tuning is ${tuning}; it must be auto or off`);
  }
  const checkpoint = await openModel(source, signal ? { signal } : {});
  try {
    return await loadCheckpoint(openGpu, checkpoint, { ...options, kvType, tuning });
  } catch (error) {
    await checkpoint.close().catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
}

async function loadCheckpoint(
  openGpu: () => Promise<Gpu>,
  checkpoint: Checkpoint,
  options: LoadOptions & { kvType: KvType; tuning: TuningMode },
): Promise<Model> {
  const { kvType, tuning, signal, onProgress } = options;
  const longest = checkpoint.config.maxPositionEmbeddings;
  const context = positive('context', options.context ?? Math.min(defaultContext, longest));
  if (context > longest) {
    throw new MowgliError(
      'OPTION_INVALID',
      `context is ${context}, and the model was made for ${longest} tokens; use at most that many`,
    );
  }
  const chunk = positive('chunk', options.chunk ?? defaultChunk);
  const { gpuMemory, hostMemory, prefixCache, policy, readAhead, pin, useStore } = options;
  checkBytes('gpuMemory', gpuMemory);
  checkBytes('prefixCache', prefixCache);
  checkBytes('hostMemory', hostMemory);
  if (policy !== undefined && !policyNames.includes(policy)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `policy is ${policy}; it must be one of ${policyNames.join(', ')}`,
    );
  }
  if (readAhead !== undefined && !['auto', 'on', 'off'].includes(readAhead)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `readAhead is ${readAhead}; it must be auto, on or off`,
    );
  }
  if (pin !== undefined && !(pin >= 0 && pin <= 1)) {
    throw new MowgliError('OPTION_INVALID', `pin is ${pin}; pass a share from 0 to 1`);
  }
  const { name, config, tensors } = checkpoint;
  const learned = useStore && (await LearnedUse.load(useStore, name, config, tensors));
  const gpu = await openGpu();
  const activations = options.activations ?? defaultActivations(gpu);
  try {
    if (tuning === 'auto' && gpu.tuningStore) {
      await tuneForModel(gpu, gpu.tuningStore, checkpoint, {
        chunk,
        kvType,
        activations,
        gpuMemory,
        signal,
        onProgress,
      });
    }
    const usedBefore = learned?.shares;
    const memory = { gpuMemory, hostMemory, policy, readAhead, pin, usedBefore, learned };
    return await Model.load(gpu, checkpoint, {
      context,
      chunk,
      kvType,
      activations,
      ...memory,
      prefixCache,
      signal,
      onProgress,
    });
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

/** What `LoadOptions.activations` is by default on a device. */
export function defaultActivations(gpu: Gpu): ActivationType {
  return gpu.capabilities.software ? 'int8' : 'f32';
}

function checkBytes(name: string, value: number | undefined): void {
  if (value === undefined || value >= 0) return;
  throw new MowgliError('OPTION_INVALID', `${name} is ${value}; pass a number of bytes`);
}

function positive(name: string, value: number): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new MowgliError('OPTION_INVALID', `${name} is ${value}; pass an integer of at least 1`);
}
