import { MowgliError } from '../errors.ts';
import type { SamplingOptions } from './types.ts';

/** Sampling options with every value decided and checked. Made by {@link resolveSampling}. */
export interface ResolvedSampling {
  /** 0 means greedy. */
  readonly temperature: number;
  /** 0 means all. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** The caller's, or a random one, so that a run can be repeated. */
  readonly seed: number;
}

/** Beyond any logit, and small enough that their float32 sum stays finite. */
const MAX_BIAS = 1e30;

/** What the model's `generation_config.json` says. */
export interface SamplingDefaults {
  /** False means greedy, unless the caller asks for a temperature. */
  readonly doSample?: boolean;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/**
 * Decides every sampling option: the caller's value, else the model's, else the neutral one. With
 * `doSample: false` the model's temperature is 0.
 * @throws MowgliError `OPTION_INVALID` naming the option, its value and what is allowed.
 */
export function resolveSampling(
  options: SamplingOptions = {},
  defaults: SamplingDefaults = {},
): ResolvedSampling {
  const temperature = defaults.doSample === false ? 0 : (defaults.temperature ?? 1);
  return {
    temperature: real('temperature', options.temperature ?? temperature, 0, Number.MAX_VALUE),
    topK: integer('topK', options.topK ?? defaults.topK ?? 0, 0),
    topP: real('topP', options.topP ?? defaults.topP ?? 1, 0, 1),
    minP: real('minP', options.minP ?? defaults.minP ?? 0, 0, 1),
    // Wide, and still far from where a float32 logit could overflow.
    repetitionPenalty: real(
      'repetitionPenalty',
      options.repetitionPenalty ?? defaults.repetitionPenalty ?? 1,
      0.01,
      100,
    ),
    // The range of OpenAI's API, whose options these are.
    presencePenalty: real('presencePenalty', options.presencePenalty ?? 0, -2, 2),
    frequencyPenalty: real('frequencyPenalty', options.frequencyPenalty ?? 0, -2, 2),
    logitBias: biases(options.logitBias),
    seed: integer('seed', options.seed ?? randomSeed(), -Number.MAX_SAFE_INTEGER),
  };
}

function real(option: string, value: number, low: number, high: number): number {
  if (typeof value !== 'number' || !(value >= low && value <= high)) {
    const range = high === Number.MAX_VALUE ? `a finite number from ${low}` : `${low} to ${high}`;
    invalid(option, value, range);
  }
  return value;
}

function integer(option: string, value: number, low: number): number {
  if (!Number.isSafeInteger(value) || value < low) {
    invalid(option, value, `an integer from ${low} to ${Number.MAX_SAFE_INTEGER}`);
  }
  return value;
}

function biases(given: SamplingOptions['logitBias']): ReadonlyMap<number, number> {
  const result = new Map<number, number>();
  if (given === undefined) return result;
  if (typeof given !== 'object' || given === null) {
    invalid('logitBias', given, 'a map from token id to number');
  }
  const entries: Iterable<readonly [unknown, unknown]> =
    given instanceof Map ? given : Object.entries(given);
  for (const [key, bias] of entries) {
    // The keys of a plain object are text.
    const id = typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : key;
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) {
      invalid('logitBias', key, 'token ids (integers from 0) as keys');
    }
    // +Infinity would leave nothing to draw from: the weights of all others would be 0/0.
    const allowed = typeof bias === 'number' && (Math.abs(bias) <= MAX_BIAS || bias === -Infinity);
    if (!allowed) {
      invalid(
        `logitBias[${id}]`,
        bias,
        `-${MAX_BIAS} to ${MAX_BIAS}, or -Infinity to forbid the token`,
      );
    }
    result.set(id, bias);
  }
  return result;
}

function randomSeed(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}

function invalid(option: string, value: unknown, allowed: string): never {
  throw new MowgliError(
    'OPTION_INVALID',
    `${option}: ${typeof value === 'string' ? JSON.stringify(value) : String(value)} is not allowed; pass ${allowed}.`,
  );
}
