import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { Expressions } from './expressions.ts';
import { Texts } from './json-text.ts';
import { PatternError, patternText } from './pattern.ts';

const texts = new Texts(new Expressions());
const { make } = texts;

/** Tells whether a text matches in either encoding. */
function matcher(source: string): (text: string) => [raw: boolean, json: boolean] {
  const raw = patternText(source, make, texts.raw);
  const json = patternText(source, make, texts.json);
  return (text) => [make.accepts(raw, text), make.accepts(json, JSON.stringify(text).slice(1, -1))];
}

const samples = [
  '',
  'a',
  'b',
  'ab',
  'ba',
  'aab',
  'abc',
  '0',
  '07',
  '-1.5',
  ' ',
  'a b',
  'a\nb',
  '\n',
  '\t"\\',
  'é',
  'ß1',
  '日本',
  '😀',
  'a😀b',
  '\u2028',
  '\u00a0',
  '\ufeff',
  'user@example.com',
  '2024-02-03',
  'A_z9',
  'foo-bar',
  'x'.repeat(70),
];

test.each([
  '',
  'a',
  '^a',
  'a$',
  '^a$',
  '^$',
  '^',
  '$',
  'a|b',
  '^a|b$',
  '(^a|b)c?',
  '^(a|b)*$',
  '(^|x)a',
  'a(^b)?',
  '(^a)*b',
  '(?:^a|b$)',
  'a$|^b',
  '^(?:^a)$',
  '$^',
  'a^b',
  '(a|$)b?',
  '.',
  '^.$',
  '^.{2,3}$',
  '^[^a]$',
  '^[a-c]+$',
  '^[\\w.+-]+@[\\w-]+\\.[\\w.]+$',
  '^\\d{4}-\\d\\d-\\d\\d$',
  '\\s',
  '^\\S+$',
  '^\\W+$',
  '\\D',
  '^\\p{L}+$',
  '^\\P{L}$',
  '^\\p{Script=Han}*$',
  '^[\\p{Ll}\\d]+$',
  '^[^\\p{L}]*$',
  '^\\u{1F600}$',
  '^(?<name>a)b??$',
  '\\x41',
  '^[\\s\\S]*$',
  '[\\n\\t"]',
  '^(a*)*b$',
  '^(?:a{0,3}){2,5}$',
])('%j', (source) => {
  const regex = new RegExp(source, 'u');
  const matches = matcher(source);
  for (const text of samples) {
    const expected = regex.test(text);
    expect(matches(text), JSON.stringify(text)).toEqual([expected, expected]);
  }
});

test('random patterns with anchors anywhere match what RegExp matches', () => {
  const random = new Random('patterns with anchors');
  const pattern = (depth: number): string => {
    switch (depth === 0 ? random.below(5) : random.below(9)) {
      case 0:
        return '^';
      case 1:
        return '$';
      case 2:
        return '[ab]';
      case 3:
        return '.';
      case 4:
        return ['a', 'b', '\\n', 'é', '"'][random.below(5)]!;
      case 5:
        return `(?:${pattern(depth - 1)}|${pattern(depth - 1)})`;
      case 6:
        return `(?:${pattern(depth - 1)})${['*', '+', '?', '{2}', '{1,2}'][random.below(5)]}`;
      default:
        return pattern(depth - 1) + pattern(depth - 1);
    }
  };
  const characters = ['a', 'b', '\n', 'é', '"'];
  for (let run = 0; run < 400; run++) {
    const source = pattern(3);
    const regex = new RegExp(source, 'u');
    const matches = matcher(source);
    for (let i = 0; i < 30; i++) {
      const length = random.below(6);
      const text = Array.from({ length }, () => characters[random.below(5)]).join('');
      const where = `seed ${baseSeed}, run ${run}: ${source} on ${JSON.stringify(text)}`;
      const expected = regex.test(text);
      expect(matches(text), where).toEqual([expected, expected]);
    }
  }
});

test('escapes that only other languages know are understood', () => {
  expect(matcher('^\\d\\-\\_$')('1-_')).toEqual([true, true]);
});

test.each([
  ['(a)\\1', 'not part of a regular language'],
  ['(?<n>a)\\k<n>', 'not part of a regular language'],
  ['a(?=b)', 'looks at the text around it'],
  ['(?<!a)b', 'looks at the text around it'],
  ['\\bword', 'looks at the text around it'],
  ['(?i:a)', 'changes the flags'],
  ['a(', 'Unterminated group'],
  ['[b-a]', 'out of order'],
  ['\\p{Nonsense}', 'Invalid'],
  ['a'.repeat(3000), 'longer than'],
])('%j is refused', (source, why) => {
  const act = () => patternText(source, make, texts.json);
  expect(act).toThrow(PatternError);
  expect(act).toThrow(why);
});

test('any text covers what was found already', () => {
  const found = patternText('ab', make, texts.json);
  const after = [...'xxabyy'].reduce((e, c) => make.derivative(e, c.charCodeAt(0)), found);
  expect(after).toBe(texts.json.text);
});
