import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, test } from 'vitest';
import { presets } from '../src/files/presets.ts';
import { findModel, openModel } from '../src/node.ts';
import { runCli } from './run-cli.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'mowgli-synthetic-'));
afterAll(() => rmSync(out, { recursive: true }));

const model = 'synthetic:tiny?type=q4_k&layers=1';

describe('scripts/make-model.ts', () => {
  const makeModel = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'scripts/make-model.ts', ...args], {
      cwd: root,
      encoding: 'utf8',
    });

  it('writes a GGUF file with the bytes of the synthetic model', async () => {
    const file = join(out, 'made.gguf');
    const types = ['--type', 'Q8_0', '--experts-type', 'q4_k', '--down-type', 'Q6_K'];
    const size = ['--preset', 'tiny', '--layers', '2', '--seed', '9'];
    const { status, stderr } = makeModel(...size, ...types, '--format', 'gguf', '--out', file);
    expect(stderr).toMatch(/100\.0 % of 0\.00\d GB/);
    expect(status, stderr).toBe(0);
    const made = await openModel(await findModel(file));
    const synthetic = await openModel(
      await findModel('synthetic:tiny?type=q8_0&experts_type=q4_k&down_type=q6_k&seed=9&layers=2'),
    );
    expect(made.config).toEqual(synthetic.config);
    expect(made.tensors.tensors.size).toBe(synthetic.tensors.tensors.size);
    for (const { name, ...info } of synthetic.tensors.tensors.values()) {
      expect(made.tensors.tensors.get(name), name).toMatchObject(info);
      const bytes = await synthetic.tensors.read(name);
      expect(Buffer.compare(await made.tensors.read(name), bytes), name).toBe(0);
    }
    await made.close();
  });

  it('leaves nothing behind when it cannot finish', () => {
    const config = join(out, 'dense.json');
    writeFileSync(config, JSON.stringify({ ...presets.tiny.configJson, num_hidden_layers: 1 }));
    const file = join(out, 'new', 'x.gguf');
    // A format that GGUF does not have shows when the header is written.
    const args = ['--config', config, '--type', 'fp8', '--format', 'gguf', '--out', file];
    const { status, stderr } = makeModel(...args);
    expect(stderr).toMatch(/TENSOR_TYPE: GGUF has no number type F8_B128/);
    expect(status).toBe(1);
    expect(existsSync(join(out, 'new'))).toBe(false);
  });
});

describe('a model without a tokenizer', () => {
  test('answers token ids with token ids', async () => {
    const args = ['generate', '-q', '--greedy', '-n', '4', '--model', model];
    const ids = ['--prompt-tokens', '5,6,7'];
    const streamed = await runCli([...args, ...ids]);
    expect(streamed.code, streamed.stderr).toBe(0);
    expect(streamed.stdout).toMatch(/^\d+ \d+ \d+ \d+\n$/);
    const json = JSON.parse((await runCli([...args, ...ids, '--json'])).stdout);
    expect(json.tokens.join(' ')).toBe(streamed.stdout.trim());
    expect(json).toMatchObject({ text: '', promptTokens: 3 });
  });

  test('a text for it is a usage error, before anything is loaded', async () => {
    const { code, stdout, stderr } = await runCli(['generate', '-q', '--model', model, 'Hello!']);
    expect(stderr).toMatch(
      /^mowgli: synthetic:tiny.* has no tokenizer .*--prompt-tokens 1,2,3, .*/,
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('inspect shows the 480B without a file', async () => {
    const args = ['inspect', '--json', 'synthetic:qwen3-coder-480b?type=q4_k'];
    const { code, stdout } = await runCli(args);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ container: 'synthetic', name: args[2] });
    expect(report.parameters.total / 1e9).toBeCloseTo(480.15, 2);
    expect(report.bytes / 1e9).toBeCloseTo(270.3, 0);
  });
});
