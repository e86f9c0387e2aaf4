import type { Checkpoint } from '../files/checkpoint.ts';
import type { Gpu } from '../gpu/device.ts';
import { Tuning, type TuningStore, tuningScope } from '../gpu/tuning.ts';
import type { KvType } from '../kernels/kv-cache.ts';
import type { ActivationType } from '../kernels/matrix.ts';
import { measureClasses, unmeasured } from '../kernels/tune.ts';
import { scratchBytes } from '../kernels/tune-scratch.ts';
import { kernelClasses } from '../model/kernel-classes.ts';
import type { LoadProgress } from './types.ts';

/** Milliseconds for the variants of one class, and for all of a model's, while somebody waits. */
const classBudgetMs = 3000;
const budgetMs = 30_000;

/**
 * Sets `gpu.tuning` to the choices remembered for this adapter, and measures those that a model needs
 * and that are not known yet. To be called before the model takes its memory. What takes too long is
 * left to the kernels' rules, and measured at a later load.
 *
 * @throws MowgliError `ABORTED`, and the error of a device that is lost
 */
export async function tuneForModel(
  gpu: Gpu,
  store: TuningStore,
  { config, tensors }: Pick<Checkpoint, 'config' | 'tensors'>,
  options: {
    chunk: number;
    kvType: KvType;
    activations: ActivationType;
    /** Bytes of GPU memory to use at most. */
    gpuMemory?: number | undefined;
    signal?: AbortSignal | undefined;
    onProgress?: ((progress: LoadProgress) => void) | undefined;
  },
): Promise<void> {
  const { gpuMemory = Number.POSITIVE_INFINITY, signal, onProgress } = options;
  const classes = kernelClasses(config, tensors.tensors, options);
  if (classes.length === 0) return;
  const tuning = await loadTuning(gpu, store);
  gpu.tuning = tuning;
  if (gpuMemory < scratchBytes) return;
  const added = await measureClasses(gpu, tuning, unmeasured(gpu, tuning, classes), {
    classBudgetMs,
    budgetMs,
    signal,
    onProgress: onProgress && ((done, total) => onProgress({ phase: 'tuning', done, total })),
  });
  // A folder that cannot be written costs the next load its time again, and this one nothing.
  if (added) await saveTuning(gpu, store, tuning).catch(() => {});
}

/** The choices remembered for this adapter. */
export async function loadTuning(gpu: Gpu, store: TuningStore): Promise<Tuning> {
  const scope = tuningScope(gpu);
  return Tuning.parse(scope, (await store.load(scope.adapter)) ?? '');
}

/** Remembers choices, besides those that another process has remembered meanwhile. */
export async function saveTuning(gpu: Gpu, store: TuningStore, tuning: Tuning): Promise<void> {
  const merged = await loadTuning(gpu, store);
  merged.add(tuning);
  const scope = tuningScope(gpu);
  await store.save(scope.adapter, merged.serialize(scope));
}
