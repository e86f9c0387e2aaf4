import { MowgliError } from '../errors.ts';
import type { ByteFolder, OpenOptions } from './byte-source.ts';
import { checkTensors } from './expected-tensors.ts';
import { Fp8Store } from './fp8-store.ts';
import { type GenerationDefaults, generationDefaults } from './generation-defaults.ts';
import { readJson, readText } from './json.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import { openSafetensors } from './safetensors.ts';
import type { TensorStore } from './tensors.ts';

/** A model's files, opened and checked: everything but the meaning of the tokenizer's. */
export interface Checkpoint {
  /** What to call it in messages: the folder. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly generationDefaults: GenerationDefaults;
  /**
   * Exactly the tensors of the configuration, with its shapes, besides ignorable ones. A weight in FP8
   * and its scales are one tensor, of type F8_B128.
   */
  readonly tensors: TensorStore;
  /** `tokenizer.json`, parsed but not checked; undefined when there is none. */
  readonly tokenizerJson: unknown;
  /** `tokenizer_config.json`, parsed but not checked; undefined when there is none. */
  readonly tokenizerConfig: unknown;
  /** The text of `chat_template.jinja`; undefined when there is none. */
  readonly chatTemplateFile: string | undefined;
  /** Closes the weights. Closing again does nothing. */
  close(): Promise<void>;
}

/**
 * Opens a model as Hugging Face lays it out: `config.json` and safetensors files, and if they are
 * there `generation_config.json`, `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`.
 * Reads the small files and the headers, no weights. A tokenizer is not needed to open a model.
 *
 * @throws MowgliError `FILE_NOT_FOUND` when `config.json` or weights are absent, `FILE_INVALID` when a
 * file is malformed, and what `parseModelConfig`, `generationDefaults`, `openSafetensors` and
 * `checkTensors` throw. Nothing stays open after a failure.
 */
export async function openCheckpoint(
  folder: ByteFolder,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const configJson = await readJson(folder, 'config.json', options);
  if (configJson === undefined) {
    throw new MowgliError(
      'FILE_NOT_FOUND',
      `${folder.name} has no config.json; point to the folder of a Hugging Face model, with its config.json and safetensors files`,
    );
  }
  const generationJson = await readJson(folder, 'generation_config.json', options);
  const config = parseModelConfig(configJson, generationJson, `${folder.name}/config.json`);
  const defaults = generationDefaults(generationJson, `${folder.name}/generation_config.json`);
  const tokenizerJson = await readJson(folder, 'tokenizer.json', options);
  const tokenizerConfig = await readJson(folder, 'tokenizer_config.json', options);
  const chatTemplateFile = await readText(folder, 'chat_template.jinja', options);

  const inFiles = await openSafetensors(folder, options);
  try {
    checkTensors(config, inFiles.tensors, folder.name);
  } catch (error) {
    await inFiles.close().catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
  const tensors = config.fp8 ? new Fp8Store(inFiles) : inFiles;
  return {
    name: folder.name,
    config,
    generationDefaults: defaults,
    tensors,
    tokenizerJson,
    tokenizerConfig,
    chatTemplateFile,
    close: () => tensors.close(),
  };
}
