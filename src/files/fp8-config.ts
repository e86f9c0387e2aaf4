import { MowgliError } from '../errors.ts';
import { Fields, show } from './json.ts';

/** Rows and columns of weights that share a scale. */
export const fp8Block = 128;

/** What `quantization_config` says of a checkpoint in block-scaled FP8. */
export interface Fp8Config {
  /** Modules whose weights are not FP8 (`modules_to_not_convert`), such as `model.layers.0.mlp.gate`. */
  readonly notConverted: readonly string[];
}

/** What the messages for all that is not this one kind of FP8 end with. */
const cure = `use FP8 with weight_block_size [${fp8Block}, ${fp8Block}], as Qwen publishes it, or the checkpoint in BF16, F16 or F32`;

/**
 * Reads the `quantization_config` of a Hugging Face `config.json`; `undefined` when the weights are
 * not quantised. The one kind that is read is DeepSeek's, in which Qwen publishes FP8: weights in
 * e4m3fn, a scale for each 128 x 128 of them. Activations stay f32 here, whatever `activation_scheme`
 * other engines are to round them by; `dynamic` says that the file holds no scales for them.
 *
 * @throws MowgliError `CONFIG_UNSUPPORTED` for every other method, block size and number format;
 * `CONFIG_INVALID` when the section is malformed.
 */
export function parseFp8(fields: Fields): Fp8Config | undefined {
  if (fields.has('compression_config')) {
    throw unsupported(fields.where, 'compression_config', 'it is there');
  }
  if (!fields.has('quantization_config')) return undefined;
  const where = `${fields.where}: quantization_config`;
  const section = new Fields(fields.value('quantization_config'), where);
  const method = section.value('quant_method');
  if (method !== 'fp8') throw unsupported(where, 'quant_method', show(method));

  const required = (key: string, value: unknown, isRead: boolean) => {
    if (!isRead) throw unsupported(where, `quant_method "fp8" with ${key}`, show(value));
  };
  const size = section.value('weight_block_size');
  const isBlock = Array.isArray(size) && size.length === 2 && size.every((n) => n === fp8Block);
  required('weight_block_size', size, isBlock);
  const scheme = section.value('activation_scheme');
  required('activation_scheme', scheme, scheme === undefined || scheme === 'dynamic');
  const format = section.value('fmt');
  required('fmt', format, format === undefined || format === 'e4m3');

  const modules = section.value('modules_to_not_convert') ?? [];
  if (!Array.isArray(modules) || !modules.every((name) => typeof name === 'string')) {
    throw section.wrong('modules_to_not_convert', 'a list of module names');
  }
  return { notConverted: modules as string[] };
}

function unsupported(where: string, key: string, value: string): MowgliError {
  return new MowgliError(
    'CONFIG_UNSUPPORTED',
    `${where}: the weights are quantised in a way that is not read (${key} ${value}); ${cure}`,
  );
}
