import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type BlockType, type NumberType, numberFormats } from './index.ts';
import { iq1sGrid, iq2sGrid, iq2xsGrid, iq2xxsGrid, iq3sGrid, iq3xxsGrid } from './iq-grids.ts';
import { randomBlocks } from './random-blocks.ts';

const types = Object.keys(numberFormats) as NumberType[];
const notOfGgml: readonly NumberType[] = ['F32', 'F16', 'BF16', 'F8_E4M3', 'F8_B128'];
const ggmlTypes = types.filter((type) => !notOfGgml.includes(type)) as BlockType[];

/** What tests/data/gguf/make_blocks.py made with ggml. */
function fixture(file: string): Uint8Array {
  return new Uint8Array(
    readFileSync(new URL(`../../tests/data/gguf/${file.toLowerCase()}`, import.meta.url)),
  );
}

function fixtureFloats(file: string): Float32Array {
  return new Float32Array(fixture(file).buffer);
}

function decode(type: NumberType, bytes: Uint8Array): Float32Array {
  const { blockBytes, blockElements } = numberFormats[type];
  const out = new Float32Array((bytes.length / blockBytes) * blockElements).fill(Number.NaN);
  numberFormats[type].decode(bytes, out);
  return out;
}

/** mulberry32: numbers in [0, 1), the same for the same seed. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe.each(ggmlTypes)('%s', (type) => {
  const { blockBytes, blockElements, encode } = numberFormats[type];

  it('decodes bit for bit as ggml does', () => {
    const blocks = fixture(`${type}.blocks`);
    const expected = fixtureFloats(`${type}.f32`);
    const values = decode(type, blocks);
    expect(values.length).toBe(expected.length);
    for (let i = 0; i < expected.length; i++) {
      if (!Object.is(values[i], expected[i])) {
        const place = `block ${Math.floor(i / blockElements)}, value ${i % blockElements}`;
        expect.fail(`${place}: ${values[i]} instead of ${expected[i]}`);
      }
    }
  });

  if (encode) {
    it('encodes bit for bit as ggml does', () => {
      const bytes = encode(fixtureFloats('weights.f32'));
      const expected = fixture(`${type}.blocks`).subarray(-bytes.length);
      expect(bytes).toEqual(expected);
    });
  }

  it('reads parts of larger buffers, at any byte offset, and writes no further', () => {
    const blocks = fixture(`${type}.blocks`).subarray(0, 3 * blockBytes);
    const shifted = new Uint8Array(blocks.length + 1);
    shifted.set(blocks, 1);
    const out = new Float32Array(2 * blockElements + 2).fill(7);
    numberFormats[type].decode(shifted.subarray(1 + blockBytes), out.subarray(1, -1));
    expect(out[0]).toBe(7);
    expect(out.at(-1)).toBe(7);
    expect(out.subarray(1, -1)).toEqual(decode(type, blocks).subarray(blockElements));
  });

  it('refuses what is not whole blocks', () => {
    const bytes = new Uint8Array(2 * blockBytes);
    const decodeInto = (values: number) => () =>
      numberFormats[type].decode(bytes, new Float32Array(values));
    expect(decodeInto(blockElements + 1)).toThrow(/whole .* blocks of/);
    expect(decodeInto(3 * blockElements)).toThrow(/pass them all/);
    if (encode) expect(() => encode(new Float32Array(blockElements - 1))).toThrow(/whole/);
  });
});

describe.each(types)('random blocks of %s', (type) => {
  const { blockBytes } = numberFormats[type];
  const bytes = randomBlocks(type, 400, uniform(1), 0.5);
  const values = decode(type, bytes);

  it('are finite, of both signs, and as large as was asked for', () => {
    expect(bytes.length).toBe(400 * blockBytes);
    const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    expect(largest).toBeGreaterThan(0.2);
    expect(largest).toBeLessThan(1);
    const positive = values.reduce((count, value) => count + (value > 0 ? 1 : 0), 0);
    expect(positive / values.length).toBeGreaterThan(0.2);
    expect(positive / values.length).toBeLessThan(0.8);
  });

  it('are the same for the same seed, and differ for another', () => {
    const same = (seed: number) =>
      Buffer.compare(randomBlocks(type, 400, uniform(seed), 0.5), bytes) === 0;
    expect(same(1)).toBe(true);
    expect(same(2)).toBe(false);
  });
});

describe('codebooks', () => {
  it.each([
    ['IQ2_XXS', iq2xxsGrid, 256],
    ['IQ2_XS', iq2xsGrid, 512],
    ['IQ2_S', iq2sGrid, 1024],
    ['IQ1_S', iq1sGrid, 2048],
    ['IQ3_XXS', iq3xxsGrid, 256],
    ['IQ3_S', iq3sGrid, 512],
  ] as const)('of %s say the same in both forms', (_, grid, points) => {
    const { dimensions, codeBits, levels, codes, values } = grid;
    expect(codes.length).toBe(points);
    expect(values.length).toBe(points * dimensions);
    for (let i = 0; i < values.length; i++) {
      const code = codes[Math.floor(i / dimensions)] >> (codeBits * (i % dimensions));
      if (values[i] !== levels[code & ((1 << codeBits) - 1)]) expect.fail(`value ${i} differs`);
    }
  });
});

describe('F8_E4M3', () => {
  const { decode: decodeF8, encode } = numberFormats.F8_E4M3;
  const values = new Float32Array(256);
  decodeF8(
    Uint8Array.from({ length: 256 }, (_, i) => i),
    values,
  );

  it('decodes the values of the specification', () => {
    // OCP OFP8 1.0, table 2: extremes, and the formulas for the rest.
    expect(values[0x7e]).toBe(448);
    expect(values[0x08]).toBe(2 ** -6);
    expect(values[0x07]).toBe(0.875 * 2 ** -6);
    expect(values[0x01]).toBe(2 ** -9);
    expect(Object.is(values[0x80], -0)).toBe(true);
    expect([values[0x7f], values[0xff]]).toEqual([Number.NaN, Number.NaN]);
    for (let pattern = 0; pattern < 0x7f; pattern++) {
      const [exponent, fraction] = [pattern >> 3, (pattern & 7) / 8];
      const magnitude = exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7);
      expect(values[pattern]).toBe(magnitude);
      expect(values[pattern | 0x80]).toBe(-magnitude);
    }
  });

  it('encodes every value back to its pattern, and NaN to NaN', () => {
    const expected = Array.from({ length: 256 }, (_, i) => (i === 0xff ? 0x7f : i));
    expect([...encode!(values)]).toEqual(expected);
  });

  it('rounds to the nearest, and halfway to the even pattern', () => {
    for (let low = 0; low < 0x7e; low++) {
      const halfway = (values[low] + values[low + 1]) / 2;
      const inputs = [halfway, halfway * (1 - 2 ** -20), halfway * (1 + 2 ** -20), -halfway];
      const even = low % 2 === 0 ? low : low + 1;
      expect([...encode!(Float32Array.from(inputs))]).toEqual([even, low, low + 1, even | 0x80]);
    }
  });

  it('has no infinity: what is beyond 464 is NaN', () => {
    const inputs = [464, 464.001, -1e30, Number.POSITIVE_INFINITY, Number.NaN];
    expect([...encode!(Float32Array.from(inputs))]).toEqual([0x7e, 0x7f, 0xff, 0x7f, 0x7f]);
  });
});

describe('F8_B128', () => {
  it('scales every value of its block, and no other', () => {
    const [first, second] = [-3, 2 ** -5].map((d) => {
      const block = Uint8Array.from({ length: 132 }, (_, i) => (i - 4) % 127);
      new DataView(block.buffer).setFloat32(0, d, true);
      return block;
    });
    const values = decode('F8_B128', Uint8Array.of(...first, ...second));
    const unscaled = decode('F8_E4M3', first.subarray(4));
    expect(values.length).toBe(256);
    for (let j = 0; j < 128; j++) {
      expect(values[j]).toBe(Math.fround(-3 * unscaled[j]));
      expect(values[128 + j]).toBe(unscaled[j] / 32);
    }
  });
});
