import { describe, expect, it } from 'vitest';
import { Random } from './sampler-random.ts';
import { StopMatcher } from './stop.ts';

/** Feeds pieces; the whole output, and whether it stopped. */
function feed(stop: string | string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stop);
  let text = '';
  for (const piece of pieces) text += matcher.push(piece).emit;
  const stopped = matcher.push('').stopped;
  return { text: text + matcher.flush(), stopped, matched: matcher.matched };
}

/** The rule, by brute force: the first end of any stop text, and of those there the longest. */
function reference(stops: readonly string[], text: string) {
  for (let end = 1; end <= text.length; end++) {
    const found = stops
      .filter((stop) => text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) {
      return { text: text.slice(0, end - found.length), stopped: true, matched: found };
    }
  }
  return { text, stopped: false, matched: undefined };
}

describe('StopMatcher', () => {
  it('passes everything on without stop texts', () => {
    const matcher = new StopMatcher();
    expect(matcher.push('abc')).toEqual({ emit: 'abc', stopped: false });
    expect(matcher.flush()).toBe('');
  });

  it('holds back only what may become a stop text', () => {
    const matcher = new StopMatcher(['STOP']);
    expect(matcher.push('a ST')).toEqual({ emit: 'a ', stopped: false });
    expect(matcher.push('A')).toEqual({ emit: 'STA', stopped: false });
    expect(matcher.push('STSTO')).toEqual({ emit: 'ST', stopped: false });
    expect(matcher.push('P after')).toEqual({ emit: '', stopped: true });
    expect(matcher.push('more')).toEqual({ emit: '', stopped: true });
    expect(matcher.flush()).toBe('');
    expect(matcher.matched).toBe('STOP');
  });

  it('gives back at the end what was held', () => {
    const matcher = new StopMatcher('\n\nUser:');
    expect(matcher.push('done\n\nUse').emit).toBe('done');
    expect(matcher.flush()).toBe('\n\nUse');
    // What came before the end is no longer part of a match.
    expect(matcher.push('r:')).toEqual({ emit: 'r:', stopped: false });
  });

  it('finds a stop text that overlaps its own beginning', () => {
    expect(feed('aab', ['aa', 'a', 'b'])).toMatchObject({ text: 'a', stopped: true });
    expect(feed('abac', ['ababa', 'c'])).toMatchObject({ text: 'ab', stopped: true });
  });

  it('prefers the text completed first, then the longest', () => {
    expect(feed(['abcdef', 'cd'], ['xabcdef'])).toMatchObject({ text: 'xab', matched: 'cd' });
    expect(feed(['cd', 'bcd'], ['abcd'])).toMatchObject({ text: 'a', matched: 'bcd' });
  });

  it('refuses an empty stop text', () => {
    expect(() => new StopMatcher(['a', ''])).toThrow(/stop: "" is not allowed/);
  });

  it('does not depend on how the text is cut, and never shows a stop text', () => {
    const alphabets = ['ab', 'abc', '\n<>/', '😀😁a'];
    for (let seed = 0; seed < 400; seed++) {
      const random = new Random(seed);
      const letters = alphabets[seed % alphabets.length]!;
      const word = (least: number, most: number) =>
        Array.from(
          { length: least + Math.floor(random.next() * (most - least + 1)) },
          () => letters[Math.floor(random.next() * letters.length)],
        ).join('');
      const stops = Array.from({ length: 1 + (seed % 3) }, () => word(1, 5));
      const text = word(0, 9);
      const expected = reference(stops, text);
      for (const stop of stops) expect(expected.text.includes(stop)).toBe(false);
      for (let cuts = 0; cuts < 2 ** Math.max(0, text.length - 1); cuts++) {
        const pieces: string[] = [];
        let start = 0;
        for (let i = 1; i < text.length; i++) {
          if ((cuts >> (i - 1)) & 1) {
            pieces.push(text.slice(start, i));
            start = i;
          }
        }
        pieces.push(text.slice(start));
        expect(feed(stops, pieces), `seed ${seed}, cuts ${cuts}`).toEqual(expected);
      }
    }
  });

  it('takes time in proportion to the text for a long stop text', () => {
    const matcher = new StopMatcher(`${'a'.repeat(20_000)}b`);
    let length = 0;
    for (let i = 0; i < 1000; i++) length += matcher.push('a'.repeat(100)).emit.length;
    expect(length).toBe(100_000 - 20_000);
    expect(matcher.push('b').stopped).toBe(true);
  });
});
