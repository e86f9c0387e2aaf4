import { describe, expect, it } from 'vitest';
import { decodeUtf8, Utf8Stream } from './utf8.ts';

/** A small generator with a seed (mulberry32), so that a failure can be repeated. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes around every boundary of UTF-8's table of well-formed sequences. */
const EDGES = [
  0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
  0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
];

describe('Utf8Stream', () => {
  it('gives the same text however the bytes are cut', () => {
    for (let seed = 0; seed < 3000; seed++) {
      const random = randomNumbers(seed);
      const length = Math.floor(random() * 9);
      const bytes = Uint8Array.from({ length }, () => EDGES[Math.floor(random() * EDGES.length)]!);
      const expected = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
      expect(decodeUtf8(bytes)).toBe(expected);
      for (let cuts = 0; cuts < 2 ** Math.max(0, length - 1); cuts++) {
        const stream = new Utf8Stream();
        let text = '';
        let start = 0;
        for (let i = 1; i <= length; i++) {
          if (i === length || (cuts >> (i - 1)) & 1) {
            text += stream.push(bytes.subarray(start, i));
            start = i;
          }
        }
        expect(text + stream.flush(), `seed ${seed}, cuts ${cuts}, bytes ${bytes}`).toBe(expected);
      }
    }
  });

  it('releases every character as soon as it is whole, and never a part of one', () => {
    const text = 'aé格👩‍💻\ufeffz';
    const bytes = new TextEncoder().encode(text);
    const stream = new Utf8Stream();
    const pieces = Array.from(bytes, (byte) => stream.push(Uint8Array.of(byte)));
    expect(pieces.filter((piece) => piece !== '')).toEqual(Array.from(text));
    expect(stream.flush()).toBe('');
  });

  it('keeps a byte order mark', () => {
    const stream = new Utf8Stream();
    expect(stream.push(Uint8Array.of(0xef, 0xbb, 0xbf, 0x41))).toBe('\ufeffA');
    expect(stream.push(Uint8Array.of(0xef, 0xbb, 0xbf))).toBe('\ufeff');
  });

  it('starts anew after flush', () => {
    const stream = new Utf8Stream();
    expect(stream.push(Uint8Array.of(0xe6, 0xa0))).toBe('');
    expect(stream.flush()).toBe('\ufffd');
    expect(stream.push(Uint8Array.of(0xbc, 0x41))).toBe('\ufffdA');
  });
});
