import { Fields } from './json.ts';

/** What a model's `generation_config.json` says about sampling. Absent: the file does not say. */
export interface GenerationDefaults {
  /** False means greedy, whatever the other fields say. */
  readonly doSample?: boolean;
  readonly temperature?: number;
  /** Keep the k most likely tokens; 0 = all. */
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/**
 * The sampling fields of `generation_config.json`; `{}` when there is no such file (undefined).
 * Fields that this library has no sampler for are passed over.
 * @throws MowgliError `CONFIG_INVALID` for a wrong type or range.
 */
export function generationDefaults(
  generationConfigJson: unknown,
  fileName = 'generation_config.json',
): GenerationDefaults {
  if (generationConfigJson === undefined) return {};
  const fields = new Fields(generationConfigJson, fileName);
  return {
    ...(fields.has('do_sample') && { doSample: fields.boolean('do_sample') }),
    ...(fields.has('temperature') && { temperature: fields.number('temperature', { min: 0 }) }),
    ...(fields.has('top_k') && { topK: fields.integer('top_k', { min: 0 }) }),
    ...(fields.has('top_p') && { topP: fields.number('top_p', { min: 0, max: 1 }) }),
    ...(fields.has('min_p') && { minP: fields.number('min_p', { min: 0, max: 1 }) }),
    ...(fields.has('repetition_penalty') && {
      repetitionPenalty: fields.positive('repetition_penalty'),
    }),
  };
}
