import { describe, expect, it } from 'vitest';
import type { Model } from '../node.ts';
import type { AnswerFlags } from './answer-options.ts';
import { type PromptFlags, readPrompt } from './prompt.ts';

type Flags = PromptFlags & AnswerFlags;

const { signal } = new AbortController();

/** A model as far as prompts are concerned. */
function modelWith(hasTokenizer: boolean): Model {
  const config = { vocabSize: 100, eosTokenIds: [7, 8] };
  return { name: 'small', hasTokenizer, config } as unknown as Model;
}

async function promptOf(argument: string | undefined, flags: Flags, hasTokenizer = false) {
  return (await readPrompt(argument, flags, signal))(modelWith(hasTokenizer));
}

async function tokensOf(flags: PromptFlags): Promise<readonly number[]> {
  return ((await promptOf(undefined, flags)) as { tokens: readonly number[] }).tokens;
}

describe('a prompt of token ids', () => {
  it('is what was given', async () => {
    expect(await promptOf(undefined, { promptTokens: [0, 99, 7] })).toEqual({ tokens: [0, 99, 7] });
  });

  it('may be random, without end tokens, and is the same for the same seed', async () => {
    const one = await tokensOf({ randomPrompt: 2000 });
    expect(one.length).toBe(2000);
    expect(new Set(one).size).toBe(98);
    expect(Math.max(...one)).toBe(99);
    expect(one.some((id) => id === 7 || id === 8)).toBe(false);
    expect(await tokensOf({ randomPrompt: 2000, seed: 0 })).toEqual(one);
    expect(await tokensOf({ randomPrompt: 2000, seed: 1 })).not.toEqual(one);
  });
});

describe('a prompt of text', () => {
  it('goes through the chat template, unless it is raw', async () => {
    expect(await promptOf('Hi', { system: 'Be kind.' }, true)).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Hi' },
    ]);
    expect(await promptOf('Hi', { raw: true }, true)).toBe('Hi');
  });

  it.each([{ model: 'synthetic:tiny' }, { raw: true }])(
    'is refused where there is no tokenizer: %j',
    async (flags) => {
      await expect(promptOf('Hi', flags)).rejects.toThrow(
        /has no tokenizer to read a text with: .*--prompt-tokens 1,2,3, .*--random-prompt 16/,
      );
    },
  );
});

it.each<[string | undefined, Flags, RegExp]>([
  ['x', { randomPrompt: 2 }, /^--random-prompt is a whole prompt .* for the prompt:/],
  [undefined, { randomPrompt: 2, raw: true }, /^--random-prompt is .* for --raw:/],
  [undefined, { promptTokens: [1], system: 'x' }, /^--prompt-tokens is .* for --system:/],
  [
    undefined,
    { promptTokens: [1], randomPrompt: 2 },
    /^--prompt-tokens is .* for --random-prompt:/,
  ],
  [undefined, { promptTokens: [1, 100] }, /^--prompt-tokens holds 100; .* end at 99$/],
  ['x', { raw: true, system: 'y' }, /^--system has no place in a --raw prompt/],
  ['x', { raw: true, tools: 'y' }, /^--tools has no place in a --raw prompt/],
  ['x', { raw: true, jsonSchema: '{}' }, /^--json-schema has no place in a --raw prompt/],
  [undefined, { promptTokens: [1], tools: 'x' }, /^--prompt-tokens is .* for --tools:/],
  [undefined, { randomPrompt: 2, toolChoice: 'none' }, /^--random-prompt .* for --tool-choice:/],
  [undefined, {}, /^the prompt is missing/],
  ['', {}, /^the prompt is empty/],
])('%j with %j is a usage error', async (argument, flags, message) => {
  const error = await promptOf(argument, flags, true).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'OPTION_INVALID' });
  expect(error.message).toMatch(message);
});
