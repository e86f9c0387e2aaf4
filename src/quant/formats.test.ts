import { describe, expect, it } from 'vitest';
import { floatToHalf, halfToFloat } from './f16.ts';
import { formatBytes, formats, type TensorType } from './index.ts';

/** All 65,536 patterns of a 16-bit format, little-endian. */
const allPatterns = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);

function decode(type: TensorType, bytes: Uint8Array): Float32Array {
  const out = new Float32Array(bytes.length / formats[type].blockBytes).fill(Number.NaN);
  formats[type].decode(bytes, out);
  return out;
}

function patterns(type: TensorType, values: Float32Array): Uint16Array {
  return new Uint16Array(formats[type].encode(values).buffer);
}

/** Exact value of a bit pattern, from the definition of a binary float rather than from bit tricks. */
function exactValue(pattern: number, exponentBits: number, fractionBits: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (pattern & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) {
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias);
}

const halves = [
  { type: 'F16', exponentBits: 5, fractionBits: 10 },
  { type: 'BF16', exponentBits: 8, fractionBits: 7 },
] as const;

describe.each(halves)('$type', ({ type, exponentBits, fractionBits }) => {
  const infinity = (2 ** exponentBits - 1) << fractionBits;
  const exact = Float64Array.from({ length: 65536 }, (_, i) =>
    exactValue(i, exponentBits, fractionBits),
  );

  it('decodes every pattern to its value', () => {
    const values = decode(type, allPatterns);
    for (let i = 0; i < 65536; i++) {
      if (!Object.is(values[i], exact[i])) {
        expect.fail(`pattern ${i.toString(16)}: ${values[i]} instead of ${exact[i]}`);
      }
    }
  });

  it('encodes every value back to its pattern, and NaN to a NaN', () => {
    const back = patterns(type, decode(type, allPatterns));
    for (let i = 0; i < 65536; i++) {
      const isSame = Number.isNaN(exact[i]) ? (back[i] & 0x7fff) > infinity : back[i] === i;
      if (!isSame) expect.fail(`pattern ${i.toString(16)} came back as ${back[i].toString(16)}`);
    }
  });

  it('rounds to the nearest, and halfway to the even pattern', () => {
    // Between each pair of neighbours: a quarter, halfway, and the floats just beside halfway.
    const float = new Float32Array(1);
    const word = new Int32Array(float.buffer);
    for (let low = 0; low < infinity; low++) {
      // As if the exponent went on: what rounds to it becomes infinity.
      const high = low + 1 === infinity ? 2 ** (2 ** (exponentBits - 1)) : exact[low + 1];
      const halfway = (exact[low] + high) / 2;
      float[0] = halfway;
      expect(float[0]).toBe(halfway); // a binary32 has the bits to hold it
      const even = low % 2 === 0 ? low : low + 1;
      const middle = word[0];
      const inputs = new Float32Array(4);
      new Int32Array(inputs.buffer).set([middle, middle - 1, middle + 1]);
      inputs[3] = exact[low] + (high - exact[low]) / 4;
      const rounded = [...patterns(type, inputs)];
      const negative = [
        ...patterns(
          type,
          inputs.map((x) => -x),
        ),
      ];
      const expected = [even, low, low + 1, low];
      if (`${rounded}` !== `${expected}`) {
        expect.fail(`above pattern ${low.toString(16)}: ${rounded} instead of ${expected}`);
      }
      expect(negative).toEqual(expected.map((pattern) => pattern | 0x8000));
    }
  });

  it('overflows to infinity and underflows to zero, with the sign kept', () => {
    const inputs = Float32Array.of(3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -1e-45);
    expect([...patterns(type, inputs)]).toEqual([infinity, infinity | 0x8000, 0, 0x8000]);
  });

  it('keeps a NaN whose payload lies in the bits that are cut off', () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
    for (const pattern of patterns(type, nan)) expect(pattern & 0x7fff).toBeGreaterThan(infinity);
  });
});

describe('F32', () => {
  it('keeps every bit, also of special values', () => {
    const words = Uint32Array.of(0, 0x80000000, 1, 0x7f800000, 0xff800000, 0x3f800001, 0x7f7fffff);
    const values = new Float32Array(words.buffer);
    const bytes = formats.F32.encode(values);
    expect(new Uint32Array(bytes.buffer)).toEqual(words);
    expect(new Uint32Array(decode('F32', bytes).buffer)).toEqual(words);
  });
});

describe.each(Object.keys(formats) as TensorType[])('%s as a format', (type) => {
  it('reads and writes parts of larger buffers, at any byte offset', () => {
    const values = Float32Array.of(99, 1, -2, 0.5, 99).subarray(1, 4);
    const bytes = formats[type].encode(values);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    const out = new Float32Array(5).fill(7);
    formats[type].decode(shifted.subarray(1), out.subarray(1, 4));
    expect([...out]).toEqual([7, 1, -2, 0.5, 7]);
  });

  it('knows its size', () => {
    expect(formats[type].name).toBe(type);
    expect(formatBytes(type, 3)).toBe(formats[type].encode(new Float32Array(3)).length);
  });
});

describe('single halves', () => {
  it('round-trip through numbers', () => {
    expect(floatToHalf(1 / 3)).toBe(0x3555);
    expect(halfToFloat(0x3555)).toBe(0.333251953125);
    expect(floatToHalf(65519.99)).toBe(0x7bff);
    expect(floatToHalf(65520)).toBe(0x7c00);
  });
});
