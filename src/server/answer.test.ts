import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { TextOffsets } from './answer.ts';

const special = 1000;

test('offsets of tokens are places in the text, wherever characters are cut', () => {
  const random = new Random('text offsets');
  const characters = ['a', 'é', '漢', '🙂', '\ufeff', '\u0301', '\n', '\ufffd']
    .map((text) => Buffer.from(text))
    // Begun, and never finished: each becomes one U+FFFD.
    .concat(Buffer.of(0xf0, 0x9f), Buffer.of(0xe6));
  for (let run = 0; run < 300; run++) {
    const text = Array.from({ length: 12 }, () => characters[random.below(characters.length)]!);
    const bytes = Buffer.concat(text);
    /** Of each byte, its character's place in the text. */
    const places = text.flatMap((character, i) => Array<number>(character.length).fill(i));
    const begins: number[] = [];
    for (let at = 0; at < bytes.length; at += 1 + random.below(4)) begins.push(at);
    const offsets = new TextOffsets({
      detokenize: ([id]) => (id === special ? '' : '?'),
      tokenBytes: (id) => bytes.subarray(begins[id], begins[id + 1]),
    });
    const told = begins.map((_, id) => {
      if (random.below(4) === 0) offsets.next(special);
      return offsets.next(id);
    });
    const where = `MOWGLI_SEED=${baseSeed}, run ${run}: ${bytes.toString('hex')} at ${begins}`;
    expect(told, where).toEqual(begins.map((at) => places[at]));
  }
});
