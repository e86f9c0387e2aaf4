import { expect, test } from 'vitest';
import type { RespondEnd, RespondPart } from '../node.ts';
import { AnswerText, incompleteNote, showCallsLast } from './answer-text.ts';

const text = (text: string): RespondPart => ({ type: 'text', text });
const reasoning = (text: string): RespondPart => ({ type: 'reasoning', text });
const call = (args: string): RespondPart[] => [
  { type: 'tool-call-start', index: 0, id: 'a', name: 'f' },
  { type: 'tool-call-delta', index: 0, delta: args },
  { type: 'tool-call-end', index: 0, id: 'a', name: 'f', arguments: args },
];

function show(parts: readonly RespondPart[], marks: 'dimmed' | 'tags' = 'tags'): string {
  const answer = new AnswerText(marks);
  return parts.map((part) => answer.show(part)).join('') + answer.end();
}

test.each([
  ['nothing', [], ''],
  ['text', [text('a'), text('\nb')], 'a\nb\n'],
  ['text that ends its line', [text('a\n')], 'a\n'],
  ['a call', call('{"n":9007199254740993}'), '{"name":"f","arguments":{"n":9007199254740993}}\n'],
  ['text and a call', [text('a'), ...call('{}')], 'a\n{"name":"f","arguments":{}}\n'],
  ['reasoning', [reasoning('a'), reasoning('b'), text('c')], '<think>\nab\n</think>\n\nc\n'],
  ['reasoning that was cut off', [reasoning('a')], '<think>\na\n</think>\n\n'],
] as const)('shows %s', (_, parts, shown) => {
  expect(show(parts)).toBe(shown);
});

test('dims reasoning, and nothing else, however the answer ends', () => {
  const [dim, bright] = ['\x1b[2m', '\x1b[22m'];
  expect(show([text('a'), reasoning('b'), text('c')], 'dimmed')).toBe(`a${dim}b${bright}\n\nc\n`);
  expect(show([reasoning('a')], 'dimmed')).toBe(`${dim}a${bright}\n\n`);
});

const end = { type: 'end' } as RespondEnd;

test.each([
  ['nothing', [], ''],
  ['text', [text('a'), text('\nb')], 'a\nb\n'],
  ['calls behind all text', [...call('{}'), text('a'), ...call('[]')], `a\n${lines('{}', '[]')}`],
  [
    'calls behind reasoning',
    [...call('{}'), reasoning('a')],
    `<think>\na\n</think>\n\n${lines('{}')}`,
  ],
] as const)('shows %s where calls come last', (_, parts, shown) => {
  const show = showCallsLast(new AnswerText('tags'));
  expect([...parts, end].map(show).join('')).toBe(shown);
});

function lines(...args: readonly string[]): string {
  return args.map((json) => `{"name":"f","arguments":${json}}\n`).join('');
}

test.each([
  ['length', /no whole call: f, g; .*--max-tokens/],
  ['aborted', /no whole call: f, g; the answer was interrupted/],
  ['stop', /no whole call: f, g; the model did not finish/],
  ['tool-calls', /no whole call: f, g; .*damaged form/],
] as const)('calls that are not whole are told of: %s', (finishReason, message) => {
  const incompleteCalls = ['f', 'g'].map((name) => ({ name, arguments: '{"a' }));
  expect(incompleteNote({ ...end, finishReason, incompleteCalls })).toMatch(message);
  expect(incompleteNote({ ...end, finishReason, incompleteCalls: [] })).toBeUndefined();
});
