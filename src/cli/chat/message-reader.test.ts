import { expect, test } from 'vitest';
import { MessageReader } from './message-reader.ts';

/** What lines add up to; those that begin with `paste:` end within a paste. */
function read(lines: readonly string[]) {
  const reader = new MessageReader();
  const entries = lines.flatMap((line) => {
    const pasted = line.startsWith('paste:');
    const entry = reader.push({ text: line.replace(/^paste:/, ''), pasted });
    return entry ? [entry] : [];
  });
  return { entries, unfinished: reader.unfinished, end: reader.end() };
}

const message = (text: string, verbatim = false) => ({ text, verbatim });

test.each([
  ['lines are messages', ['a', '', ' b '], [message('a'), message(''), message(' b ')]],
  ['\\ at the end goes on', ['a\\', '\\', 'b', 'c'], [message('a\n\nb'), message('c')]],
  ['a block', ['"""', 'a', '', ' b"c', '"""', 'd'], [message('a\n\n b"c', true), message('d')]],
  ['a block with text beside its fences', ['"""a', 'b\\', 'c""" '], [message('a\nb\\\nc', true)]],
  ['a block in a line', ['"""/a"""', '""""""'], [message('/a', true), message('', true)]],
  ['fences within a line are text', ['a """b"""'], [message('a """b"""')]],
  ['a paste', ['paste:/a', 'paste:', 'paste:"""', 'b'], [message('/a\n\n"""\nb', true)]],
  ['a paste that ends with a line', ['paste:a', 'paste:b', ''], [message('a\nb', true)]],
  ['a paste into a line that goes on', ['a\\', 'paste:b', 'c'], [message('a\nb\nc', true)]],
  ['a paste into a block', ['"""', 'paste:"""', 'paste:a\\', '"""'], [message('"""\na\\', true)]],
])('%s', (_, lines, entries) => {
  expect(read(lines)).toEqual({ entries, unfinished: undefined, end: undefined });
});

test('what is unfinished at the end of the input is told apart, and handed out', () => {
  expect(read(['a', 'b\\'])).toMatchObject({ unfinished: 'lines', end: message('b') });
  expect(read(['"""', 'b'])).toMatchObject({ unfinished: 'block', end: message('b', true) });
});

test('clear drops what is unfinished', () => {
  const reader = new MessageReader();
  reader.push({ text: '"""a', pasted: false });
  reader.clear();
  expect(reader.unfinished).toBeUndefined();
  expect(reader.push({ text: 'b', pasted: false })).toEqual(message('b'));
});
