import { MowgliError } from '../errors.ts';
import { Fields, isJsonObject, show } from './json.ts';

/** YaRN context extension (Peng et al. 2023, arXiv:2309.00071), as in Hugging Face's `rope_scaling`. */
export interface YarnConfig {
  readonly factor: number;
  /** Context length, in tokens, that the model was trained at. */
  readonly originalMaxPositionEmbeddings: number;
  /** Multiplies cos and sin; `0.1 ln(factor) + 1` when the file does not say. */
  readonly attentionFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the correction range is rounded outwards to whole dimensions (Hugging Face's default). */
  readonly truncate: boolean;
}

/** The rotary position embedding that a `config.json` asks for. */
export interface RopeConfig {
  readonly ropeTheta: number;
  readonly yarn: YarnConfig | undefined;
  /** Longest context, in tokens, that the file claims. */
  readonly maxPositionEmbeddings: number;
}

/** Hugging Face's default for this architecture. */
const defaultTheta = 10_000;

/** The same in files written before and after transformers 5. */
const spellings = ['rope_scaling', 'rope_parameters'] as const;

const commonKeys = ['type', 'rope_type', 'rope_theta', 'partial_rotary_factor'];
const yarnKeys = [
  'factor',
  'original_max_position_embeddings',
  'attention_factor',
  'beta_fast',
  'beta_slow',
  'mscale',
  'mscale_all_dim',
  'truncate',
];

/**
 * Reads `rope_theta`, and `rope_scaling` or the newer `rope_parameters` (which holds `rope_theta`
 * too), with the meaning they have in Hugging Face's `modeling_rope_utils.py`. What is said in
 * several places must agree. Unlike there, an unknown key is an error: it would change the angles.
 *
 * `maxPositionEmbeddings` is what the file says or, when YaRN with an explicit original length
 * reaches further, that length times the factor: Qwen's recipe leaves `max_position_embeddings` alone.
 *
 * @throws MowgliError `CONFIG_INVALID`, or `CONFIG_UNSUPPORTED` for other kinds of scaling.
 */
export function parseRope(config: Fields): RopeConfig {
  const claimed = config.integer('max_position_embeddings', { max: 2 ** 31 - 1 }, 32768);
  const given = spellings.flatMap((key) => {
    const value = config.value(key);
    if (value === undefined || (isJsonObject(value) && Object.keys(value).length === 0)) return [];
    return [new Fields(value, `${config.where}: ${key}`)];
  });

  const ropeTheta = agree(
    [config, ...given].flatMap((fields) =>
      fields.has('rope_theta')
        ? [{ where: fields.where, value: fields.positive('rope_theta') }]
        : [],
    ),
    'rope_theta',
  );
  const yarn = agree(
    given.map((fields) => ({ where: fields.where, value: parseScaling(fields, config, claimed) })),
    'the scaling',
  );
  const explicit = given.some((fields) => fields.has('original_max_position_embeddings'));
  const reach = yarn && explicit ? Math.floor(yarn.originalMaxPositionEmbeddings * yarn.factor) : 0;
  return {
    ropeTheta: ropeTheta ?? defaultTheta,
    yarn,
    maxPositionEmbeddings: Math.max(claimed, reach),
  };
}

/** The one value that all places give; `undefined` if there are no places. */
function agree<T>(places: readonly { where: string; value: T }[], what: string): T | undefined {
  for (const { where, value } of places) {
    if (JSON.stringify(value) !== JSON.stringify(places[0].value)) {
      throw new MowgliError(
        'CONFIG_INVALID',
        `${places[0].where} and ${where} contradict each other about ${what}; make them say the same, or remove one`,
      );
    }
  }
  return places[0]?.value;
}

function parseScaling(
  fields: Fields,
  config: Fields,
  maxPositionEmbeddings: number,
): YarnConfig | undefined {
  const type = scalingType(fields);
  const keys = type === 'yarn' ? [...commonKeys, ...yarnKeys] : commonKeys;
  const unknown = fields.keys().filter((key) => !keys.includes(key));
  if (unknown.length > 0) {
    throw new MowgliError(
      'CONFIG_UNSUPPORTED',
      `${fields.where}: ${unknown.join(', ')} ${unknown.length > 1 ? 'are' : 'is'} not known for type "${type}"; known are ${keys.join(', ')}`,
    );
  }
  if (fields.number('partial_rotary_factor', {}, 1) !== 1) {
    throw fields.wrong(
      'partial_rotary_factor',
      '1, as nothing else is supported',
      'CONFIG_UNSUPPORTED',
    );
  }
  return type === 'yarn' ? parseYarn(fields, config, maxPositionEmbeddings) : undefined;
}

function scalingType(fields: Fields): 'default' | 'yarn' {
  const olderType = fields.optionalString('type');
  const type = fields.optionalString('rope_type') ?? olderType;
  if (olderType !== undefined && olderType !== type) {
    throw fields.wrong('type', `the same as rope_type (${show(type)})`);
  }
  if (type === undefined) {
    // transformers 5 leaves out the type of a plain rope_parameters; scaling without one is a slip.
    if (!fields.keys().some((key) => yarnKeys.includes(key))) return 'default';
    throw fields.wrong('rope_type', '"default" or "yarn"');
  }
  if (type === 'default' || type === 'yarn') return type;
  const key = fields.has('rope_type') ? 'rope_type' : 'type';
  throw fields.wrong(key, '"default" or "yarn", the kinds supported', 'CONFIG_UNSUPPORTED');
}

/** As `_compute_yarn_parameters` in transformers' `modeling_rope_utils.py`, version 4.57. */
function parseYarn(fields: Fields, config: Fields, maxPositionEmbeddings: number): YarnConfig {
  const factor = fields.number('factor', { min: 1 });
  const betaFast = fields.positive('beta_fast', 32);
  const betaSlow = fields.positive('beta_slow', 1);
  if (betaFast < betaSlow) throw fields.wrong('beta_fast', `at least beta_slow (${betaSlow})`);
  // Some configs keep the original length outside of the scaling, and transformers 5 prefers that.
  const key = 'original_max_position_embeddings';
  const original = agree(
    [fields, config].flatMap((place) =>
      place.has(key) ? [{ where: place.where, value: place.integer(key) }] : [],
    ),
    key,
  );
  return {
    factor,
    originalMaxPositionEmbeddings: original ?? maxPositionEmbeddings,
    attentionFactor: fields.has('attention_factor')
      ? fields.positive('attention_factor')
      : defaultAttentionFactor(fields, factor),
    betaFast,
    betaSlow,
    truncate: fields.boolean('truncate', true),
  };
}

function defaultAttentionFactor(fields: Fields, factor: number): number {
  const scale = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const mscale = fields.number('mscale', { min: 0 }, 0);
  const mscaleAllDim = fields.number('mscale_all_dim', { min: 0 }, 0);
  // DeepSeek's pair of corrections: it takes both of them to replace the paper's.
  return mscale && mscaleAllDim ? scale(mscale) / scale(mscaleAllDim) : scale(1);
}
