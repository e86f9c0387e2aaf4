import type { GenerateOptions } from '../index.ts';
import { badField } from './api-error.ts';
import { describe, type Fields } from './fields.ts';

/** Reads how tokens are chosen and what ends the answer: the fields that both kinds of requests have. */
export function readSampling(body: Fields, vocabSize: number): GenerateOptions {
  refuseSeveral(body);
  return present({
    temperature: body.number('temperature', { min: 0, max: 2 }),
    topP: body.number('top_p', { min: 0, max: 1 }),
    topK: readTopK(body),
    minP: body.number('min_p', { min: 0, max: 1 }),
    repetitionPenalty: body.number('repetition_penalty', { min: 0.01, max: 100 }),
    presencePenalty: body.number('presence_penalty', { min: -2, max: 2 }),
    frequencyPenalty: body.number('frequency_penalty', { min: -2, max: 2 }),
    logitBias: readBias(body, vocabSize),
    seed: readSeed(body),
    stop: readStop(body),
  });
}

/** Leaves out what is `undefined`: the model's own defaults apply to it. */
export function present<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** One request is one answer. */
function refuseSeveral(body: Fields): void {
  const n = body.integer('n', { min: 1 });
  if (n === undefined || n === 1) return;
  throw badField('n', `is ${n}; only 1 answer at a time is supported`, 'unsupported_value');
}

/**
 * A seed is an integer of 64 bits to OpenAI's API; what the sampler does not take is folded into what it
 * does. As numbers of JSON such large ones end in zeros: the modulus is odd, and keeps them apart.
 */
function readSeed(body: Fields): number | undefined {
  const seed = body.integer('seed', { min: -Infinity, max: Infinity });
  if (seed === undefined || Number.isSafeInteger(seed)) return seed;
  return seed % Number.MAX_SAFE_INTEGER;
}

/** Other servers take -1 for all tokens. */
function readTopK(body: Fields): number | undefined {
  const topK = body.integer('top_k', { min: -1 });
  return topK === -1 ? 0 : topK;
}

function readStop(body: Fields): readonly string[] | undefined {
  const { value, path } = body.item('stop');
  if (value === undefined) return undefined;
  const items =
    typeof value === 'string' ? [{ value, path }] : (body.list('stop', { max: 4 }) ?? []);
  return items.map((item) => {
    if (typeof item.value !== 'string') {
      throw badField(item.path, `must be a string, not ${describe(item.value)}`, 'invalid_type');
    }
    if (item.value === '') throw badField(item.path, 'must not be empty', 'invalid_value');
    return item.value;
  });
}

function readBias(body: Fields, vocabSize: number): ReadonlyMap<number, number> | undefined {
  const fields = body.object('logit_bias');
  if (!fields) return undefined;
  const bias = new Map<number, number>();
  for (const key of Object.keys(fields.value)) {
    const id = /^\d{1,9}$/.test(key) ? Number(key) : Number.NaN;
    if (!(id < vocabSize)) {
      throw badField(
        'logit_bias',
        `has the key '${key.slice(0, 40)}'; keys are token ids from 0 to ${vocabSize - 1}`,
        'invalid_value',
      );
    }
    bias.set(id, fields.required(key, fields.number(key, { min: -100, max: 100 })));
  }
  return bias;
}
