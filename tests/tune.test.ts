import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { cacheFolder, NodeTuningStore } from '../src/node/tuning-store.ts';
import {
  type LoadProgress,
  loadModel,
  MowgliError,
  type TuneReport,
  type TuningMode,
} from '../src/node.ts';
import { complete, greedy } from './model/complete.ts';
import { madeModel } from './model/folders.ts';
import { runCli } from './run-cli.ts';

/** Attention's matrices are just large enough for their kernels to be measured; no others are. */
const made = await madeModel({
  config: {
    hidden_size: 1056,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 128,
    num_hidden_layers: 1,
  },
});

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'mowgli-tune-'));
  vi.stubEnv('MOWGLI_CACHE_DIR', cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

/** The file that was remembered. */
async function remembered(): Promise<{ file: string; text: string }> {
  const files = await readdir(join(cache, 'tuning'));
  expect(files).toHaveLength(1);
  const file = join(cache, 'tuning', files[0]);
  return { file, text: await readFile(file, 'utf8') };
}

async function answer(tuning: TuningMode) {
  const measured: LoadProgress[] = [];
  const onProgress = (progress: LoadProgress) => {
    if (progress.phase === 'tuning') measured.push(progress);
  };
  await using model = await loadModel(made, { context: 64, chunk: 32, tuning, onProgress });
  const prompts = [[1, 2, 3], Array.from({ length: 40 }, (_, i) => (i * 7) % 256)];
  const tokens: (readonly number[])[] = [];
  for (const prompt of prompts) {
    tokens.push((await complete(model, { tokens: prompt }, { ...greedy, maxTokens: 12 })).tokens);
  }
  const labels = Object.keys(model.memory().byLabel);
  return { tokens, classes: measured[0]?.total ?? 0, labels };
}

describe('loadModel', () => {
  test('measures once, remembers it, and answers with the same tokens then', async () => {
    const first = await answer('auto');
    expect(first.classes).toBe(6); // qkv and o, each for a token, for a chunk, and for a short one
    expect(first.labels).not.toContain('tuning');
    const { text } = await remembered();
    const { adapter, classes } = JSON.parse(text);
    expect(adapter).not.toBe('');
    expect(Object.keys(classes)).toHaveLength(6);

    const second = await answer('auto');
    expect(second.classes).toBe(0);
    expect(second.tokens).toEqual(first.tokens);
    expect((await remembered()).text).toBe(text);
  });

  test.each([
    ['half a file', (text: string) => text.slice(0, text.length / 2)],
    [
      'the file of another adapter',
      (text: string) => text.replace('"adapter": "', '"adapter": "x'),
    ],
    [
      'variants that this device has not',
      (text: string) => text.replace(/"ms": \{[^}]*\}/g, '"ms": {"x": 1}'),
    ],
  ])('%s is measured again and replaced', async (_, damage) => {
    await answer('auto');
    const { file, text } = await remembered();
    await writeFile(file, damage(text));
    expect((await answer('auto')).classes).toBe(6);
    expect(Object.keys(JSON.parse((await remembered()).text).classes)).toHaveLength(6);
    expect((await readdir(join(cache, 'tuning'))).filter((name) => name.endsWith('.tmp'))).toEqual(
      [],
    );
  });

  test('does nothing of the kind when it is off, or when shapes are too small to matter', async () => {
    expect((await answer('off')).classes).toBe(0);
    const small = await madeModel();
    const phases = new Set<string>();
    const onProgress = ({ phase }: LoadProgress) => void phases.add(phase);
    await using model = await loadModel(small, { context: 64, tuning: 'auto', onProgress });
    expect(model.context).toBe(64);
    expect([...phases]).not.toContain('tuning');
    expect(await readdir(cache)).toEqual([]);
  });

  test('works where nothing can be written', async () => {
    await writeFile(join(cache, 'file'), '');
    vi.stubEnv('MOWGLI_CACHE_DIR', join(cache, 'file'));
    expect((await answer('auto')).classes).toBe(6);
  });

  test.each([
    ['the option', { tuning: 'fast' as TuningMode }, 'auto'],
    ['the environment variable', {}, 'fast'],
  ])('refuses another value of %s', async (_, options, environment) => {
    vi.stubEnv('MOWGLI_TUNING', environment);
    await expect(loadModel(made, options)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('fast'),
    });
  });
});

describe('mowgli tune', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mowgli-tuned-'));
    for (const [name, bytes] of made.files) await writeFile(join(folder, name), bytes);
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('measures a model anew, prints it and remembers it', async () => {
    const env = { MOWGLI_CACHE_DIR: cache };
    const args = ['tune', '--model', folder, '--chunk', '32'];
    const { code, stdout } = await runCli([...args, '--json'], { env });
    expect(code).toBe(0);
    const report: TuneReport = JSON.parse(stdout);
    expect(report.classes).toHaveLength(6);
    for (const { ms, chosen, rule } of report.classes) {
      expect(ms[chosen]).toBeGreaterThan(0);
      expect(Object.keys(ms)).toContain(rule);
    }
    expect(JSON.parse((await remembered()).text).adapter).toBe(report.adapter);
    expect((await answer('auto')).classes).toBe(0);

    const table = await runCli(args, { env });
    expect(table.stdout).toContain(report.adapter);
    expect(table.stdout).toMatch(/\| matvec +\| BF16 +\| 1536x1056 /);
  });

  test('says so when there is nothing to measure', async () => {
    const { code, stdout, stderr } = await runCli(['tune', '-m', 'synthetic:tiny'], {
      env: { MOWGLI_CACHE_DIR: cache },
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toMatch(/nothing to measure/);
  });

  test('stops at SIGINT', async () => {
    const started = Date.now();
    const { code, stdout } = await runCli(['tune', '--types', 'Q5_K,IQ3_S'], {
      env: { MOWGLI_CACHE_DIR: cache },
      killAfterMs: 4000,
    });
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(Date.now() - started).toBeLessThan(60_000);
  });

  test.each([
    [['--types', 'Q9_X'], /types: 'Q9_X' is not one of F32/],
    [['--model', '/no/such'], /no\/such/],
  ])('%j is refused', async (args, message) => {
    const { code, stderr } = await runCli(['tune', ...args]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});

describe('NodeTuningStore', () => {
  const adapter = 'acme, GPU 1 (ünïcode/..), f16';

  test('keeps one text per adapter', async () => {
    const store = new NodeTuningStore(join(cache, 'a', 'b'));
    expect(await store.load(adapter)).toBeUndefined();
    await store.save(adapter, 'one');
    await store.save('another', 'two');
    await store.save(adapter, 'three');
    expect(await store.load(adapter)).toBe('three');
    expect(await store.load('another')).toBe('two');
    expect((await readdir(store.folder)).every((name) => /^[a-z0-9-]+\.json$/.test(name))).toBe(
      true,
    );
  });

  test('an unreadable file is as good as none; one that cannot be written is an error', async () => {
    const store = new NodeTuningStore(join(cache, 'c'));
    await mkdir(store.file(adapter), { recursive: true });
    expect(await store.load(adapter)).toBeUndefined();
    const saving = store.save(adapter, 'x');
    await expect(saving).rejects.toBeInstanceOf(MowgliError);
    await expect(saving).rejects.toMatchObject({ code: 'WRITE_FAILED' });
    expect((await readdir(store.folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('lies where the system has such things', () => {
    expect(cacheFolder({ MOWGLI_CACHE_DIR: '/x', XDG_CACHE_HOME: '/y' }, 'linux')).toBe('/x');
    expect(cacheFolder({ XDG_CACHE_HOME: '/y' }, 'linux')).toBe(join('/y', 'mowgli'));
    expect(cacheFolder({}, 'linux')).toMatch(/[/\\]\.cache[/\\]mowgli$/);
    expect(cacheFolder({}, 'darwin')).toMatch(/Library[/\\]Caches[/\\]mowgli$/);
    expect(cacheFolder({ LOCALAPPDATA: 'C:/l' }, 'win32')).toBe(join('C:/l', 'mowgli'));
  });
});
