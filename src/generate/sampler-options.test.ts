import { describe, expect, it } from 'vitest';
import { MowgliError } from '../errors.ts';
import { resolveSampling } from './sampler-options.ts';
import type { SamplingOptions } from './types.ts';

describe('resolveSampling', () => {
  it('is neutral without options and model', () => {
    const { seed, ...rest } = resolveSampling();
    expect(rest).toEqual({
      temperature: 1,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: new Map(),
    });
    expect(Number.isSafeInteger(seed)).toBe(true);
  });

  it('draws a fresh seed each time', () => {
    expect(resolveSampling().seed).not.toBe(resolveSampling().seed);
  });

  it('takes the model’s values, and the caller’s before them', () => {
    const model = {
      doSample: true,
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
    };
    expect(resolveSampling({}, model)).toMatchObject({
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
    });
    expect(resolveSampling({ temperature: 0, topK: 0, topP: 1, seed: 5 }, model)).toMatchObject({
      temperature: 0,
      topK: 0,
      topP: 1,
      repetitionPenalty: 1.05,
      seed: 5,
    });
  });

  it('is greedy for a model that does not sample, unless asked', () => {
    const model = { doSample: false, temperature: 0.7 };
    expect(resolveSampling({}, model).temperature).toBe(0);
    expect(resolveSampling({ temperature: 0.3 }, model).temperature).toBe(0.3);
  });

  it('takes biases as a map or an object', () => {
    const expected = new Map([
      [7, -Infinity],
      [9, 2.5],
    ]);
    expect(resolveSampling({ logitBias: { 7: -Infinity, 9: 2.5 } }).logitBias).toEqual(expected);
    expect(resolveSampling({ logitBias: expected }).logitBias).toEqual(expected);
  });

  const wrong: [string, SamplingOptions, RegExp][] = [
    ['temperature', { temperature: -0.1 }, /temperature: -0\.1 .* finite number from 0/],
    ['temperature NaN', { temperature: Number.NaN }, /temperature: NaN/],
    ['temperature infinite', { temperature: Infinity }, /temperature: Infinity/],
    ['temperature text', { temperature: '1' as never }, /temperature: "1"/],
    ['topK', { topK: 1.5 }, /topK: 1\.5 .* integer from 0/],
    ['topK negative', { topK: -1 }, /topK: -1/],
    ['topP', { topP: 1.01 }, /topP: 1\.01 .* 0 to 1/],
    ['minP', { minP: -0.01 }, /minP: -0\.01 .* 0 to 1/],
    ['repetitionPenalty', { repetitionPenalty: 0 }, /repetitionPenalty: 0 .* 0\.01 to 100/],
    ['presencePenalty', { presencePenalty: 2.1 }, /presencePenalty: 2\.1 .* -2 to 2/],
    ['frequencyPenalty', { frequencyPenalty: -3 }, /frequencyPenalty: -3 .* -2 to 2/],
    ['seed', { seed: 0.5 }, /seed: 0\.5 .* integer/],
    ['bias of nothing', { logitBias: { x: 1 } as never }, /logitBias: "x" .* token ids/],
    ['bias of a negative id', { logitBias: new Map([[-1, 1]]) }, /logitBias: -1/],
    ['bias NaN', { logitBias: { 5: Number.NaN } }, /logitBias\[5\]: NaN .* -Infinity/],
    ['bias +Infinity', { logitBias: { 5: Infinity } }, /logitBias\[5\]: Infinity/],
    ['biases no map', { logitBias: 3 as never }, /logitBias: 3 .* map/],
  ];
  it.each(wrong)('rejects %s', (_, options, message) => {
    let error: unknown;
    try {
      resolveSampling(options);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(MowgliError);
    expect((error as MowgliError).code).toBe('OPTION_INVALID');
    expect((error as MowgliError).message).toMatch(message);
  });
});
