import { join } from 'node:path';
import { MowgliError } from './errors.ts';
import type { ModelSource } from './files/open-model.ts';
import type { Model } from './generate/model.ts';
import { Gpu, type GpuCapabilities } from './gpu/device.ts';
import { type LoadOptions, loadModelOn, type TuningMode } from './load.ts';
import { type AdapterChoice, adapterChoices, openDawn } from './node/dawn.ts';
import { findModel } from './node/find-model.ts';
import { bytesFetchedFromStorage, describeMachine } from './node/machine.ts';
import { quietWait } from './node/quiet-wait.ts';
import { nodeShaders } from './node/shaders.ts';
import { cacheFolder, NodeTuningStore } from './node/tuning-store.ts';
import { type Plan, type PlanOptions, planOn } from './plan.ts';
import { type TuneOptions, type TuneReport, tuneOn } from './tune.ts';

export * from './index.ts';
export { type AdapterChoice, adapterChoices } from './node/dawn.ts';
export { findModel } from './node/find-model.ts';
export { NodeFolder } from './node/folder.ts';
export { loadSession, saveSession } from './node/session-files.ts';

export interface NodeLoadOptions extends LoadOptions {
  /** What runs the shaders. Default: the environment variable `MOWGLI_ADAPTER`, or `auto`. */
  adapter?: AdapterChoice;
  /** Overrides of what the adapter reports, to run the kernels that another one would choose. */
  capabilities?: Partial<GpuCapabilities>;
}

/**
 * Loads a model onto the GPU.
 *
 * @param source a Hugging Face folder (config.json, safetensors, tokenizer.json) or a GGUF file, by path
 * or opened
 * @throws MowgliError: `FILE_NOT_FOUND`, `FILE_INVALID`, `CONFIG_UNSUPPORTED` ... when something is
 * wrong with the files; `NO_ADAPTER`, `OUT_OF_MEMORY` with the device; `ABORTED`
 *
 * @example
 * await using model = await loadModel('Qwen3-Coder-30B-A3B-Instruct');
 * for await (const part of model.generate([{ role: 'user', content: 'Hello!' }])) {
 *   if (part.type === 'text') process.stdout.write(part.text);
 * }
 */
export async function loadModel(
  source: string | ModelSource,
  options: NodeLoadOptions = {},
): Promise<Model> {
  const found = typeof source === 'string' ? await findModel(source) : source;
  const tuning = options.tuning ?? tuningFromEnvironment();
  const useStore = options.useStore ?? new NodeTuningStore(join(cacheFolder(), 'experts'));
  const withDefaults = { ...options, tuning, useStore };
  return loadModelOn(() => openGpuInNode(withDefaults), found, withDefaults);
}

/**
 * Measures which variants of the kernels are the fastest on an adapter and remembers it. `loadModel`
 * does that by itself for what is not known yet; this does it anew.
 *
 * @param source a model, as for `loadModel`; undefined for the shapes of Qwen3-Coder-30B-A3B
 * @throws MowgliError as `tuneOn`, and `NO_ADAPTER`
 */
export async function tuneKernels(
  source: string | ModelSource | undefined,
  options: TuneOptions & { adapter?: AdapterChoice } = {},
): Promise<TuneReport> {
  const found = typeof source === 'string' ? await findModel(source) : source;
  return tuneOn(() => openGpuInNode({ ...options, tuning: 'auto' }), found, options);
}

/**
 * What decoding with a model will be like, on this machine or on one that is told of, with more and
 * less GPU memory. Takes some seconds, and no more memory than a few layers of the model.
 *
 * @param source a model, as for `loadModel`
 * @throws MowgliError as `planOn`, and `NO_ADAPTER`
 */
export async function planModel(
  source: string | ModelSource,
  options: PlanOptions & Pick<NodeLoadOptions, 'adapter' | 'tuning'> = {},
): Promise<Plan> {
  const found = typeof source === 'string' ? await findModel(source) : source;
  const { memory } = describeMachine();
  const facts = { memory, fetched: bytesFetchedFromStorage };
  return planOn(() => openGpuInNode(options), found, facts, options);
}

/**
 * A device of the chosen adapter, with this package's shaders, and unless `tuning` is `off` with a
 * place to remember measurements.
 * @throws MowgliError `NO_ADAPTER`, `OPTION_INVALID`
 */
export async function openGpuInNode(
  options: Pick<NodeLoadOptions, 'adapter' | 'capabilities' | 'tuning'> = {},
): Promise<Gpu> {
  const { adapter: choice, tuning = tuningFromEnvironment() } = options;
  if (choice !== undefined && !adapterChoices.includes(choice)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `adapter is '${choice}'; it must be one of ${adapterChoices.join(', ')}`,
    );
  }
  const { adapter, driver } = await openDawn({ adapter: choice });
  return Gpu.open(adapter, {
    shaders: nodeShaders(),
    capabilities: options.capabilities ?? {},
    tuningStore: tuning === 'off' ? undefined : new NodeTuningStore(),
    // The memory of a GPU that is the CPU is that of everything else, too.
    ...(driver.isSoftware && {
      wait: quietWait,
      memory: Math.floor(0.6 * describeMachine().memory.availableBytes),
    }),
  });
}

/** `MOWGLI_TUNING`, the default of the option `tuning`. */
function tuningFromEnvironment(): TuningMode {
  const value = process.env.MOWGLI_TUNING || 'auto';
  if (value === 'auto' || value === 'off') return value;
  throw new MowgliError(
    'OPTION_INVALID',
    `the environment variable MOWGLI_TUNING is '${value}'; it must be auto or off`,
  );
}
