import { MowgliError } from './errors.ts';
import type { ModelSource } from './files/open-model.ts';
import type { Model } from './generate/model.ts';
import { Gpu, type GpuCapabilities } from './gpu/device.ts';
import { type LoadOptions, loadModelOn } from './load.ts';
import { type AdapterChoice, adapterChoices, openDawn } from './node/dawn.ts';
import { findModel } from './node/find-model.ts';
import { quietWait } from './node/quiet-wait.ts';
import { nodeShaders } from './node/shaders.ts';

export * from './index.ts';
export { type AdapterChoice, adapterChoices } from './node/dawn.ts';
export { findModel } from './node/find-model.ts';
export { NodeFolder } from './node/folder.ts';

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
  return loadModelOn(() => openGpuInNode(options), found, options);
}

/**
 * A device of the chosen adapter, with this package's shaders.
 * @throws MowgliError `NO_ADAPTER`, `OPTION_INVALID`
 */
export async function openGpuInNode(
  options: { adapter?: AdapterChoice; capabilities?: Partial<GpuCapabilities> } = {},
): Promise<Gpu> {
  const choice = options.adapter;
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
    ...(driver.isSoftware && { wait: quietWait }),
  });
}
