import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import type { ReadOptions } from './byte-source.ts';
import { readGgufHeader } from './gguf-header.ts';
import { GgufArray, type GgufStrings } from './gguf-types.ts';
import { encodeGgufHeader, type GgufEntry, type GgufTensorPlan } from './gguf-write.ts';
import { MemorySource } from './memory.ts';

/** Counts what is asked for, which is what would be allocated. */
class CountingSource extends MemorySource {
  bytesRead = 0;
  largestRead = 0;
  override read(offset: number, length: number, options?: ReadOptions) {
    this.bytesRead += length;
    this.largestRead = Math.max(this.largestRead, options?.into?.buffer.byteLength ?? length);
    return super.read(offset, length, options);
  }
}

function header(bytes: Uint8Array) {
  return readGgufHeader(new MemorySource('x.gguf', bytes));
}

async function failure(promise: Promise<unknown>): Promise<MowgliError> {
  const error = await promise.then(
    () => expect.fail('it should have failed'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(MowgliError);
  return error;
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

const values: Record<string, GgufEntry> = {
  u8: ['u8', 255],
  i8: ['i8', -128],
  u16: ['u16', 65535],
  i16: ['i16', -32768],
  u32: ['u32', 0xffffffff],
  i32: ['i32', -(2 ** 31)],
  f32: ['f32', 1e-6],
  yes: ['bool', true],
  no: ['bool', false],
  empty: ['string', ''],
  text: ['string', 'Grüße, 世界 🌍\n\0"'],
  small: ['u64', 2 ** 53 - 1],
  large: ['u64', 2n ** 64n - 1n],
  negative: ['i64', -5],
  low: ['i64', -(2n ** 63n)],
  f64: ['f64', 0.1],
  __proto__of: ['u8', 1],
  u8s: ['array', 'u8', [1, 2, 255]],
  i8s: ['array', 'i8', [-1]],
  u16s: ['array', 'u16', [65535]],
  i16s: ['array', 'i16', [-2]],
  u32s: ['array', 'u32', [4294967295]],
  i32s: ['array', 'i32', [-7, 7]],
  f32s: ['array', 'f32', [0.5, -0.25]],
  bools: ['array', 'bool', [true, false]],
  strings: ['array', 'string', ['', 'ab', '世', 'x'.repeat(100)]],
  u64s: ['array', 'u64', [1n, 2n ** 63n]],
  i64s: ['array', 'i64', [-1n]],
  f64s: ['array', 'f64', [0.1]],
  none: ['array', 'f32', []],
  nested: [
    'array',
    'array',
    [
      ['u8', [1, 2]],
      ['string', ['deep']],
      ['array', [['bool', [true]]]],
    ],
  ],
};

/** What is expected to be read: plain JavaScript. */
function plain(value: unknown): unknown {
  if (!(value instanceof GgufArray)) return value;
  return [value.type, [...(value.elements as Iterable<unknown>)].map(plain)];
}

const tensors: GgufTensorPlan[] = [
  { name: 'matrix', type: 'Q4_0', shape: [3, 64] },
  { name: 'vector', type: 'F32', shape: [5] },
  { name: 'stack', type: 'IQ1_M', shape: [2, 3, 256] },
  { name: 'four', type: 'BF16', shape: [2, 3, 4, 5] },
];
const tensorBytes = [3 * 36, 20, 6 * 56, 240];

function file(plan: Partial<Parameters<typeof encodeGgufHeader>[0]> = {}, tail = 4096) {
  const head = encodeGgufHeader({
    metadata: new Map(Object.entries(values)),
    tensors,
    ...plan,
  });
  const bytes = new Uint8Array(head.length + tail);
  bytes.set(head);
  return { bytes, headBytes: head.length };
}

describe('a header', () => {
  it.each([
    [2, 32],
    [3, 32],
    [3, 256],
    [3, 8],
  ])(
    'of version %i, aligned to %i, gives back all that was written',
    async (version, alignment) => {
      const { bytes, headBytes } = file({ version, alignment });
      const read = await header(bytes);
      expect(read.version).toBe(version);
      expect(read.alignment).toBe(alignment);
      const f32 = Math.fround(1e-6);
      for (const [key, [type, ...rest]] of Object.entries(values)) {
        const expected =
          type === 'array'
            ? [rest[0], (rest[1] as unknown[]).map((v) => (typeof v === 'boolean' ? Number(v) : v))]
            : rest[0];
        if (key === 'nested') continue;
        expect([key, plain(read.metadata.get(key))]).toEqual([key, key === 'f32' ? f32 : expected]);
      }
      expect(plain(read.metadata.get('nested'))).toEqual([
        'array',
        [
          ['u8', [1, 2]],
          ['string', ['deep']],
          ['array', [['bool', [1]]]],
        ],
      ]);
      let offset = headBytes;
      for (const [i, { name, type, shape }] of tensors.entries()) {
        const place = { name, type, shape, bytes: tensorBytes[i], offset };
        expect(read.tensors.get(name)).toEqual(place);
        offset = Math.ceil((offset + tensorBytes[i]) / alignment) * alignment;
      }
      expect([...read.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
    },
  );

  it('keeps integers that a number holds exactly as numbers, and others as bigints', async () => {
    const { metadata } = await header(file().bytes);
    expect(metadata.get('small')).toBe(2 ** 53 - 1);
    expect(metadata.get('large')).toBe(2n ** 64n - 1n);
    expect(metadata.get('negative')).toBe(-5);
  });

  it('may have neither metadata nor tensors', async () => {
    const { metadata, tensors } = await header(
      encodeGgufHeader({ metadata: new Map(), tensors: [] }),
    );
    expect([metadata.size, tensors.size]).toEqual([0, 0]);
  });

  it('may have gaps between tensors, in any order', async () => {
    const { bytes } = file({
      tensors: [
        { name: 'b', type: 'F32', shape: [8] },
        { name: 'a', type: 'F32', shape: [8] },
      ],
    });
    const at = (name: string) => find(bytes, name) + name.length + 4 + 8 + 4;
    new DataView(bytes.buffer).setBigUint64(at('b'), 1024n, true);
    const read = await header(bytes);
    const [b, a] = [...read.tensors.values()];
    expect(b.offset - a.offset).toBe(1024 - 32);
  });

  it('is read in pieces, and hardly anything after it', async () => {
    const tokens = Array.from({ length: 60_000 }, (_, i) => `token ${i}`);
    const metadata = new Map<string, GgufEntry>([
      ['tokens', ['array', 'string', tokens]],
      ['kinds', ['array', 'i32', tokens.map((_, i) => i)]],
      ['template', ['string', 'x'.repeat(300_000)]],
    ]);
    const { bytes, headBytes } = file({ metadata }, 40 << 20);
    const source = new CountingSource('x.gguf', bytes);
    const read = await readGgufHeader(source);
    expect(source.bytesRead).toBeLessThan(2 * headBytes);
    const array = read.metadata.get('tokens') as GgufArray;
    expect([...(array.elements as GgufStrings)]).toEqual(tokens);
    const kinds = (read.metadata.get('kinds') as GgufArray).elements as Int32Array;
    expect(kinds.every((kind, i) => kind === i)).toBe(true);
    expect((read.metadata.get('template') as string).length).toBe(300_000);
  });

  it('stops when the signal fires', async () => {
    const signal = AbortSignal.abort();
    const error = await failure(
      readGgufHeader(new MemorySource('x.gguf', file().bytes), { signal }),
    );
    expect(error.code).toBe('ABORTED');
  });
});

/** Where a GGUF string of this text stands: at its first byte, after the length. */
function find(bytes: Uint8Array, text: string): number {
  const pattern = Buffer.alloc(8 + text.length);
  pattern.writeBigUInt64LE(BigInt(text.length));
  pattern.write(text, 8);
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(pattern);
  if (at < 0) throw new Error(`no ${text}`);
  return at + 8;
}

const huge = 2n ** 64n - 1n;
type Change = (view: DataView, bytes: Uint8Array) => Uint8Array | undefined;

/** A u64 of the file, at a place that depends on it. */
const u64 =
  (at: (bytes: Uint8Array) => number, value: bigint): Change =>
  (view, bytes) => {
    view.setBigUint64(at(bytes), value, true);
    return undefined;
  };
const u32 =
  (at: (bytes: Uint8Array) => number, value: number): Change =>
  (view, bytes) => {
    view.setUint32(at(bytes), value, true);
    return undefined;
  };
const after =
  (text: string, bytes = 0) =>
  (file: Uint8Array) =>
    find(file, text) + text.length + bytes;
/** Within the description of the tensor "matrix", which has two dimensions. */
const matrix = (bytes: number) => after('matrix', bytes);

const nested = (depth: number): readonly [string, readonly unknown[]] =>
  depth === 0 ? ['u8', []] : ['array', [nested(depth - 1)]];
const deep = (depth: number): GgufEntry => ['array', ...nested(depth)] as unknown as GgufEntry;

const malformed: [string, ErrorCode, RegExp, Change | Uint8Array][] = [
  ['an empty file', 'FILE_TRUNCATED', /beginning/, new Uint8Array(0)],
  ['nothing but the magic', 'FILE_TRUNCATED', /beginning/, new TextEncoder().encode('GGUF')],
  ['another magic', 'FILE_INVALID', /does not begin with "GGUF"/, u32(() => 0, 0x67676a74)],
  [
    'a Git LFS pointer',
    'FILE_INVALID',
    /git lfs pull/,
    new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n'),
  ],
  ['version 1', 'FILE_INVALID', /version 1/, u32(() => 4, 1)],
  ['version 4', 'FILE_INVALID', /version 4/, u32(() => 4, 4)],
  ['big-endian numbers', 'FILE_INVALID', /big-endian/, u32(() => 4, 0x03000000)],
  ['2^64 - 1 tensors', 'FILE_INVALID', /tensors/, u64(() => 8, huge)],
  ['2^63 tensors', 'FILE_INVALID', /tensors/, u64(() => 8, 2n ** 63n)],
  ['more tensors than bytes', 'FILE_TRUNCATED', /tensors/, u64(() => 8, 60_000n)],
  ['one tensor too many', 'FILE_INVALID', /./, u64(() => 8, 5n)],
  ['2^64 - 1 keys', 'FILE_INVALID', /metadata keys/, u64(() => 16, huge)],
  ['more keys than bytes', 'FILE_TRUNCATED', /metadata keys/, u64(() => 16, 60_000n)],
  ['a key of 2^64 - 1 bytes', 'FILE_INVALID', /metadata key at byte/, u64(() => 24, huge)],
  ['a key longer than the file', 'FILE_TRUNCATED', /metadata key takes/, u64(() => 24, 60_000n)],
  ['a string of 2^64 - 1 bytes', 'FILE_TRUNCATED', /text/, u64(after('text', 4), huge)],
  ['a string past the end', 'FILE_TRUNCATED', /"text" takes/, u64(after('text', 4), 10_000n)],
  ['an unknown value type', 'FILE_INVALID', /unknown type 13/, u32(after('u16'), 13)],
  ['value type 2^32 - 1', 'FILE_INVALID', /unknown type/, u32(after('u16'), 2 ** 32 - 1)],
  ['an unknown element type', 'FILE_INVALID', /unknown type 99/, u32(after('u16s', 4), 99)],
  ['an array of 2^64 - 1', 'FILE_INVALID', /elements of "i32s"/, u64(after('i32s', 8), huge)],
  ['2^61 eight-byte elements', 'FILE_INVALID', /elements/, u64(after('u64s', 8), 2n ** 61n)],
  ['an array past the end', 'FILE_TRUNCATED', /elements/, u64(after('f32s', 8), 9_000n)],
  ['2^53 strings', 'FILE_INVALID', /elements/, u64(after('strings', 8), 2n ** 53n)],
  ['strings past the end', 'FILE_TRUNCATED', /elements/, u64(after('strings', 8), 5_000n)],
  [
    'a string in an array past the end',
    'FILE_TRUNCATED',
    /elements/,
    u64(after('strings', 16), huge),
  ],
  [
    'a bool that is neither',
    'FILE_INVALID',
    /bool 2/,
    (view, bytes) => {
      view.setUint8(after('yes', 4)(bytes), 2);
      return undefined;
    },
  ],
  [
    'text that is not UTF-8',
    'FILE_INVALID',
    /UTF-8/,
    (view, bytes) => {
      view.setUint8(after('text', 12)(bytes), 0xff);
      return undefined;
    },
  ],
  [
    'the same key twice',
    'FILE_INVALID',
    /"i8" twice/,
    (_, bytes) => {
      bytes.set([0x69], find(bytes, 'u8')); // u8 -> i8
      return undefined;
    },
  ],
  [
    'arrays in arrays without end',
    'FILE_INVALID',
    /arrays in arrays/,
    file({ metadata: new Map([['a', deep(50)]]) }).bytes,
  ],
  [
    'more arrays than any file has',
    'FILE_INVALID',
    /elements/,
    file({
      metadata: new Map([['a', ['array', 'array', Array(70_000).fill(['u8', []])] as GgufEntry]]),
    }).bytes,
  ],
  ...[0, 3, 48, 2 ** 17, 2 ** 32 - 1].map((alignment): [string, ErrorCode, RegExp, Uint8Array] => [
    `alignment ${alignment}`,
    'FILE_INVALID',
    /general.alignment/,
    file({ metadata: new Map([['general.alignment', ['u32', alignment]]]) }).bytes,
  ]),
  [
    'an alignment in words',
    'FILE_INVALID',
    /general.alignment/,
    file({ metadata: new Map([['general.alignment', ['string', '32']]]) }).bytes,
  ],
  [
    'two tensors of one name',
    'FILE_INVALID',
    /two tensors with the name "vector"/,
    (_, bytes) => {
      bytes.set(new TextEncoder().encode('vector'), find(bytes, 'matrix'));
      return undefined;
    },
  ],
  [
    "a tensor's name of 65 bytes",
    'FILE_INVALID',
    /65 bytes/,
    file({ tensors: [{ name: 'x'.repeat(65), type: 'F32', shape: [1] }] }).bytes,
  ],
  ['a tensor of no dimension', 'FILE_INVALID', /0 dimensions/, u32(matrix(0), 0)],
  ['a tensor of 5 dimensions', 'FILE_INVALID', /5 dimensions/, u32(matrix(0), 5)],
  ['2^32 - 1 dimensions', 'FILE_INVALID', /dimensions/, u32(matrix(0), 2 ** 32 - 1)],
  ['a dimension of 0', 'FILE_INVALID', /impossible shape/, u64(matrix(4), 0n)],
  ['a dimension of 2^64 - 1', 'FILE_INVALID', /impossible shape/, u64(matrix(4), huge)],
  ['a dimension of 2^60', 'FILE_INVALID', /impossible shape/, u64(matrix(12), 2n ** 60n)],
  ['a tensor past the end', 'FILE_TRUNCATED', /ends at byte/, u64(matrix(12), 2n ** 40n)],
  ['rows of parts of blocks', 'FILE_INVALID', /whole blocks of 32/, u64(matrix(4), 48n)],
  ['a type that was withdrawn', 'TENSOR_TYPE', /Q4_2/, u32(matrix(20), 4)],
  ['a type that is not read', 'TENSOR_TYPE', /NVFP4/, u32(matrix(20), 40)],
  ['a type that is not known', 'TENSOR_TYPE', /number 12345/, u32(matrix(20), 12345)],
  ['an unaligned tensor', 'FILE_INVALID', /multiple of the alignment/, u64(matrix(24), 8n)],
  ['an offset of 2^64 - 32', 'FILE_INVALID', /multiple/, u64(matrix(24), huge - 31n)],
  ['an offset past the end', 'FILE_TRUNCATED', /ends at byte/, u64(matrix(24), 2n ** 40n)],
  ['tensors that overlap', 'FILE_INVALID', /overlap/, u64(matrix(24), 96n)],
  ['tensors at one place', 'FILE_INVALID', /overlap/, u64(after('vector', 16), 0n)],
  [
    'a header that ends in a tensor',
    'FILE_TRUNCATED',
    /tensor "four"/,
    (_, bytes) => bytes.slice(0, find(bytes, 'four') + 10),
  ],
  [
    'a header that ends in a number',
    'FILE_TRUNCATED',
    /elements of "f64s"/,
    (_, bytes) => bytes.slice(0, after('f64s', 11)(bytes)),
  ],
  [
    'tensors that end too early',
    'FILE_TRUNCATED',
    /"four" ends at byte/,
    (_, bytes) => bytes.slice(0, -(4096 - 600)),
  ],
];

describe('a malformed header', () => {
  it.each(malformed)(
    '%s: %s',
    async (_, code, message, change) => {
      let bytes: Uint8Array = file().bytes;
      if (change instanceof Uint8Array) bytes = change;
      else bytes = change(new DataView(bytes.buffer), bytes) ?? bytes;
      const source = new CountingSource('x.gguf', bytes);
      const error = await failure(readGgufHeader(source));
      expect(error.message).toMatch(message);
      expect(error.message).toContain('x.gguf');
      expect(error.code).toBe(code);
      expect(source.bytesRead).toBeLessThanOrEqual(bytes.length);
      expect(source.largestRead).toBeLessThanOrEqual(2 * bytes.length);
    },
    2000,
  );

  it('of absurd length is given up', async () => {
    // 200 MB of one key's text, made when it is read.
    const head = file({ metadata: new Map([['a', ['string', '']]]) }, 0).bytes;
    new DataView(head.buffer).setBigUint64(find(head, 'a') + 1 + 4, 150_000_000n, true);
    const source = {
      name: 'x.gguf',
      size: 200_000_000,
      async read(offset: number, length: number, options?: ReadOptions) {
        const target = options?.into ?? new Uint8Array(length);
        target.set(head.subarray(offset, offset + length));
        return target;
      },
      async close() {},
    };
    const error = await failure(readGgufHeader(source));
    expect(error.code).toBe('FILE_INVALID');
    expect(error.message).toMatch(/not to be believed/);
  });
});

describe('mutated headers', () => {
  /** Numbers that counts, lengths, types and offsets break at. */
  const nasty = [0n, 1n, 2n ** 8n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, huge];

  it('either open or fail with a typed error, and never take more than twice the file', async () => {
    const { bytes: valid, headBytes } = file();
    const codes = new Map<string, number>();
    for (let seed = 1; seed <= 2000; seed++) {
      const random = uniform(seed);
      const below = (n: number) => Math.floor(random() * n);
      let bytes = valid.slice();
      for (let changes = 1 + below(3); changes > 0; changes--) {
        const at = below(headBytes);
        const kind = below(5);
        if (kind === 0) bytes[at] = below(256);
        else if (kind === 1) bytes[at] ^= 1 << below(8);
        else if (kind === 2) {
          const view = new DataView(bytes.buffer);
          view.setBigUint64(Math.min(at, bytes.length - 8), nasty[below(nasty.length)], true);
        } else if (kind === 3) bytes = bytes.slice(0, bytes.length - below(bytes.length));
        else bytes.copyWithin(at, below(headBytes), below(headBytes));
        if (bytes.length < 8) break;
      }
      const source = new CountingSource('mutated.gguf', bytes);
      const outcome = await readGgufHeader(source).then(
        // Strings are decoded when they are looked at.
        ({ metadata }) => {
          try {
            for (const value of metadata.values()) plain(value);
            return 'opens';
          } catch (error) {
            return error;
          }
        },
        (error) => error,
      );
      const what = `seed ${seed}: ${outcome}`;
      if (outcome !== 'opens') expect(outcome, what).toBeInstanceOf(MowgliError);
      expect(source.bytesRead, what).toBeLessThanOrEqual(bytes.length);
      expect(source.largestRead, what).toBeLessThanOrEqual(2 * bytes.length);
      const code = outcome === 'opens' ? 'opens' : (outcome as MowgliError).code;
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    // The mutations reach all the ways to fail, and some do no harm.
    expect([...codes.keys()].sort()).toEqual(
      ['FILE_INVALID', 'FILE_TRUNCATED', 'TENSOR_TYPE', 'opens'].sort(),
    );
  }, 10_000);
});
