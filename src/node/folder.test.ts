import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../files/checkpoint.ts';
import { parseModelConfig } from '../files/model-config.ts';
import { presets } from '../files/presets.ts';
import { SyntheticStore } from '../files/synthetic.ts';
import { writeCheckpoint } from '../files/write-safetensors.ts';
import { formats } from '../quant/index.ts';
import { NodeFolder } from './folder.ts';
import { NodeFolderSink } from './folder-sink.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'mowgli-'));
});
afterAll(() => rm(root, { recursive: true }));

describe('NodeFolder', () => {
  it('opens files, also through links, and says when there is none', async () => {
    await writeFile(join(root, 'a.txt'), 'hello');
    await symlink(join(root, 'a.txt'), join(root, 'link.txt'));
    await symlink(join(root, 'gone'), join(root, 'broken.txt'));
    await mkdir(join(root, 'inner'));
    const folder = await NodeFolder.open(root);
    for (const name of ['a.txt', 'link.txt']) {
      const source = (await folder.open(name))!;
      expect(Buffer.from(await source.read(0, 5)).toString()).toBe('hello');
      await source.close();
    }
    for (const name of ['b.txt', 'broken.txt', 'inner']) {
      expect(await folder.open(name)).toBeUndefined();
    }
  });

  it('does not open what lies elsewhere', async () => {
    const folder = await NodeFolder.open(join(root, 'inner'));
    for (const name of ['../a.txt', join(root, 'a.txt'), '..', '']) {
      await expect(folder.open(name)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    }
  });

  it('says what is wrong with a path', async () => {
    await expect(NodeFolder.open(join(root, 'nothing'))).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('There is no folder'),
    });
    await expect(NodeFolder.open(join(root, 'a.txt'))).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('is a file, not a folder'),
    });
  });
});

describe('NodeFolderSink', () => {
  it('writes a model that opens again, value for value', async () => {
    const path = join(root, 'models', 'tiny');
    const { configJson, generationConfigJson } = presets.tiny;
    const tensors = new SyntheticStore(parseModelConfig(configJson), { seed: 3 });
    await writeCheckpoint(
      new NodeFolderSink(path),
      { configJson, generationConfigJson, tensors },
      { maxShardBytes: 10_000_000, chunkBytes: 100_001 },
    );
    expect((await readdir(path)).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    const checkpoint = await openCheckpoint(await NodeFolder.open(path));
    for (const name of tensors.tensors.keys()) {
      const [read, made] = await Promise.all([checkpoint.tensors.read(name), tensors.read(name)]);
      expect(Buffer.compare(read, made), name).toBe(0);
    }
    await checkpoint.close();
  });

  it('writes only into its folder, and says when it cannot', async () => {
    const sink = new NodeFolderSink(root);
    await expect(sink.create('../x')).rejects.toMatchObject({ code: 'FILE_INVALID' });
    const blocked = new NodeFolderSink(join(root, 'a.txt'));
    await expect(blocked.create('x')).rejects.toMatchObject({
      message: expect.stringContaining('cannot be written'),
    });
  });
});

describe('the model in this repository, written by another program', () => {
  it('opens, with sensible weights', async () => {
    const path = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));
    const checkpoint = await openCheckpoint(await NodeFolder.open(path));
    expect(checkpoint.config).toMatchObject({ numHiddenLayers: 5, numExperts: 16, headDim: 64 });
    expect(checkpoint.config.eosTokenIds).toEqual([4086, 4084]);
    expect(checkpoint.generationDefaults).toMatchObject({ doSample: true, topK: 20 });
    expect(checkpoint.tokenizerJson).toBeTypeOf('object');
    expect(checkpoint.tokenizerConfig).toBeTypeOf('object');
    let bytes = 0;
    for (const tensor of checkpoint.tensors.tensors.values()) bytes += tensor.bytes;
    expect(bytes).toBe(23247616); // the total_size of its index
    // A trained norm is near 1, and a wrong offset or type would not be.
    const norm = new Float32Array(256);
    formats.BF16.decode(await checkpoint.tensors.read('model.norm.weight'), norm);
    const mean = norm.reduce((sum, value) => sum + value, 0) / 256;
    expect(mean).toBeGreaterThan(0.1);
    expect(mean).toBeLessThan(10);
    await checkpoint.close();
  });
});
