import { MowgliError } from './errors.ts';
import type { Checkpoint } from './files/checkpoint.ts';
import { type ModelSource, openModel } from './files/open-model.ts';
import { Model } from './generate/model.ts';
import type { LoadProgress } from './generate/types.ts';
import type { Gpu } from './gpu/device.ts';
import type { KvType } from './kernels/kv-cache.ts';

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
  /** Told how far loading is. */
  onProgress?: (progress: LoadProgress) => void;
  /** Stops loading: `ABORTED` is thrown and everything allocated so far is freed. */
  signal?: AbortSignal;
}

const defaultContext = 4096;
const defaultChunk = 512;

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
  const { signal, kvType = 'f32' } = options;
  if (kvType !== 'f32' && kvType !== 'f16') {
    throw new MowgliError('OPTION_INVALID', `kvType is ${kvType}; it must be f32 or f16`);
  }
  const checkpoint = await openModel(source, signal ? { signal } : {});
  let model: Model;
  try {
    model = await loadCheckpoint(openGpu, checkpoint, { ...options, kvType });
  } catch (error) {
    await checkpoint.close().catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
  try {
    await checkpoint.close();
  } catch (error) {
    await model.dispose();
    throw error;
  }
  return model;
}

async function loadCheckpoint(
  openGpu: () => Promise<Gpu>,
  checkpoint: Checkpoint,
  options: LoadOptions & { kvType: KvType },
): Promise<Model> {
  const { kvType, signal, onProgress } = options;
  const longest = checkpoint.config.maxPositionEmbeddings;
  const context = positive('context', options.context ?? Math.min(defaultContext, longest));
  if (context > longest) {
    throw new MowgliError(
      'OPTION_INVALID',
      `context is ${context}, and the model was made for ${longest} tokens; use at most that many`,
    );
  }
  const chunk = positive('chunk', options.chunk ?? defaultChunk);
  const gpu = await openGpu();
  try {
    return await Model.load(gpu, checkpoint, { context, chunk, kvType, signal, onProgress });
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

function positive(name: string, value: number): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new MowgliError('OPTION_INVALID', `${name} is ${value}; pass an integer of at least 1`);
}
