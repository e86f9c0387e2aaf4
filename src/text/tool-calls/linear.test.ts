/** However long a text goes on, pushing a little more of it takes no longer. */
import { expect, it } from 'vitest';
import { createToolCallParser, type ToolCallFormat } from './parser.ts';

const parameters = {
  type: 'object',
  properties: { s: {}, list: { type: 'array' }, maybe: { type: ['string', 'null'] } },
};
const tools = [{ type: 'function', function: { name: 'f', parameters } }];

const xml = (rest: string) => `<tool_call>\n<function=f>\n${rest}`;
const hermes = (rest: string) => `<tool_call>\n{"name": "f", "arguments": {"a": ${rest}`;
const fill = (unit: string, length: number) => unit.repeat(Math.ceil(length / unit.length));

const CASES: [string, ToolCallFormat, (length: number) => string][] = [
  ['white space behind text', 'xml', (n) => `a${fill(' ', n)}`],
  ['white space behind <tool_call>', 'xml', (n) => `<tool_call>${fill(' ', n)}`],
  ['white space behind a call', 'xml', (n) => `${xml('</function>')}${fill('\n', n)}`],
  ['what is no tag', 'xml', (n) => fill('<', n / 4)],
  ['a name', 'xml', (n) => `<function=${fill('x', n)}`],
  ['a value', 'xml', (n) => xml(`<parameter=s>\n${fill('x <', n / 4)}`)],
  ['a value that waits for its end', 'xml', (n) => xml(`<parameter=list>\n${fill('[', n)}`)],
  ['a value that may be null', 'xml', (n) => xml(`<parameter=maybe>\n${fill(' ', n)}`)],
  ['a value behind its end', 'xml', (n) => xml(`<parameter=s>\n\n</parameter>\n${fill('x', n)}`)],
  [
    'values without a sure end',
    'xml',
    (n) => xml(fill('<parameter=s>\n\n</parameter>\nx ', n / 8)),
  ],
  ['calls without a sure end', 'xml', (n) => fill(xml('<parameter=s>\n\n</parameter>\nx '), n / 8)],
  ['closing tags', 'xml', (n) => `${xml('</function>')}${fill('\n</tool_call>', n)}`],
  ['a line of brackets', 'hermes', (n) => fill('{', n / 4)],
  ['a string', 'hermes', (n) => hermes(`"${fill('x\\n', n)}`)],
  ['white space in arguments', 'hermes', (n) => hermes(fill(' ', n))],
  ['zeros', 'hermes', (n) => hermes(`${fill('0', n)}x`)],
  ['a key that came before', 'hermes', (n) => hermes(`1, "a": "${fill('x', n)}`)],
  ['arguments before the name', 'hermes', (n) => `<tool_call>{"arguments": {"a": "${fill('x', n)}`],
  ['arguments in a string', 'hermes', (n) => `${hermes('').slice(0, -6)}"{${fill('[', n)}`],
  ['brackets behind a call', 'hermes', (n) => hermes(`1}}${fill('}', n)}`)],
];

const PARTS = 8;
const LENGTH = 96_000;

/** The CPU time of parsing a text that comes character by character, in microseconds. */
function time(format: ToolCallFormat, text: string): number {
  const start = process.cpuUsage();
  const parser = createToolCallParser({ format, tools });
  for (const character of text) parser.push(character);
  parser.end('stop');
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

it.each(CASES)('%s', (_, format, text) => {
  const short = text(LENGTH / PARTS);
  const long = text(LENGTH);
  time(format, short);
  // The ratio of one long text to as much in short ones is 1, or near 8 when time grows with the square.
  // The best of some tries counts: whatever else runs here only makes either longer.
  let shorts = Number.POSITIVE_INFINITY;
  let longs = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 6 && longs >= 2 * shorts; tries++) {
    let sum = 0;
    for (let part = 0; part < PARTS; part++) sum += time(format, short);
    shorts = Math.min(shorts, sum);
    longs = Math.min(longs, time(format, long));
  }
  expect(longs).toBeLessThan(2 * shorts);
});
