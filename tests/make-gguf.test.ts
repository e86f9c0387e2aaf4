import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/files/checkpoint.ts';
import { openGgufCheckpoint, openGgufParts } from '../src/files/gguf.ts';
import { NodeFolder } from '../src/node/folder.ts';
import { numberFormats } from '../src/quant/index.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const tinyCoder = join(root, 'models/tiny-coder');
const out = mkdtempSync(join(tmpdir(), 'mowgli-gguf-'));
afterAll(() => rmSync(out, { recursive: true }));

function makeGguf(...args: string[]) {
  const script = join(root, 'scripts/make-gguf.ts');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', script, ...args],
    { cwd: root, encoding: 'utf8' },
  );
  return { status, stdout, stderr };
}

describe('scripts/make-gguf.ts', () => {
  it('converts tiny-coder, in parts and several formats', async () => {
    const { status, stderr } = makeGguf(
      tinyCoder,
      join(out, 'tiny.gguf'),
      ...['--type', 'Q8_0', '--tensor-type', 'ffn_down=Q4_0', '--part-bytes', '5e6'],
    );
    expect(stderr).toMatch(/100\.0 % of 0\.01\d GB/);
    expect(status, stderr).toBe(0);

    const original = await openCheckpoint(await NodeFolder.open(tinyCoder));
    const parts = await openGgufParts(await NodeFolder.open(out), 'tiny-00001-of-00003.gguf');
    expect(parts.length).toBe(3);
    const converted = await openGgufCheckpoint(parts);
    expect(converted.config).toEqual(original.config);
    const { doSample: _, ...sampling } = original.generationDefaults;
    expect(converted.generationDefaults).toEqual(sampling);
    expect(converted.tokenizerJson).toEqual(original.tokenizerJson);
    const tokenizer = new Tokenizer(converted.tokenizerJson, converted.tokenizerConfig);
    expect(tokenizer.decode(tokenizer.encode('def f():\n    return 42'))).toBe(
      'def f():\n    return 42',
    );

    for (const [projection, type] of [
      ['down_proj', 'Q4_0'],
      ['up_proj', 'Q8_0'],
    ] as const) {
      const name = `model.layers.4.mlp.experts.15.${projection}.weight`;
      const weights = new Float32Array(128 * 256);
      numberFormats.BF16.decode(await original.tensors.read(name), weights);
      const expected = numberFormats[type].encode!(weights);
      expect(Buffer.compare(await converted.tensors.read(name), expected)).toBe(0);
    }
    await converted.close();
    await original.close();
  });

  it('replaces a file only when told to', () => {
    const file = join(out, 'again.gguf');
    expect(makeGguf(tinyCoder, file).status).toBe(0);
    const refused = makeGguf(tinyCoder, file);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/OPTION_INVALID: again.gguf is there already/);
    expect(makeGguf(tinyCoder, file, '--force').status).toBe(0);
  });

  it('says what is wrong with what it is asked for', () => {
    expect(makeGguf('--help').stdout).toMatch(/--tensor-type <pattern=type>/);
    const type = makeGguf(tinyCoder, join(out, 'x.gguf'), '--tensor-type', 'a=Q4_K');
    expect(type.stderr).toMatch(/must be pattern=type, with a type of F32/);
    const folder = makeGguf(join(out, 'nothing'), join(out, 'x.gguf'));
    expect(folder.stderr).toMatch(/FILE_NOT_FOUND/);
    expect([type.status, folder.status]).toEqual([1, 1]);
    expect(existsSync(join(out, 'x.gguf'))).toBe(false);
  });
});
