/** Markup in any order: whatever a model writes, how it was cut makes no difference. */
import { expect, it } from 'vitest';
import { baseSeed, Random } from '../kernels-test/random.ts';
import { checkEvents, parsePieces } from './turn-in-pieces.ts';

const COMMON = [
  ...['<tool_call>', '</tool_call>', '<think>', '</think>', '\n', '\n', ' ', 'word', '<', '```\n'],
  ...['👩‍💻', '"', "'", '\\', '{', '}', '[', ']', ',', ':', 'null', '12', 'True', '\\u00', '\t'],
];

const FRAGMENTS = {
  xml: [
    ...['<function=read>', '<function=other>', '</function>', '<parameter=path>', '</parameter>'],
    ...['<parameter=n>', '<parameter=zzz>', '<parameter=list>', '</para', '<function='],
    ...['<parameter=>', '\r\n'],
    '<tool_call>\n<function=read>\n<parameter=path>\n',
    '\n</parameter>\n</function>\n</tool_call>',
    '\n</parameter>\n<parameter=n>\n3',
  ],
  hermes: [
    ...['{"name": "read", ', '"arguments": {', '"arguments": "{', '"a": ', '"b": [1, ', '}}'],
    '<tool_call>\n{"name": "read", "arguments": {"path": "',
    '<tool_call>\n{"arguments": {"n": ',
    '<tool_call>\n{"name": "read", "arguments": {"path": 1, "n": {"a": 1, "a": 2}, "path": "',
    '"}}\n</tool_call>',
  ],
};

const tools = [
  {
    name: 'read',
    parameters: {
      properties: {
        path: { type: ['string', 'null'] },
        n: { type: 'integer' },
        list: { type: 'array' },
      },
      required: ['path'],
    },
  },
];

it.each(['xml', 'hermes'] as const)('%s', (format) => {
  const random = new Random(`soup ${format}`);
  const fragments = [...COMMON, ...FRAGMENTS[format], ...FRAGMENTS[format]];
  let calls = 0;
  for (let run = 0; run < 3000; run++) {
    const length = 1 + random.below(24);
    const soup = Array.from({ length }, () => fragments[random.below(fragments.length)]!);
    const text = soup.join('');
    const finishReason = (['stop', 'length'] as const)[random.below(2)]!;
    const options = { format, tools, finishReason, startsInReasoning: random.below(8) === 0 };
    const whole = parsePieces([text], options);
    const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify({ text, ...options })}`;
    checkEvents(whole);
    calls += whole.filter((event) => event.type === 'tool-call-end').length;
    const at = random.below(text.length + 1);
    for (const pieces of [soup, text.split(''), [text.slice(0, at), text.slice(at)]]) {
      expect(parsePieces(pieces, options), where).toEqual(whole);
    }
  }
  // The soup is not all text.
  expect(calls).toBeGreaterThan(100);
});
