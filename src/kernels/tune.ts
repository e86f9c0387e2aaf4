import { MowgliError, throwIfAborted } from '../errors.ts';
import type { Gpu } from '../gpu/device.ts';
import type { TunedClass, Tuning } from '../gpu/tuning.ts';
import { classKey, type KernelClass } from './kernel-class.ts';
import { prepare, type RecordRun, variantsOf } from './tune-cases.ts';
import { race } from './tune-race.ts';
import { TuneScratch } from './tune-scratch.ts';

export interface TuneOptions {
  /** Milliseconds for one class after which no variant is begun with any more. */
  readonly classBudgetMs: number;
  /** Milliseconds after which no class is begun with any more. */
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Told before each class and at the end. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Classes whose choice is not known, or was made among other variants than this device can run now. */
export function unmeasured(
  gpu: Gpu,
  tuning: Tuning,
  classes: readonly KernelClass[],
): KernelClass[] {
  return classes.filter((kernelClass) => {
    const { variants } = variantsOf(gpu, kernelClass);
    return variants.length > 1 && !tuning.covers(classKey(kernelClass), variants);
  });
}

/**
 * Measures the variants of some classes, on buffers that are freed again, and adds the choices to
 * `tuning`. A variant that fails is passed over; classes that memory or time do not suffice for are
 * left as they are.
 *
 * @returns whether anything was added
 * @throws MowgliError `ABORTED`, and the error of a device that is lost
 */
export async function measureClasses(
  gpu: Gpu,
  tuning: Tuning,
  classes: readonly KernelClass[],
  { classBudgetMs, budgetMs, signal, onProgress }: TuneOptions,
): Promise<boolean> {
  if (classes.length === 0) return false;
  const deadline = performance.now() + budgetMs;
  let added = false;
  let scratch: TuneScratch | undefined;
  try {
    scratch = await TuneScratch.create(gpu);
    for (const [done, kernelClass] of classes.entries()) {
      throwIfAborted(signal, 'measuring the kernels');
      if (performance.now() > deadline) break;
      onProgress?.(done, classes.length);
      const tuned = await measure(scratch, kernelClass, classBudgetMs, signal);
      scratch.clear();
      if (!tuned) continue;
      tuning.set(classKey(kernelClass), tuned);
      added = true;
    }
  } catch (error) {
    // What a measurement has no memory for is run by the kernels' own rules.
    if (!(error instanceof MowgliError && error.code === 'OUT_OF_MEMORY')) throw error;
  } finally {
    scratch?.destroy();
  }
  onProgress?.(classes.length, classes.length);
  return added;
}

async function measure(
  scratch: TuneScratch,
  kernelClass: KernelClass,
  budgetMs: number,
  signal: AbortSignal | undefined,
): Promise<TunedClass | undefined> {
  const { gpu } = scratch;
  const { variants, rule } = variantsOf(gpu, kernelClass);
  const run = await prepare(scratch, kernelClass);
  const sample = (variant: string, runs: number) => {
    throwIfAborted(signal, 'measuring the kernels');
    return sampleMs(gpu, run, variant, runs);
  };
  return race(variants, rule, sample, { sampleMs: gpu.capabilities.software ? 15 : 5, budgetMs });
}

/** Milliseconds from the submission of some runs to the end of the last; undefined if one fails. */
async function sampleMs(
  gpu: Gpu,
  run: RecordRun,
  variant: string,
  runs: number,
): Promise<number | undefined> {
  const { device } = gpu;
  // Within scopes, a shader that the driver refuses is a failure of this variant alone.
  const filters: readonly GPUErrorFilter[] = ['validation', 'internal', 'out-of-memory'];
  for (const filter of filters) device.pushErrorScope(filter);
  let ms: number | undefined;
  try {
    const rec = gpu.record();
    for (let i = 0; i < runs; i++) run(rec, variant, i);
    const start = performance.now();
    rec.submit();
    await gpu.wait(device.queue.onSubmittedWorkDone());
    ms = performance.now() - start;
  } catch {
    ms = undefined; // If it was the device that failed, the next line says so.
  }
  gpu.throwIfFailed();
  for (const _ of filters) if (await gpu.wait(device.popErrorScope())) ms = undefined;
  return ms;
}
