import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { ChatTemplate } from '../text/chat-template.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { OwnTurns } from './own-turns.ts';
import type { ChatMessage } from './types.ts';

const read = (file: string) =>
  readFileSync(new URL(`../../models/tiny-coder/${file}`, import.meta.url), 'utf8');
const tokenizer = Tokenizer.parse(read('tokenizer.json'), read('tokenizer_config.json'));
const template = ChatTemplate.fromTokenizerConfig(JSON.parse(read('tokenizer_config.json')))!;
const endTokens = [tokenizer.idOf('<|im_end|>')!, tokenizer.idOf('<|endoftext|>')!];

const prompt = (messages: readonly ChatMessage[]) => template.render(messages);
const history = (messages: readonly ChatMessage[]) =>
  template.render(messages, { addGenerationPrompt: false });

const words = [
  'if x:\n    y',
  ' größe',
  '<b>',
  '\n\n',
  'naïve',
  ' <|im_start|>',
  '1234',
  '🙂',
  ' the',
];
const text = (random: Random) =>
  Array.from({ length: 1 + random.below(6) }, () => words[random.below(words.length)]).join('');

/** Tokens that stand for a text, but are not those that the tokenizer makes of it. */
function cutAnyhow(random: Random, answer: string): number[] {
  const tokens: number[] = [];
  for (let at = 0; at < answer.length; ) {
    let end = at + 1 + random.below(4);
    if (/[\ud800-\udbff]/.test(answer[end - 1] ?? '')) end++;
    tokens.push(...tokenizer.encode(answer.slice(at, end), { addedTokens: 'text' }));
    at = end;
  }
  return tokens;
}

interface Spoken {
  readonly messages: ChatMessage[];
  readonly tokens: number[];
}

/** Two exchanges more: what the model says goes into `turns`. */
function talk(random: Random, turns: OwnTurns, messages: ChatMessage[]): Spoken {
  messages.push({ role: 'user', content: text(random) });
  const rendered = prompt(messages);
  const before = turns.encode(rendered);
  const content = text(random);
  const tokens = cutAnyhow(random, content);
  messages.push({ role: 'assistant', content });
  expect(turns.keep({ prompt: rendered, rendered: history(messages), tokens })).toBe(true);
  return { messages, tokens: [...before, ...tokens] };
}

describe('OwnTurns', () => {
  it('begins each prompt with the very tokens of the one before and of its answer', () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(`own turns ${seed}`);
      const turns = new OwnTurns(tokenizer, endTokens, 1e6);
      const messages: ChatMessage[] = [{ role: 'system', content: text(random) }];
      for (let turn = 0; turn < 5; turn++) {
        const { tokens } = talk(random, turns, messages);
        const next = [...messages, { role: 'user', content: 'And?' } as const];
        const encoded = turns.encode(prompt(next));
        expect(encoded.slice(0, tokens.length), `seed ${seed}`).toEqual(tokens);
        expect(tokenizer.decode(encoded), `seed ${seed}`).toBe(prompt(next));
      }
    }
  });

  it('cuts only what is new in a prompt', () => {
    const random = new Random('only what is new');
    const turns = new OwnTurns(tokenizer, endTokens, 1e6);
    const messages: ChatMessage[] = [{ role: 'system', content: 'Be brief. '.repeat(50) }];
    for (let turn = 0; turn < 4; turn++) {
      messages.push({ role: 'user', content: `Question ${turn}: ${'what? '.repeat(40)}` });
      talk(random, turns, messages);
    }
    messages.push({ role: 'user', content: 'And now?' });
    const cut = vi.spyOn(tokenizer, 'encodeInSteps');
    const encoded = turns.encode(prompt(messages));
    const asked = cut.mock.calls.map(([text]) => text);
    cut.mockRestore();
    expect(tokenizer.decode(encoded)).toBe(prompt(messages));
    // And what is too short to be remembered.
    expect(asked.filter((text) => text.length >= 64)).toEqual([
      expect.stringMatching(/^<\|im_end\|>\n<\|im_start\|>user\nAnd now\?<\|im_end\|>[^?]*$/),
    ]);
  });

  it('cuts what it did not say as the tokenizer does', () => {
    const random = new Random('foreign');
    const turns = new OwnTurns(tokenizer, endTokens, 1e6);
    const { messages } = talk(random, turns, [{ role: 'user', content: 'Hello' }]);
    const elsewhere: ChatMessage[] = [{ role: 'user', content: 'Hullo' }, ...messages.slice(1)];
    expect(turns.encode(prompt(elsewhere))).toEqual(tokenizer.encode(prompt(elsewhere)));
    const changed = [...messages.slice(0, -1), { role: 'assistant', content: 'else' } as const];
    expect(turns.encode(prompt(changed))).toEqual(tokenizer.encode(prompt(changed)));
  });

  it('keeps nothing of a turn whose conversation the template changes afterwards', () => {
    const turns = new OwnTurns(tokenizer, endTokens, 1e6);
    const messages: ChatMessage[] = [{ role: 'user', content: 'Hello' }];
    const answered = history([...messages, { role: 'assistant', content: 'Hi' }]);
    const kept = (asked: string) => turns.keep({ prompt: asked, rendered: answered, tokens: [5] });
    expect(kept(`${prompt(messages)}<think>\n`)).toBe(false);
    expect(kept(prompt(messages).replace('Hello', 'Hallo'))).toBe(false);
    // Nothing ends the turn.
    expect(turns.keep({ prompt: 'a', rendered: 'a b', tokens: [5] })).toBe(false);
    expect(turns.encode(answered)).toEqual(tokenizer.encode(answered));
  });

  it('forgets the conversations used longest ago first', () => {
    const random = new Random('forget');
    const turns = new OwnTurns(tokenizer, endTokens, 40);
    const spoken = Array.from({ length: 12 }, (_, i) => {
      const messages: ChatMessage[] = [{ role: 'user', content: `Hello ${i}` }];
      const asked = prompt(messages);
      const tokens = cutAnyhow(random, 'eleven');
      const rendered = history([...messages, { role: 'assistant', content: 'eleven' }]);
      turns.keep({ prompt: asked, rendered, tokens });
      return { rendered, tokens: [...tokenizer.encode(asked), ...tokens] };
    });
    const isKept = spoken.map(
      ({ rendered, tokens }) =>
        turns.encode(rendered).slice(0, tokens.length).join() === tokens.join(),
    );
    const first = isKept.indexOf(true);
    expect(first).toBeGreaterThan(0);
    expect(isKept.lastIndexOf(false)).toBe(first - 1);
  });
});
