import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileSource } from './file-source.ts';

let folder: string;
let path: string;
const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31) ^ (i >> 8));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-'));
  path = join(folder, 'data.bin');
  await writeFile(path, content);
});
afterAll(() => rm(folder, { recursive: true }));

describe('FileSource', () => {
  it('reads exactly the range, at any position, many at a time', async () => {
    const source = await FileSource.open(path);
    expect(source).toMatchObject({ name: path, size: content.length });
    const reads = Array.from({ length: 200 }, async (_, i) => {
      const offset = (i * 7919) % content.length;
      const length = Math.min((i * i * 13) % 5000, content.length - offset);
      expect(await source.read(offset, length)).toEqual(content.slice(offset, offset + length));
    });
    await Promise.all(reads);
    expect(await source.read(content.length, 0)).toHaveLength(0);
    await source.close();
  });

  it('fills the beginning of a given buffer and nothing else', async () => {
    const source = await FileSource.open(path);
    const into = new Uint8Array(12).fill(0xaa).subarray(1);
    const part = await source.read(50, 8, { into });
    expect(part.buffer).toBe(into.buffer);
    expect(part).toEqual(content.slice(50, 58));
    expect([...into.subarray(8)]).toEqual([0xaa, 0xaa, 0xaa]);
    expect(new Uint8Array(into.buffer)[0]).toBe(0xaa);
    await source.close();
  });

  it('gives buffers of their own, not slices of a pool', async () => {
    const source = await FileSource.open(path);
    const part = await source.read(0, 10);
    expect(part.buffer.byteLength).toBe(10);
    expect(part.constructor).toBe(Uint8Array);
    await source.close();
  });

  it('has positions beyond 2^32', async () => {
    const large = join(folder, 'large.bin');
    await writeFile(large, '');
    await truncate(large, 2 ** 32 + 10); // sparse: takes no space
    const source = await FileSource.open(large);
    expect(source.size).toBe(2 ** 32 + 10);
    const into = new Uint8Array(10).fill(1);
    expect([...(await source.read(2 ** 32, 10, { into }))]).toEqual(Array(10).fill(0));
    await expect(source.read(2 ** 32, 11)).rejects.toMatchObject({ code: 'FILE_TRUNCATED' });
    await source.close();
    await rm(large);
  });

  it('finishes the reads in flight before it closes, and refuses later ones', async () => {
    const source = await FileSource.open(path);
    const reads = Array.from({ length: 20 }, (_, i) => source.read(i, 50_000));
    let finished = 0;
    for (const read of reads) read.then(() => finished++);
    const closing = source.close();
    await expect(source.read(0, 1)).rejects.toMatchObject({ code: 'DISPOSED' });
    await closing;
    expect(finished).toBe(20);
    expect(await reads[7]).toEqual(content.slice(7, 50_007));
    await source.close();
  });

  it('finishes also a read of several system calls', async () => {
    const large = join(folder, 'several.bin');
    await writeFile(large, content);
    await truncate(large, 100_000_000); // sparse: takes no space
    const source = await FileSource.open(large);
    const into = new Uint8Array(source.size).fill(1);
    const read = source.read(0, source.size, { into });
    await source.close();
    const part = await read;
    expect(Buffer.compare(part.subarray(0, content.length), content)).toBe(0);
    expect(part.at(-1)).toBe(0);
    await rm(large);
  });

  it('refuses ranges, buffers and signals before it reads', async () => {
    const source = await FileSource.open(path);
    for (const [offset, length, options, code] of [
      [content.length - 1, 2, {}, 'FILE_TRUNCATED'],
      [0, Number.MAX_SAFE_INTEGER, {}, 'FILE_TRUNCATED'],
      [-1, 1, {}, 'OPTION_INVALID'],
      [0, 4, { into: new Uint8Array(3) }, 'OPTION_INVALID'],
      [0, 4, { signal: AbortSignal.abort() }, 'ABORTED'],
    ] as const) {
      await expect(source.read(offset, length, options)).rejects.toMatchObject({ code });
    }
    await source.close();
  });

  it('notices a signal that fires while it reads', async () => {
    const source = await FileSource.open(path);
    const controller = new AbortController();
    const read = source.read(0, 50_000, { signal: controller.signal });
    controller.abort('enough');
    await expect(read).rejects.toMatchObject({ code: 'ABORTED', cause: 'enough' });
    await source.close();
  });

  it('says that a file was cut off while it was open', async () => {
    const shrinking = join(folder, 'shrinking.bin');
    await writeFile(shrinking, content);
    const source = await FileSource.open(shrinking);
    await truncate(shrinking, 60);
    await expect(source.read(50, 100)).rejects.toMatchObject({
      code: 'FILE_TRUNCATED',
      message: expect.stringContaining('now ends at 60'),
    });
    await source.close();
  });

  it('names a file that is not there, or is not a file', async () => {
    const inner = join(folder, 'inner');
    await mkdir(inner);
    for (const missing of [join(folder, 'nothing'), join(path, 'below-a-file'), inner]) {
      await expect(FileSource.open(missing)).rejects.toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: expect.stringContaining(missing),
      });
    }
  });
});
