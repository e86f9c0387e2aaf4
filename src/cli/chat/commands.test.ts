import { expect, test } from 'vitest';
import { helpText, toWish } from './commands.ts';
import { changeSetting, describeSettings } from './settings.ts';

const typed = (text: string) => toWish({ text, verbatim: false });

test.each([
  ['hello', 'hello'],
  ['//etc/hosts', '/etc/hosts'],
  [' /reset', ' /reset'],
  ['a /reset', 'a /reset'],
])('%j is a message', (text, sent) => {
  expect(typed(text)).toEqual({ type: 'message', text: sent });
});

test('in blocks and pastes nothing is a command', () => {
  expect(toWish({ text: '/reset', verbatim: true })).toEqual({ type: 'message', text: '/reset' });
});

test.each([
  ['/reset', 'reset', ''],
  ['/retry', 'regenerate', ''],
  ['/quit ', 'exit', ''],
  ['/system', 'system', ''],
  ['/system  Be brief.\nAnd kind. ', 'system', 'Be brief.\nAnd kind.'],
  ['/save my file', 'save', 'my file'],
  ['/set temperature 0.7', 'set', 'temperature 0.7'],
])('%j is a command', (text, name, argument) => {
  expect(typed(text)).toEqual({ type: 'command', name, argument });
});

test.each([
  ['/nope', /no command \/nope, and nothing was sent; \/help/],
  ['/', /no command \/,/],
  ['/constructor', /no command \/constructor/],
  ['/usr/bin is empty', /no command \/usr\/bin,.* a second slash/],
  ['/reset all', /\/reset takes nothing after it.*'all'/],
  ['/save', /\/save needs a name after it: \/save FILE/],
])('%j is refused', (text, message) => {
  expect(() => typed(text)).toThrow(message);
});

test('/help tells of every command', () => {
  for (const name of ['help', 'system', 'save', 'load', 'reset', 'undo', 'regenerate', 'exit']) {
    expect(helpText()).toMatch(new RegExp(`^  /${name} .* {2}\\S`, 'm'));
  }
});

test('/set changes one setting, and default gives it up', () => {
  const begun = { temperature: 0, repetitionPenalty: 1 };
  const seeded = changeSetting(begun, 'seed 7');
  expect(seeded).toEqual({ ...begun, seed: 7 });
  expect(changeSetting(seeded, 'max-tokens  50')).toEqual({ ...seeded, maxTokens: 50 });
  expect(changeSetting(seeded, 'temperature default')).toEqual({ repetitionPenalty: 1, seed: 7 });
  expect(describeSettings(seeded)).toMatch(/^temperature +0\nseed +7\nmax-tokens +default$/);
});

test.each([
  ['temperature', /\/set needs one of temperature, seed, max-tokens and a value/],
  ['topK 3', /\/set needs one of/],
  ['seed 1 2', /\/set needs one of/],
  ['seed -1', /^seed must be a whole number of at least 0, not '-1'$/],
  ['max-tokens 0', /^max-tokens must be .* at least 1/],
  ['temperature hot', /^temperature must be a number/],
])('/set %s is refused', (argument, message) => {
  expect(() => changeSetting({}, argument)).toThrow(message);
});
