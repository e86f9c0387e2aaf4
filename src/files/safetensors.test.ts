import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { formats, type TensorType } from '../quant/index.ts';
import type { ByteFolder, ByteSource, ReadOptions } from './byte-source.ts';
import { MemoryFolder, MemorySource } from './memory.ts';
import { openSafetensors } from './safetensors.ts';
import { readSafetensorsHeader } from './safetensors-header.ts';
import { elementCount, type TensorInfo, type TensorStore, tensorRange } from './tensors.ts';
import { writeSafetensors } from './write-safetensors.ts';

/** A file of a header, given as it shall stand there, and data. */
function file(header: string | object, data: Uint8Array | number = 0): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const tail = typeof data === 'number' ? new Uint8Array(data) : data;
  const bytes = new Uint8Array(8 + json.length + tail.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(tail, 8 + json.length);
  return bytes;
}

const f32 = (shape: unknown, data_offsets: unknown) => ({ dtype: 'F32', shape, data_offsets });

/** Two tensors, 24 bytes of data. */
const valid = { b: f32([2, 2], [0, 16]), a: f32([2], [16, 24]) };

function header(bytes: Uint8Array) {
  return readSafetensorsHeader(new MemorySource('x.safetensors', bytes));
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
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('the header', () => {
  it('gives names, types, shapes and places', async () => {
    const data = { ...valid, __metadata__: { format: 'pt' } };
    const { tensors, metadata } = await header(file(`${JSON.stringify(data)}   `, 24));
    const start = 8 + JSON.stringify(data).length + 3;
    expect([...tensors.values()]).toEqual([
      { name: 'b', type: 'F32', shape: [2, 2], bytes: 16, offset: start },
      { name: 'a', type: 'F32', shape: [2], bytes: 8, offset: start + 16 },
    ]);
    expect([...metadata]).toEqual([['format', 'pt']]);
  });

  it('may list tensors in any order, and hold scalars, empty tensors and nothing', async () => {
    const shuffled = {
      last: f32([1], [4, 8]),
      empty: f32([0, 7], [4, 4]),
      scalar: f32([], [0, 4]),
      end: f32([0], [8, 8]),
    };
    const { tensors } = await header(file(shuffled, 8));
    expect([...tensors.keys()]).toEqual(['scalar', 'empty', 'last', 'end']);
    expect((await header(file('{}'))).tensors.size).toBe(0);
  });

  it('takes names that mean something to JavaScript for names', async () => {
    const text =
      '{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' +
      '"constructor":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},' +
      '"a\\"b:{}":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}';
    const { tensors } = await header(file(text, 12));
    expect([...tensors.keys()]).toEqual(['__proto__', 'constructor', 'a"b:{}']);
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined();
  });

  it('does not take fields from a prototype that the file brings along', async () => {
    const text = '{"x":{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}';
    const error = await failure(header(file(text, 4)));
    expect(error).toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringContaining('shape'),
    });
  });

  const bad = (entry: unknown, data = 4) => file({ x: entry }, data);
  const huge = 2 ** 53;
  const cases: [string, Uint8Array, ErrorCode, string][] = [
    ['an empty file', new Uint8Array(0), 'FILE_TRUNCATED', 'has 0 bytes'],
    ['a file of 7 bytes', new Uint8Array(7), 'FILE_TRUNCATED', 'at least 8'],
    ['an empty header', file(''), 'FILE_INVALID', 'does not begin with "{"'],
    ['a header of spaces', file('    '), 'FILE_INVALID', 'does not begin with "{"'],
    ['a header with a byte order mark', file('\ufeff{}'), 'FILE_INVALID', 'begin with "{"'],
    ['a header that is a list', file('[]'), 'FILE_INVALID', 'does not begin with "{"'],
    ['a header longer than the limit', lengthOnly(100_000_001n), 'FILE_INVALID', '100000001 bytes'],
    [
      'a header of 2^64 - 1 bytes',
      lengthOnly(2n ** 64n - 1n),
      'FILE_INVALID',
      '18446744073709551615',
    ],
    ['a header longer than the file', lengthOnly(1000n), 'FILE_TRUNCATED', 'at least 1008'],
    [
      'a Git LFS pointer',
      text('version https://git-lfs.github.com'),
      'FILE_INVALID',
      'git lfs pull',
    ],
    ['a web page', text('<!DOCTYPE html><html></html>'), 'FILE_INVALID', 'not a safetensors file'],
    ['a GGUF file', text('GGUF\x03\0\0\0\0\0'), 'FILE_INVALID', 'not a safetensors file'],
    ['JSON that ends early', file('{"x":'), 'FILE_INVALID', 'is not JSON'],
    ['JSON with something after it', file('{} x'), 'FILE_INVALID', 'is not JSON'],
    ['bytes that are not UTF-8', notUtf8(), 'FILE_INVALID', 'is not UTF-8'],
    ['an entry that is null', bad(null), 'FILE_INVALID', 'described by null'],
    ['an entry that is a list', bad([1]), 'FILE_INVALID', 'described by [1]'],
    [
      'an entry without a shape',
      bad({ dtype: 'F32', data_offsets: [0, 4] }),
      'FILE_INVALID',
      'shape',
    ],
    ['a negative size', bad(f32([-1], [0, 4])), 'FILE_INVALID', 'shape [-1]'],
    ['a fractional size', bad(f32([0.5], [0, 4])), 'FILE_INVALID', 'shape [0.5]'],
    ['a size as text', bad(f32(['1'], [0, 4])), 'FILE_INVALID', 'shape ["1"]'],
    [
      'a size that is not exact',
      bad(f32([huge], [0, 4])),
      'FILE_INVALID',
      'shape [9007199254740992]',
    ],
    ['a shape as a number', bad(f32(1, [0, 4])), 'FILE_INVALID', 'shape 1'],
    [
      'a shape too large',
      bad(f32([2 ** 40, 2 ** 40], [0, 4])),
      'FILE_INVALID',
      'too large to exist',
    ],
    ['bytes beyond exactness', bad(f32([2 ** 52], [0, 4])), 'FILE_INVALID', 'too large to exist'],
    ['no data_offsets', bad({ dtype: 'F32', shape: [1] }), 'FILE_INVALID', 'data_offsets'],
    ['one data_offset', bad(f32([1], [0])), 'FILE_INVALID', 'data_offsets [0]'],
    ['three data_offsets', bad(f32([1], [0, 4, 8])), 'FILE_INVALID', 'data_offsets [0,4,8]'],
    ['a negative data_offset', bad(f32([1], [-4, 0])), 'FILE_INVALID', 'data_offsets [-4,0]'],
    ['data_offsets in reverse', bad(f32([1], [4, 0])), 'FILE_INVALID', 'before it begins'],
    [
      'more bytes than the shape',
      bad(f32([1], [0, 8]), 8),
      'FILE_INVALID',
      'needs 4 bytes, but has 8',
    ],
    [
      'fewer bytes than the shape',
      bad(f32([2], [0, 4])),
      'FILE_INVALID',
      'needs 8 bytes, but has 4',
    ],
    ['no dtype', bad({ shape: [1], data_offsets: [0, 4] }), 'FILE_INVALID', 'dtype undefined'],
    ['a dtype as a number', bad({ ...f32([1], [0, 4]), dtype: 4 }), 'FILE_INVALID', 'dtype 4'],
    [
      'FP8 of another kind',
      bad({ ...f32([4], [0, 4]), dtype: 'F8_E5M2' }),
      'TENSOR_TYPE',
      '"F8_E5M2", which is not read yet; use a checkpoint in F32, F16, BF16, F8_E4M3',
    ],
    [
      'integers',
      bad({ ...f32([1], [0, 4]), dtype: 'I32' }),
      'TENSOR_TYPE',
      '"I32", which is not read yet',
    ],
    [
      'an unknown dtype',
      bad({ ...f32([1], [0, 4]), dtype: 'Q9' }),
      'TENSOR_TYPE',
      'not a type of this file format',
    ],
    [
      'a dtype named like a method',
      bad({ ...f32([1], [0, 4]), dtype: 'toString' }),
      'TENSOR_TYPE',
      'toString',
    ],
    ['a gap before the first', bad(f32([1], [4, 8]), 8), 'FILE_INVALID', '4 bytes lie between'],
    [
      'a gap',
      file({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12),
      'FILE_INVALID',
      'lie between',
    ],
    [
      'an overlap',
      file({ a: f32([2], [0, 8]), b: f32([2], [4, 12]) }, 12),
      'FILE_INVALID',
      'overlap',
    ],
    [
      'the same bytes twice',
      file({ a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, 4),
      'FILE_INVALID',
      'overlap',
    ],
    [
      'bytes after the last',
      file({ x: f32([1], [0, 4]) }, 5),
      'FILE_INVALID',
      '1 bytes after its last tensor',
    ],
    ['too few bytes', file({ x: f32([1], [0, 4]) }, 3), 'FILE_TRUNCATED', 'download it again'],
    [
      'a name twice',
      file(`{"x":${JSON.stringify(f32([1], [0, 4]))},"x":${JSON.stringify(f32([1], [0, 4]))}}`, 4),
      'FILE_INVALID',
      'same key twice',
    ],
    [
      'a field twice',
      file('{"x":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}}', 4),
      'FILE_INVALID',
      'same key twice',
    ],
    [
      'metadata as text',
      file({ __metadata__: 'pt' }),
      'FILE_INVALID',
      '__metadata__ must be an object',
    ],
    ['metadata with a number', file({ __metadata__: { a: 1 } }), 'FILE_INVALID', 'only strings'],
    [
      'an entry nested very deeply',
      file(`{"x":${'['.repeat(1e5)}${']'.repeat(1e5)}}`),
      'FILE_INVALID',
      'nested too deeply',
    ],
  ];
  it.each(cases)('refuses %s', async (_, bytes, code, fragment) => {
    const error = await failure(header(bytes));
    expect(error.message).toContain(fragment);
    expect(error.message).toContain('x.safetensors');
    expect(error.code).toBe(code);
  });

  it('refuses every truncation of a valid file', async () => {
    const whole = file(valid, 24);
    await header(whole);
    for (let length = 0; length < whole.length; length++) {
      const error = await failure(header(whole.slice(0, length)));
      expect([length, error.code]).toEqual([length, 'FILE_TRUNCATED']);
      expect(error.message).toContain(`has ${length} bytes`);
    }
  });

  it('answers any mutation with a header or a typed error, and reads no more than the file', async () => {
    const original = file({ ...valid, __metadata__: { format: 'pt' } }, 24);
    const headerBytes = original.length - 24;
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 500; seed++) {
      const next = random(seed);
      const bytes = original.slice();
      for (let n = 1 + Math.floor(next() * 4); n > 0; n--) {
        bytes[Math.floor(next() * headerBytes)] = Math.floor(next() * 256);
      }
      const source = new CountingSource(bytes);
      const outcome = await readSafetensorsHeader(source).then(
        () => 'ok',
        (error) => {
          if (!(error instanceof MowgliError)) expect.fail(`seed ${seed}: ${error}`);
          return error.code;
        },
      );
      outcomes.add(outcome);
      if (source.bytesRead > bytes.length) expect.fail(`seed ${seed}: read ${source.bytesRead}`);
    }
    expect(outcomes).toContain('FILE_INVALID');
    expect(outcomes).toContain('TENSOR_TYPE');
  });

  it('stops when the signal fires', async () => {
    const signal = AbortSignal.abort();
    const source = new MemorySource('x', file(valid, 24));
    expect((await failure(readSafetensorsHeader(source, { signal }))).code).toBe('ABORTED');
  });
});

function lengthOnly(length: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

function notUtf8(): Uint8Array {
  const bytes = file('{"xx":1}');
  bytes[10] = 0xff;
  return bytes;
}

class CountingSource extends MemorySource {
  bytesRead = 0;
  constructor(bytes: Uint8Array) {
    super('mutated', bytes);
  }
  override read(offset: number, length: number, options?: ReadOptions) {
    this.bytesRead += length;
    return super.read(offset, length, options);
  }
}

/** A store over bytes in memory, to write from. */
class PlainStore implements TensorStore {
  readonly tensors: Map<string, TensorInfo>;
  readonly #bytes: Map<string, Uint8Array>;
  constructor(tensors: { name: string; type: TensorType; shape: number[]; bytes: Uint8Array }[]) {
    this.tensors = new Map(tensors.map((t) => [t.name, { ...t, bytes: t.bytes.length }]));
    this.#bytes = new Map(tensors.map((t) => [t.name, t.bytes]));
  }
  async read(name: string, options?: Parameters<TensorStore['read']>[1]) {
    const { offset, length } = tensorRange(this.tensors.get(name)!, options);
    return this.#bytes.get(name)!.slice(offset, offset + length);
  }
  async close() {}
}

function randomTensors(next: () => number) {
  const types = Object.keys(formats) as TensorType[];
  const names = ['__proto__', 'é\n"\\', '0', 'model.layers.0.w', '{}:,', 'toString', ''];
  return names.slice(0, 1 + Math.floor(next() * names.length)).map((name) => {
    const type = types[Math.floor(next() * types.length)];
    const shape = Array.from({ length: Math.floor(next() * 4) }, () => Math.floor(next() * 5));
    const length = elementCount(shape) * formats[type].blockBytes;
    const bytes = Uint8Array.from({ length }, () => Math.floor(next() * 256));
    return { name, type, shape, bytes };
  });
}

describe('writing and opening again', () => {
  it('gives the same tensors, whatever they are and however they are split', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const next = random(seed);
      const tensors = randomTensors(next);
      const folder = new MemoryFolder('model');
      await writeSafetensors(folder, new PlainStore(tensors), {
        maxShardBytes: 1 + Math.floor(next() * 300),
        chunkBytes: 1 + Math.floor(next() * 50),
      });
      const store = await openSafetensors(folder);
      const back = await Promise.all(
        [...store.tensors.values()].map(async ({ name, type, shape }) => {
          return { name, type, shape, bytes: await store.read(name) };
        }),
      );
      const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
      expect(back.sort(byName), `seed ${seed}`).toEqual(tensors.sort(byName));
    }
  });

  it('aligns tensors to their elements, and the data to 8 bytes', async () => {
    const folder = new MemoryFolder('model');
    await writeSafetensors(
      folder,
      new PlainStore([
        { name: 'half', type: 'F16', shape: [1], bytes: new Uint8Array(2) },
        { name: 'float', type: 'F32', shape: [1], bytes: new Uint8Array(4) },
      ]),
    );
    const { tensors } = await header(folder.files.get('model.safetensors')!);
    expect(tensors.get('float')!.offset % 8).toBe(0);
    expect(tensors.get('half')!.offset % 2).toBe(0);
  });
});

/** Keeps count of what is open, and can fail to open one file. */
class WatchedFolder implements ByteFolder {
  readonly name = 'model';
  readonly opened: string[] = [];
  open_ = 0;
  readonly #inner: MemoryFolder;
  constructor(files: Record<string, Uint8Array | string>) {
    this.#inner = new MemoryFolder('model', files);
  }
  async open(name: string): Promise<ByteSource | undefined> {
    const source = await this.#inner.open(name);
    if (source === undefined) return undefined;
    this.opened.push(name);
    this.open_++;
    let isOpen = true;
    return {
      name: source.name,
      size: source.size,
      read: (...args) => source.read(...args),
      close: async () => {
        if (isOpen) this.open_--;
        isOpen = false;
        await source.close();
      },
    };
  }
}

const one = (name: string, value: number) =>
  file({ [name]: f32([1], [0, 4]) }, new Uint8Array(Float32Array.of(value).buffer));
const index = (weight_map: unknown) => JSON.stringify({ metadata: {}, weight_map });
const sharded = {
  'model.safetensors.index.json': index({ a: '1.safetensors', b: '2.safetensors' }),
  '1.safetensors': one('a', 1),
  '2.safetensors': one('b', 2),
};

describe('openSafetensors', () => {
  it('opens each shard once and reads any part of a tensor', async () => {
    const folder = new WatchedFolder({
      'model.safetensors.index.json': index({ b: '1', a: '1', c: '2' }),
      '1': file(
        valid,
        Uint8Array.from({ length: 24 }, (_, i) => i),
      ),
      '2': one('c', 3),
    });
    const store = await openSafetensors(folder);
    expect(folder.opened.filter((name) => name === '1')).toHaveLength(1);
    expect([...(await store.read('a'))]).toEqual([16, 17, 18, 19, 20, 21, 22, 23]);
    expect([...(await store.read('b', { offset: 5, length: 3 }))]).toEqual([5, 6, 7]);
    expect([...(await store.read('b', { offset: 14 }))]).toEqual([14, 15]);
    expect(await store.read('b', { offset: 16 })).toHaveLength(0);
    const into = new Uint8Array(6).fill(255);
    const view = await store.read('a', { offset: 1, length: 4, into });
    expect(view.buffer).toBe(into.buffer);
    expect([...view]).toEqual([17, 18, 19, 20]);
    expect([...into]).toEqual([17, 18, 19, 20, 255, 255]);
    expect(folder.open_).toBe(2);
    await store.close();
    await store.close();
    expect(folder.open_).toBe(0);
    expect((await failure(store.read('a'))).code).toBe('DISPOSED');
  });

  it('prefers a single file over an index', async () => {
    const folder = new WatchedFolder({ ...sharded, 'model.safetensors': one('single', 1) });
    expect([...(await openSafetensors(folder)).tensors.keys()]).toEqual(['single']);
  });

  it('refuses ranges outside of a tensor, and names that it does not have', async () => {
    const store = await openSafetensors(new WatchedFolder(sharded));
    for (const options of [
      { offset: 5 },
      { length: 5 },
      { offset: 4, length: 1 },
      { offset: -1, length: 1 },
      { offset: 0.5, length: 1 },
      { length: 4, into: new Uint8Array(3) },
    ]) {
      const error = await failure(store.read('a', options));
      expect([JSON.stringify(options), error.code]).toEqual([
        JSON.stringify(options),
        'OPTION_INVALID',
      ]);
    }
    expect((await failure(store.read('toString'))).code).toBe('TENSOR_MISSING');
  });

  const cases: [string, Record<string, Uint8Array | string>, ErrorCode, string][] = [
    ['an empty folder', {}, 'FILE_NOT_FOUND', 'neither model.safetensors nor'],
    [
      'a shard that is absent',
      { ...sharded, '2.safetensors': null! },
      'FILE_NOT_FOUND',
      'model lacks 2.safetensors',
    ],
    [
      'a tensor that is not in its shard',
      { ...sharded, '2.safetensors': one('c', 2) },
      'TENSOR_MISSING',
      'puts tensor "b" into 2.safetensors',
    ],
    [
      'a tensor in the other shard',
      {
        ...sharded,
        'model.safetensors.index.json': index({ a: '2.safetensors', b: '1.safetensors' }),
      },
      'TENSOR_MISSING',
      'and 1 more like it',
    ],
    [
      'a tensor in two shards',
      { ...sharded, '2.safetensors': one('a', 2) },
      'FILE_INVALID',
      'is in 1.safetensors and in 2.safetensors',
    ],
    [
      'a damaged shard',
      { ...sharded, '2.safetensors': one('b', 2).slice(0, 20) },
      'FILE_TRUNCATED',
      '2.safetensors',
    ],
    [
      'an index that is not JSON',
      { 'model.safetensors.index.json': '{' },
      'FILE_INVALID',
      'is not JSON',
    ],
    [
      'an index that is a list',
      { 'model.safetensors.index.json': '[]' },
      'FILE_INVALID',
      'weight_map must be an object',
    ],
    [
      'an index without a map',
      { 'model.safetensors.index.json': '{}' },
      'FILE_INVALID',
      'weight_map must be an object',
    ],
    [
      'a map in the prototype',
      { 'model.safetensors.index.json': '{"__proto__":{"weight_map":{"a":"1"}}}' },
      'FILE_INVALID',
      'weight_map must be an object',
    ],
    [
      'an empty map',
      { 'model.safetensors.index.json': index({}) },
      'FILE_INVALID',
      'names no tensor',
    ],
    [
      'a map to a number',
      { 'model.safetensors.index.json': index({ a: 1 }) },
      'FILE_INVALID',
      'said to be in 1',
    ],
    ...['../x', '/etc/passwd', 'a/b', 'a\\b', '..', '.', '', 'C:x', 'a\0b'].map(
      (name): [string, Record<string, string>, ErrorCode, string] => [
        `a map to ${JSON.stringify(name)}`,
        { 'model.safetensors.index.json': index({ a: name }) },
        'FILE_INVALID',
        'which is not a file name',
      ],
    ),
  ];
  it.each(cases)('refuses %s, and closes what it opened', async (_, files, code, fragment) => {
    const present = Object.entries(files).filter(([, bytes]) => bytes !== null);
    const folder = new WatchedFolder(Object.fromEntries(present));
    const error = await failure(openSafetensors(folder));
    expect(error.message).toContain(fragment);
    expect(error.message).toContain('model');
    expect(error.code).toBe(code);
    expect(folder.open_).toBe(0);
  });

  it('closes all shards when one of many fails, also those opened meanwhile', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `${i}.safetensors`);
    const folder = new WatchedFolder({
      'model.safetensors.index.json': index(Object.fromEntries(names.map((n) => [n, n]))),
      ...Object.fromEntries(names.map((n, i) => [n, i === 7 ? new Uint8Array(3) : one(n, i)])),
    });
    expect((await failure(openSafetensors(folder))).code).toBe('FILE_TRUNCATED');
    expect(folder.opened.length).toBeGreaterThan(2);
    expect(folder.open_).toBe(0);
  });

  it('stops when the signal fires', async () => {
    const folder = new WatchedFolder(sharded);
    const error = await failure(openSafetensors(folder, { signal: AbortSignal.abort() }));
    expect(error.code).toBe('ABORTED');
    expect(folder.open_).toBe(0);
  });
});

describe('writeSafetensors', () => {
  const store = new PlainStore([
    { name: 'a', type: 'F32', shape: [4], bytes: new Uint8Array(16) },
    { name: 'b', type: 'F32', shape: [1], bytes: new Uint8Array(4) },
    { name: 'c', type: 'F32', shape: [1], bytes: new Uint8Array(4) },
  ]);

  it('splits by bytes and says so in the index', async () => {
    const folder = new MemoryFolder('model');
    const seen: number[][] = [];
    await writeSafetensors(folder, store, {
      maxShardBytes: 8,
      chunkBytes: 10,
      onProgress: (done, total) => seen.push([done, total]),
    });
    const json = JSON.parse(
      new TextDecoder().decode(folder.files.get('model.safetensors.index.json')),
    );
    expect(json).toEqual({
      metadata: { total_size: 24 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00002-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
      },
    });
    expect(seen).toEqual([10, 16, 20, 24].map((done) => [done, 24]));
  });

  it.each([{ maxShardBytes: 0 }, { chunkBytes: 1.5 }, { chunkBytes: Number.NaN }])(
    'refuses %o',
    async (options) => {
      const error = await failure(writeSafetensors(new MemoryFolder('model'), store, options));
      expect(error.code).toBe('OPTION_INVALID');
    },
  );

  it('stops when the signal fires, and closes the file', async () => {
    const controller = new AbortController();
    let closed = 0;
    const sink = {
      create: async () => ({
        write: async () => {},
        close: async () => {
          closed++;
        },
      }),
    };
    const written = writeSafetensors(sink, store, {
      chunkBytes: 8,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    expect((await failure(written)).code).toBe('ABORTED');
    expect(closed).toBe(1);
  });
});
