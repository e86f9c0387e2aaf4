import { MowgliError } from '../errors.ts';
import type { NumberType } from '../quant/index.ts';
import type { Checkpoint } from './checkpoint.ts';
import { generationDefaults } from './generation-defaults.ts';
import { isJsonObject, show } from './json.ts';
import { parseModelConfig } from './model-config.ts';
import { presetNames, presets } from './presets.ts';
import { type SyntheticOptions, SyntheticStore, syntheticTypes } from './synthetic.ts';

/** A model without a file: a configuration, and how to make its weights. */
export interface SyntheticModel extends SyntheticOptions {
  /** What to call it in messages. */
  readonly name: string;
  /** What its `config.json` would hold. */
  readonly configJson: unknown;
  /** What its `generation_config.json` would hold; undefined without one. */
  readonly generationConfigJson?: unknown;
}

/** The small files of a model that its configuration comes from. */
export type ConfigFiles = Pick<SyntheticModel, 'configJson' | 'generationConfigJson'>;

const prefix = 'synthetic:';

/** Whether a model's name asks for synthetic weights. */
export function isSynthetic(name: string): boolean {
  return name.startsWith(prefix);
}

/**
 * The model that a name such as `synthetic:qwen3-coder-480b?type=q4_k&seed=1&layers=4` asks for: a preset
 * or the path of a `config.json`, and options, each at most once:
 *
 *     type=q4_k         number format of all matrices (default bf16); fp8 stands for F8_B128
 *     experts_type=...  another one for the experts
 *     down_type=...     another one for the down projections
 *     embed_type=...    another one for embedding and output
 *     seed=1            other weights (default 0)
 *     layers=4          another number of layers than the configuration's
 *
 * @param readConfig reads the files of a configuration that is no preset; `undefined` when nothing is
 * at the path. Without it there are presets only.
 * @throws MowgliError `OPTION_INVALID` for an unknown name or option, and what `readConfig` throws
 */
export async function syntheticModel(
  name: string,
  readConfig: (path: string) => Promise<ConfigFiles | undefined> = async () => undefined,
): Promise<SyntheticModel> {
  const rest = isSynthetic(name) ? name.slice(prefix.length) : name;
  const mark = rest.lastIndexOf('?');
  const place = mark < 0 ? rest : rest.slice(0, mark);
  const { layers, ...options } = parseOptions(name, mark < 0 ? '' : rest.slice(mark + 1));
  const preset = Object.hasOwn(presetNames, place) ? presets[presetNames[place]] : undefined;
  const files = preset ?? (place === '' ? undefined : await readConfig(place));
  if (files === undefined) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${name}: ${show(place)} is neither a preset nor a file; name one of ${Object.keys(presetNames).join(', ')}, or the path of a config.json`,
    );
  }
  const { configJson, generationConfigJson } = files;
  return {
    name,
    configJson:
      layers !== undefined && isJsonObject(configJson)
        ? { ...configJson, num_hidden_layers: layers }
        : configJson,
    generationConfigJson,
    ...options,
  };
}

/**
 * Opens a model without a file, as one with files is opened. It has no tokenizer.
 * @throws MowgliError what `parseModelConfig`, `generationDefaults` and `SyntheticStore` throw
 */
export function openSynthetic(model: SyntheticModel): Checkpoint {
  const { name, configJson, generationConfigJson } = model;
  const config = parseModelConfig(configJson, generationConfigJson, name);
  const tensors = new SyntheticStore(config, model);
  return {
    name,
    config,
    generationDefaults: generationDefaults(generationConfigJson, name),
    tensors,
    tokenizerJson: undefined,
    tokenizerConfig: undefined,
    chatTemplateFile: undefined,
    close: () => tensors.close(),
  };
}

const typeOptions = {
  type: 'type',
  experts_type: 'expertsType',
  down_type: 'downType',
  embed_type: 'embedType',
} as const;

const optionNames = [...Object.keys(typeOptions), 'seed', 'layers'];

function parseOptions(name: string, query: string): SyntheticOptions & { layers?: number } {
  const options: SyntheticOptions & { layers?: number } = {};
  const seen = new Set<string>();
  for (const [key, value] of new URLSearchParams(query)) {
    const fail = (problem: string) => new MowgliError('OPTION_INVALID', `${name}: ${problem}`);
    if (!optionNames.includes(key)) {
      throw fail(`there is no option ${show(key)}; the options are ${optionNames.join(', ')}`);
    }
    if (seen.has(key)) throw fail(`${key} is given twice; give it once`);
    seen.add(key);
    if (key === 'seed' || key === 'layers') {
      const [least, most] = key === 'seed' ? [0, 2 ** 32 - 1] : [1, 1024];
      const number = /^\d{1,10}$/.test(value) ? Number(value) : -1;
      if (number < least || number > most) {
        throw fail(`${key} is ${show(value)}; it must be a whole number from ${least} to ${most}`);
      }
      options[key] = number;
      continue;
    }
    const type = parseSyntheticType(value);
    if (type === undefined) {
      throw fail(`${key} is ${show(value)}; it must be one of ${syntheticTypes.join(', ')}`);
    }
    options[typeOptions[key as keyof typeof typeOptions]] = type;
  }
  return options;
}

/** A number format by its name, in any case; `undefined` when weights cannot be made in it. */
export function parseSyntheticType(text: string): NumberType | undefined {
  const upper = text.toUpperCase();
  const wanted = upper === 'FP8' ? 'F8_B128' : upper;
  return syntheticTypes.find((type) => type === wanted);
}
