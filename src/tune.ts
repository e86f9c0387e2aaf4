import { MowgliError } from './errors.ts';
import { expectedTensors } from './files/expected-tensors.ts';
import { parseModelConfig } from './files/model-config.ts';
import { type ModelSource, openModel } from './files/open-model.ts';
import { presets } from './files/presets.ts';
import { saveTuning } from './generate/tuning.ts';
import type { LoadProgress } from './generate/types.ts';
import type { Gpu } from './gpu/device.ts';
import { Tuning, tuningScope } from './gpu/tuning.ts';
import { classKey, type KernelClass } from './kernels/kernel-class.ts';
import type { KvType } from './kernels/kv-cache.ts';
import type { ActivationType } from './kernels/matrix.ts';
import { measureClasses } from './kernels/tune.ts';
import { variantsOf } from './kernels/tune-cases.ts';
import { defaultActivations, defaultChunk } from './load.ts';
import { kernelClasses } from './model/kernel-classes.ts';
import { formatBytes, type NumberType, numberFormats } from './quant/index.ts';

/** Number formats measured when no model is named: those of the files that most people run. */
const usualTypes: readonly NumberType[] = ['Q4_K', 'Q6_K'];

/** Milliseconds for one class: whoever asks for a measurement waits for slow compilers, too. */
const classBudgetMs = 30_000;

export interface TuneOptions {
  /** Without a model: the number formats to measure the shapes of Qwen3-Coder-30B-A3B with. */
  types?: readonly string[];
  /** Tokens of a prompt evaluated at a time, as in `LoadOptions`. */
  chunk?: number;
  kvType?: KvType;
  activations?: ActivationType;
  onProgress?: (progress: LoadProgress) => void;
  /** Ends the measurement: `ABORTED` is thrown, and what was measured by then is remembered. */
  signal?: AbortSignal;
}

/** What was measured. */
export interface TuneReport {
  /** The device, its driver and the features in use, for which this holds. */
  readonly adapter: string;
  readonly classes: readonly TuneResult[];
}

/** One class of shapes: a kernel, a number format, and sizes up to a factor of 1.4. */
export interface TuneResult {
  readonly kernel: string;
  readonly format: string;
  readonly rows: number;
  readonly columns: number;
  readonly tokens: number;
  /** Milliseconds of a run with each variant; null where it failed or its turn never came. */
  readonly ms: Readonly<Record<string, number | null>>;
  readonly chosen: string;
  /** What would run without a measurement. */
  readonly rule: string;
}

/**
 * Measures which variants of the kernels are the fastest on a GPU, whether or not that is known
 * already, and remembers it in the GPU's `tuningStore` for later loads. The GPU is disposed of.
 *
 * @param source the model whose kernels to measure; undefined for the shapes of Qwen3-Coder-30B-A3B
 * @throws MowgliError `OPTION_INVALID`, `WRITE_FAILED`, `ABORTED`, and what is wrong with the files
 * or the device
 */
export async function tuneOn(
  openGpu: () => Promise<Gpu>,
  source: ModelSource | undefined,
  options: TuneOptions = {},
): Promise<TuneReport> {
  const gpu = await openGpu();
  try {
    const { activations = defaultActivations(gpu) } = options;
    const classes = await classesOf(source, { ...options, activations });
    const measured = new Tuning();
    const { signal, onProgress } = options;
    try {
      await measureClasses(gpu, measured, classes, {
        classBudgetMs,
        budgetMs: Number.POSITIVE_INFINITY,
        signal,
        onProgress: onProgress && ((done, total) => onProgress({ phase: 'tuning', done, total })),
      });
    } finally {
      if (gpu.tuningStore && measured.size > 0) await saveTuning(gpu, gpu.tuningStore, measured);
    }
    return { adapter: tuningScope(gpu).adapter, classes: classes.flatMap(resultOf(gpu, measured)) };
  } finally {
    gpu.dispose();
  }
}

async function classesOf(
  source: ModelSource | undefined,
  options: TuneOptions & { activations: ActivationType },
): Promise<KernelClass[]> {
  const { types = usualTypes, signal } = options;
  const { chunk = defaultChunk, kvType = 'f32', activations } = options;
  const run = { chunk, kvType, activations };
  if (source) {
    const checkpoint = await openModel(source, signal ? { signal } : {});
    try {
      return kernelClasses(checkpoint.config, checkpoint.tensors.tensors, run);
    } finally {
      await checkpoint.close();
    }
  }
  const { configJson, generationConfigJson } = presets.coder30b;
  const config = parseModelConfig(configJson, generationConfigJson, 'Qwen3-Coder-30B-A3B');
  const classes = new Map<string, KernelClass>();
  for (const type of types.map(knownType)) {
    const tensors = [...expectedTensors(config)].map((tensor) => {
      const elements = tensor.shape.reduce((product, size) => product * size, 1);
      return [tensor.name, { ...tensor, type, bytes: formatBytes(type, elements) }] as const;
    });
    for (const each of kernelClasses(config, new Map(tensors), run)) {
      classes.set(classKey(each), each);
    }
  }
  return [...classes.values()];
}

function resultOf(gpu: Gpu, measured: Tuning) {
  return (kernelClass: KernelClass): TuneResult[] => {
    const tuned = measured.get(classKey(kernelClass));
    if (!tuned) return [];
    const { rule } = variantsOf(gpu, kernelClass);
    return [{ ...kernelClass, ms: tuned.ms, chosen: tuned.variant, rule }];
  };
}

function knownType(name: string): NumberType {
  if (Object.hasOwn(numberFormats, name)) return name as NumberType;
  const known = Object.keys(numberFormats).join(', ');
  throw new MowgliError('OPTION_INVALID', `types: '${name}' is not one of ${known}`);
}
