import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run-cli.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** A folder with the packed package and its declared dependencies in node_modules, and nothing else. */
let app: string;
let packedBytes: number;
let packedFiles: string[];

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), 'mowgli-package-'));
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const { stdout } = await run(npm, ['pack', '--json', '--pack-destination', app], {
    cwd: root,
    maxBuffer: 2 ** 26,
  });
  // The build, which runs before packing, may print to stdout too.
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n')));
  packedFiles = packed.files.map((file: { path: string }) => file.path);
  const archive = join(app, packed.filename);
  packedBytes = (await stat(archive)).size;
  const target = join(app, 'node_modules', 'mowgli-llm');
  await mkdir(target, { recursive: true });
  await run('tar', ['-xzf', archive, '-C', target, '--strip-components', '1']);
  await linkDependencies(join(app, 'node_modules'));
}, 300_000);

afterAll(() => rm(app, { recursive: true }));

/**
 * Links what `npm install mowgli-llm @sparticuz/chromium` would fetch (the latter for machines without
 * a driver). That needs no network, and leaves the dev dependencies out.
 */
async function linkDependencies(nodeModules: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  for (const [path, { dev, optional, peer }] of Object.entries<Record<string, boolean>>(
    lock.packages,
  )) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    const wanted = name === '@sparticuz/chromium' || !(dev || optional || peer);
    if (!name || !wanted) continue;
    await mkdir(dirname(join(nodeModules, name)), { recursive: true });
    await symlink(join(root, path), join(nodeModules, name), 'junction');
  }
}

test('holds what it needs, and no more', () => {
  expect(packedBytes).toBeLessThan(30e6);
  expect(packedFiles).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'bin/mowgli.js',
      'dist/node.js',
      'dist/node.d.ts',
      'models/tiny-coder/config.json',
      'scripts/install-lavapipe.sh',
    ]),
  );
  expect(packedFiles.some((file) => file.startsWith('shaders/') && file.endsWith('.wgsl'))).toBe(
    true,
  );
  const source = /^(src|tests|kernels-test|docs|\.ci)\/|(?<!\.d)\.ts$|\/reference\//;
  expect(packedFiles.filter((file) => source.test(file))).toEqual([]);
});

test('can be imported', async () => {
  const script = 'console.log(Object.keys(await import("mowgli-llm")).join())';
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    cwd: app,
  });
  expect(stdout.trim().split(',')).toEqual(expect.arrayContaining(['MowgliError', 'loadModel']));
});

test('its types hold in a strict TypeScript project', async () => {
  const use = `
    import { loadModel, MowgliError } from 'mowgli-llm';
    try {
      await using model = await loadModel('models/some', { context: 1024 });
      const ids: number[] = model.tokenize('hello');
      const logits: Float32Array = await model.logits(ids);
      console.log(model.config.vocabSize, logits.length);
      for await (const part of model.generate([{ role: 'user', content: 'hello' }], { topK: 1 })) {
        if (part.type === 'text') process.stdout.write(part.text);
        else console.log(part.finishReason, part.usage.completionTokensPerSecond);
      }
      // @ts-expect-error -- an option of the wrong type has to be refused
      model.generate('hello', { topK: 'one' });
    } catch (error) {
      if (error instanceof MowgliError && error.code === 'NO_ADAPTER') console.error(error.message);
    }
  `;
  await writeFile(join(app, 'package.json'), '{ "type": "module" }');
  await writeFile(join(app, 'use.ts'), use);
  const options = {
    target: 'ES2022',
    lib: ['ES2022', 'ESNext.Disposable'],
    module: 'NodeNext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: true,
    typeRoots: [join(root, 'node_modules', '@types')],
    types: ['node'],
  };
  await writeFile(
    join(app, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['use.ts'] }),
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', app]).catch((error) => error);
  expect(stdout).toBe('');
});

test('its command runs, with the demo model that it carries', async () => {
  const launcher = join(app, 'node_modules', 'mowgli-llm', 'bin', 'mowgli.js');
  const version = await runCli(['--version'], { launcher, cwd: app });
  expect(version).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    stderr: '',
  });
  const args = ['generate', '--greedy', '--max-tokens', '12', 'What is WebGPU?'];
  const { code, stdout } = await runCli(args, { launcher, cwd: app });
  expect(stdout).toMatch(/^WebGPU is a browser API/);
  expect(code).toBe(0);
});
