import { describe, expect, it } from 'vitest';
import { isPlainFileName } from './byte-source.ts';
import { MemoryFolder, MemorySource } from './memory.ts';

const bytes = () => Uint8Array.of(10, 11, 12, 13, 14);

describe('MemorySource', () => {
  it('reads exactly what is asked for, as a copy', async () => {
    const source = new MemorySource('m', bytes());
    const part = await source.read(1, 3);
    expect([...part]).toEqual([11, 12, 13]);
    part.fill(0);
    expect([...(await source.read(0, 5))]).toEqual([...bytes()]);
    expect(await source.read(5, 0)).toHaveLength(0);
  });

  it('fills the beginning of a given buffer and nothing else', async () => {
    const into = new Uint8Array(4).fill(99);
    const part = await new MemorySource('m', bytes()).read(3, 2, { into });
    expect(part.buffer).toBe(into.buffer);
    expect([...part]).toEqual([13, 14]);
    expect([...into]).toEqual([13, 14, 99, 99]);
  });

  it.each([
    [0, 6, {}, 'FILE_TRUNCATED', 'bytes 0 to 6 were asked for, but it has only 5'],
    [6, 0, {}, 'FILE_TRUNCATED', 'm: bytes 6 to 6'],
    [-1, 1, {}, 'OPTION_INVALID', 'cannot read 1 bytes at -1'],
    [0, -1, {}, 'OPTION_INVALID', 'cannot read -1 bytes'],
    [0.5, 1, {}, 'OPTION_INVALID', 'at 0.5'],
    [0, Number.NaN, {}, 'OPTION_INVALID', 'cannot read NaN'],
    [0, 3, { into: new Uint8Array(2) }, 'OPTION_INVALID', 'do not fit into a buffer of 2'],
    [0, 3, { signal: AbortSignal.abort() }, 'ABORTED', 'Reading m was aborted'],
  ])('refuses (%i, %i, %o)', async (offset, length, options, code, fragment) => {
    const read = new MemorySource('m', bytes()).read(offset, length, options);
    await expect(read).rejects.toMatchObject({ code, message: expect.stringContaining(fragment) });
  });

  it('is of no use once closed', async () => {
    const source = new MemorySource('m', bytes());
    await source.close();
    await source.close();
    await expect(source.read(0, 1)).rejects.toMatchObject({ code: 'DISPOSED' });
  });
});

describe('MemoryFolder', () => {
  it('holds bytes and text, and what was written into it', async () => {
    const folder = new MemoryFolder('f', { a: bytes(), b: 'é' });
    expect((await folder.open('a'))!.name).toBe('f/a');
    expect((await folder.open('b'))!.size).toBe(2);
    expect(await folder.open('c')).toBeUndefined();
    const sink = await folder.create('c');
    const chunk = bytes();
    await sink.write(chunk.subarray(0, 2));
    chunk.fill(0);
    await sink.write(chunk.subarray(0, 1));
    expect(await folder.open('c')).toBeUndefined();
    await sink.close();
    expect([...(await (await folder.open('c'))!.read(0, 3))]).toEqual([10, 11, 0]);
  });

  it('does not look outside of itself', async () => {
    const folder = new MemoryFolder('f');
    await expect(folder.open('../x')).rejects.toMatchObject({ code: 'FILE_INVALID' });
    await expect(folder.create('/x')).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});

describe('isPlainFileName', () => {
  it.each(['model-00001-of-00016.safetensors', '.hidden', '...', 'a b', 'é', '__proto__'])(
    'accepts %j',
    (name) => expect(isPlainFileName(name)).toBe(true),
  );
  it.each(['', '.', '..', 'a/b', '/a', '../a', 'a\\b', 'C:a', 'a\0'])('refuses %j', (name) =>
    expect(isPlainFileName(name)).toBe(false),
  );
});
