import { expect, it } from 'vitest';
import { atOnce, type Steps } from './slices.ts';
import { TokenizedTexts } from './tokenized-texts.ts';

/** Each character a token; tells which texts it was asked for. */
class Characters {
  readonly asked: string[] = [];

  *encodeInSteps(text: string): Steps<number[]> {
    this.asked.push(text);
    yield;
    return Array.from(text, (character) => character.charCodeAt(0));
  }
}

const text = (letter: string, length = 100) => letter.repeat(length);

it('a text that is known is not cut again, until others take its place', () => {
  const tokenizer = new Characters();
  const texts = new TokenizedTexts(tokenizer, 250);
  const encode = (letter: string, length?: number) =>
    Array.from(atOnce(texts.encodeInSteps(text(letter, length))));
  expect(encode('a')).toEqual(Array(100).fill(97));
  encode('b');
  expect(encode('a')).toEqual(Array(100).fill(97));
  expect(tokenizer.asked).toEqual([text('a'), text('b')]);
  encode('c'); // In place of b, which was used longest ago.
  encode('a');
  encode('c');
  expect(tokenizer.asked).toEqual([text('a'), text('b'), text('c')]);
  encode('b');
  expect(tokenizer.asked.length).toBe(4);
});

it('texts that are too long or hardly worth it are not kept', () => {
  const tokenizer = new Characters();
  const texts = new TokenizedTexts(tokenizer, 250);
  for (const length of [10, 251, 10, 251]) atOnce(texts.encodeInSteps(text('a', length)));
  expect(tokenizer.asked.length).toBe(4);
});

it('two at once do not disturb each other', () => {
  const texts = new TokenizedTexts(new Characters(), 250);
  const [one, other] = [texts.encodeInSteps(text('a')), texts.encodeInSteps(text('a'))];
  one.next();
  other.next();
  expect(one.next().value).toEqual(other.next().value);
  for (const letter of ['b', 'c', 'a']) {
    expect(atOnce(texts.encodeInSteps(text(letter)))).toHaveLength(100);
  }
});
