import { describe, expect, test } from 'vitest';
import { Tuning } from './tuning.ts';

const scope = { adapter: 'acme, gpu 1, f16', kernels: '01234567' };
const sample = new Tuning();
sample.set('matvec Q4_K 2048x2048 M=1', { variant: 'alone', ms: { subgroup: 2, alone: 1.5 } });
sample.set('matmul BF16 1024x1024 M=64', { variant: 'tile', ms: { broadcast: null, tile: 7 } });

test('what is serialized is parsed again', () => {
  const text = sample.serialize(scope);
  const again = Tuning.parse(scope, text);
  expect(again.serialize(scope)).toBe(text);
  expect(again.choice('matvec Q4_K 2048x2048 M=1')).toBe('alone');
  expect(again.choice('matvec Q6_K 2048x2048 M=1')).toBeUndefined();
});

test('a class is known when it was measured with all variants that there are now', () => {
  const key = 'matmul BF16 1024x1024 M=64';
  expect(sample.covers(key, ['tile'])).toBe(true);
  expect(sample.covers(key, ['broadcast', 'tile'])).toBe(true);
  expect(sample.covers(key, ['broadcast', 'tile', 'newer'])).toBe(false);
  expect(sample.covers('matmul BF16 1024x2048 M=64', ['tile'])).toBe(false);
});

describe('taken for nothing', () => {
  const text = sample.serialize(scope);
  test.each([
    ['an empty file', ''],
    ['half a file', text.slice(0, text.length / 2)],
    ['no JSON', '\u0000\u0001'],
    ['other JSON', '[1, null]'],
    ['null', 'null'],
    ['the classes of another adapter', text.replace('gpu 1', 'gpu 2')],
    ['those of other kernels', text.replace('01234567', '01234568')],
    ['classes that are none', JSON.stringify({ ...scope, classes: 'x' })],
  ])('%s', (_, damaged) => {
    expect(Tuning.parse(scope, damaged).size).toBe(0);
  });

  test.each([
    ['no variant', { ms: { a: 1 } }],
    ['a variant that is no name', { variant: 1, ms: { a: 1 } }],
    ['no times', { variant: 'a' }],
    ['times that are none', { variant: 'a', ms: { a: 'fast' } }],
    ['null', null],
  ])('a class with %s, and the others stay', (_, broken) => {
    const classes = { broken, sound: { variant: 'a', ms: { a: 1, b: null } } };
    const parsed = Tuning.parse(scope, JSON.stringify({ ...scope, classes }));
    expect(parsed.choice('broken')).toBeUndefined();
    expect(parsed.choice('sound')).toBe('a');
  });
});
