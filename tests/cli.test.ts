import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import reference from '../models/tiny-coder/reference/expected.json' with { type: 'json' };
import { launcher, runCli } from './run-cli.ts';

const vocabSize = 4096;
const prime = 'Write a Python function that checks if a number is prime.';
/** What tiny-coder answers to it greedily; its README shows the same. */
const primeAnswer = /^```python\ndef is_prime\(n\):\n {4}if n < 2:\n {8}return False\n/;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-cli-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('help and usage errors', () => {
  test.each(['generate', 'logits', 'bench', 'doctor'])('%s --help shows examples', async (name) => {
    const { code, stdout, stderr } = await runCli([name, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: mowgli ${name}`);
    expect(stdout).toContain(`$ mowgli ${name}`);
  });

  test('--version is that of the package', async () => {
    const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
    const { stdout } = await runCli(['--version']);
    expect(stdout).toBe(`${JSON.parse(text).version}\n`);
  });

  test('no command at all shows the help, as an error', async () => {
    const { code, stdout, stderr } = await runCli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: mowgli');
  });

  test.each([
    [['nope'], "mowgli: unknown command 'nope'\n"],
    [
      ['generate', '--tpo-k', '3', 'x'],
      "mowgli: unknown option '--tpo-k' (Did you mean --top-k?)\n",
    ],
    [['generate'], /^mowgli: the prompt is missing: .*\n$/],
    [['generate', ''], /^mowgli: the prompt is empty: .*\n$/],
    [
      ['generate', 'x', '--top-k', '-1'],
      "mowgli: --top-k must be a whole number of at least 0, not '-1'\n",
    ],
    [['generate', 'x', '--top-k', '1.5'], /^mowgli: --top-k must be a whole number.*'1.5'\n$/],
    [
      ['generate', 'x', '--top-p', '0'],
      /^mowgli: --top-p must be a number above 0 and at most 1,.*\n$/,
    ],
    [
      ['generate', 'x', '--temperature', 'hot'],
      /^mowgli: --temperature must be a number.*'hot'\n$/,
    ],
    [['generate', 'x', '--temperature', ''], /^mowgli: --temperature must be a number.*''\n$/],
    [
      ['generate', 'x', '--max-tokens', '0'],
      /^mowgli: --max-tokens must be .* at least 1, not '0'\n$/,
    ],
    [['generate', 'x', '--stop', ''], /^mowgli: --stop must be a text.*\n$/],
    [['generate', 'x', '--logit-bias', '7'], /^mowgli: --logit-bias must be ID=VALUE.*'7'\n$/],
    [['generate', 'x', '--kv-type', 'q4'], "mowgli: --kv-type must be one of f32, f16, not 'q4'\n"],
    [['generate', 'x', '--adapter', 'gpu'], /^mowgli: --adapter must be one of auto, .*'gpu'\n$/],
    [
      ['generate', 'x', '--raw', '--system', 'y'],
      /^mowgli: --system has no place in a --raw prompt.*\n$/,
    ],
    [
      ['generate', 'x', '--greedy', '--temperature', '1'],
      /^mowgli: --greedy and --temperature.*\n$/,
    ],
    [['logits'], "mowgli: required option '--tokens <ids>' not specified\n"],
    [['logits', '--tokens', '1,,2'], /^mowgli: --tokens must be a whole number.*\n$/],
    [
      ['logits', '--tokens', `1,${vocabSize}`, '-q'],
      /^mowgli: --tokens holds 4096; .* end at 4095\n$/,
    ],
    [['bench', '-p', '0', '-n', '0'], /^mowgli: -p 0 together with -n 0 leaves nothing.*\n$/],
  ] as const)('%j is a usage error in one line', async (args, message) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('a wrong MOWGLI_ADAPTER is named', async () => {
    const { code, stderr } = await runCli(['doctor'], { env: { MOWGLI_ADAPTER: 'gpu' } });
    expect(stderr).toMatch(/^mowgli: the environment variable MOWGLI_ADAPTER is 'gpu'; .*\n$/);
    expect(code).toBe(2);
  });

  test('a missing model folder is one line, without a stack trace', async () => {
    const { code, stdout, stderr } = await runCli(['generate', '--model', '/no/such/model', 'x']);
    expect(stderr).toMatch(/^mowgli: .*\/no\/such\/model.*\n$/);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  test('a folder without a model is one line, and MOWGLI_DEBUG=1 adds the stack', async () => {
    const args = ['generate', '-q', '--model', folder, 'x'];
    const plain = await runCli(args);
    expect(plain.stderr).toMatch(/^mowgli: .*config\.json.*\n$/);
    expect(plain.code).toBe(1);
    const debug = await runCli(args, { env: { MOWGLI_DEBUG: '1' } });
    expect(debug.stderr).toContain('MowgliError');
    expect(debug.stderr).toMatch(/\n +at /);
  });
});

describe('generate', () => {
  test('streams the answer of the demo model to stdout', async () => {
    const pieces: number[] = [];
    const { code, stdout } = await runCli(['generate', '--greedy', '--max-tokens', '40', prime], {
      onOutput: (text) => pieces.push(text.length),
    });
    expect(stdout).toMatch(primeAnswer);
    expect(stdout.endsWith('\n')).toBe(true);
    expect(pieces.length).toBeGreaterThan(5);
    expect(code).toBe(0);
  });

  test('works from any folder, and says on stderr that the CPU does the work', async () => {
    const args = ['generate', '--greedy', '--max-tokens', '4', prime];
    const loud = await runCli(args, { cwd: folder });
    expect(loud.code).toBe(0);
    const doctor = await runCli(['doctor', '--json']);
    const { isSoftware } = JSON.parse(doctor.stdout).adapter.driver;
    expect(loud.stderr).toMatch(isSoftware ? /^mowgli: no GPU in use, .*CPU.*\n$/ : /^$/);
    const quiet = await runCli([...args, '--quiet'], { cwd: folder });
    expect(quiet.stderr).toBe('');
    expect(quiet.stdout).toBe(loud.stdout);
  });

  test('--json prints one object with text, tokens, timings, adapter and memory', async () => {
    const args = ['generate', '--json', '--greedy', '--max-tokens', '12', prime];
    const { code, stdout } = await runCli(args);
    const result = JSON.parse(stdout);
    expect(Object.keys(result).sort()).toEqual(
      [
        ...['adapter', 'finishReason', 'memory', 'promptTokens'],
        ...['text', 'timings', 'tokens', 'usage'],
      ].sort(),
    );
    expect(result.text.startsWith('```python\n')).toBe(true);
    expect(result.tokens).toHaveLength(12);
    expect(result.finishReason).toBe('length');
    expect(result.promptTokens).toBeGreaterThan(12);
    expect(result.timings.promptMs).toBeGreaterThan(0);
    expect(result.timings.completionTokensPerSecond).toBeGreaterThan(0);
    expect(result.memory.gpuPeakBytes).toBeGreaterThanOrEqual(result.memory.gpuBytes);
    expect(result.usage.experts.slots).toBe(result.usage.experts.experts);
    expect(result.adapter.description).not.toBe('');
    expect(code).toBe(0);
  });

  test('--raw continues the text itself, here read from stdin', async () => {
    const [sample] = reference.prompts;
    const args = ['generate', '--raw', '--json', '--greedy', '--max-tokens', '16', '-'];
    const { stdout } = await runCli(args, { input: sample!.text });
    const result = JSON.parse(stdout);
    expect(result.promptTokens).toBe(sample!.n_tokens);
    expect(result.tokens).toEqual(sample!.greedy_ids.slice(0, 16));
  });

  test('a chat prompt from stdin loses its final newline', async () => {
    const args = ['generate', '--json', '--greedy', '--max-tokens', '4'];
    const piped = JSON.parse((await runCli([...args, '-'], { input: `${prime}\n` })).stdout);
    const given = JSON.parse((await runCli([...args, prime])).stdout);
    expect(piped.promptTokens).toBe(given.promptTokens);
    expect(piped.text).toBe(given.text);
  });

  test('--system adds to the prompt', async () => {
    const args = ['generate', '--json', '--max-tokens', '1'];
    const plain = JSON.parse((await runCli([...args, prime])).stdout);
    const system = JSON.parse((await runCli([...args, '--system', 'Be brief.', prime])).stdout);
    expect(system.promptTokens).toBeGreaterThan(plain.promptTokens);
  });

  test('--seed makes a random answer repeatable', async () => {
    const run = async (seed: string) => {
      const options = ['--temperature', '1.5', '--top-k', '0', '--top-p', '1', '--seed', seed];
      const args = ['generate', '--json', '--max-tokens', '16', ...options, prime];
      return JSON.parse((await runCli(args)).stdout).tokens;
    };
    const first = await run('7');
    expect(await run('7')).toEqual(first);
    expect(await run('8')).not.toEqual(first);
  });

  test('--stop ends before its text, --logit-bias forbids a token', async () => {
    const args = ['generate', '--json', '--greedy', '--max-tokens', '40'];
    const stopped = JSON.parse((await runCli([...args, '--stop', 'is_prime', prime])).stdout);
    expect(stopped).toMatchObject({ text: '```python\ndef ', finishReason: 'stop' });
    const [first] = stopped.tokens;
    const biased = await runCli([...args, '--logit-bias', `${first}=-inf`, prime]);
    expect(JSON.parse(biased.stdout).tokens).not.toContain(first);
  });

  test('SIGINT keeps what was generated and exits with 130', async () => {
    let killed = false;
    const args = ['generate', '--raw', '--greedy', '--max-tokens', '1000', '--logit-bias'];
    // Without its end tokens the model would go on for long: the signal has to end it.
    const endless = [...args, '4084=-inf', '--logit-bias', '4086=-inf', 'def fibonacci(n):\n'];
    const { code, stdout } = await runCli(endless, {
      onOutput: (text, kill) => {
        if (killed || text.length < 20) return;
        killed = true;
        kill('SIGINT');
      },
    });
    expect(killed).toBe(true);
    expect(code).toBe(130);
    expect(stdout.length).toBeGreaterThanOrEqual(20);
    expect(stdout.endsWith('\n')).toBe(true);
  });

  test('a reader that goes away is no error', async () => {
    const command = `'${process.execPath}' '${launcher}' generate -q --greedy --max-tokens 200 '${prime}'; echo "code $?" >&2`;
    const stderr = await new Promise<string>((resolve, reject) => {
      execFile('sh', ['-c', `{ ${command}; } | head -c 3`], (error, _stdout, text) =>
        error ? reject(error) : resolve(text),
      );
    });
    expect(stderr).toMatch(/code 0\n$/);
    expect(stderr).not.toContain('EPIPE');
  });
});

describe('logits', () => {
  const [sample] = reference.prompts;
  const tokens = sample!.ids.join(',');

  test('prints the likeliest ids of the last position and the greedy continuation', async () => {
    const args = ['logits', '--tokens', tokens, '--top', '5', '--generate', '48'];
    const { code, stdout } = await runCli(args);
    const { positions, generated } = JSON.parse(stdout);
    expect(positions).toHaveLength(1);
    expect(positions[0].position).toBe(sample!.ids.length - 1);
    expect(positions[0].ids).toEqual(sample!.top20_ids.slice(0, 5));
    expect(positions[0].logits).toEqual([...positions[0].logits].sort((a, b) => b - a));
    expect(generated).toEqual(sample!.greedy_ids);
    expect(code).toBe(0);
  });

  test('--every and --dump agree with each other', async () => {
    const file = join(folder, 'logits.f32');
    const args = ['logits', '--tokens', tokens, '--top', '1', '--every', '--dump', file];
    const { positions } = JSON.parse((await runCli(args)).stdout);
    const bytes = await readFile(file);
    expect(bytes.byteLength).toBe(sample!.ids.length * vocabSize * 4);
    expect(positions).toHaveLength(sample!.ids.length);
    for (const { position, ids, logits } of positions) {
      const row = Array.from({ length: vocabSize }, (_, id) =>
        bytes.readFloatLE((position * vocabSize + id) * 4),
      );
      expect(ids[0]).toBe(row.indexOf(Math.max(...row)));
      expect(logits[0]).toBe(row[ids[0]]);
    }
  });

  test('a dump that cannot be written is named', async () => {
    const args = ['logits', '--tokens', '1', '-q', '--dump', join(folder, 'no', 'such', 'file')];
    const { code, stderr } = await runCli(args);
    expect(stderr).toMatch(/^mowgli: --dump: .*no such file.*\n$/i);
    expect(code).toBe(2);
  });
});

describe('bench', () => {
  test('prints a row per test', async () => {
    const { code, stdout } = await runCli(['bench', '-p', '8,16', '-n', '4', '-r', '2']);
    const rows = stdout.trimEnd().split('\n');
    expect(rows).toHaveLength(5);
    expect(rows.map((row) => /\b(?:pp|tg)\d+\b/.exec(row)?.[0])).toEqual([
      undefined,
      undefined,
      'pp8',
      'pp16',
      'tg4',
    ]);
    expect(rows.at(-1)).toMatch(/\d ± \d/);
    expect(code).toBe(0);
  });

  test('--json holds each repetition; -p 0 leaves prompts out', async () => {
    const args = ['bench', '-p', '0', '-n', '4', '-r', '3', '--json'];
    const { results } = JSON.parse((await runCli(args)).stdout);
    expect(results).toHaveLength(1);
    expect(results[0]).toMatchObject({ test: 'tg4', tokens: 4 });
    expect(results[0].tokensPerSecond).toHaveLength(3);
    const [a, b, c] = results[0].tokensPerSecond;
    expect(results[0].mean).toBeCloseTo((a + b + c) / 3, 6);
  });
});

describe('doctor', () => {
  test('tells of adapter, machine and disk', async () => {
    const { code, stdout } = await runCli(['doctor', '--json']);
    const report = JSON.parse(stdout);
    expect(report.adapter.driver.kind).toMatch(/^(native|lavapipe|swiftshader)$/);
    expect(report.adapter.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(report.machine.nodeVersion).toBe(process.versions.node);
    expect(report.machine.memory.totalBytes).toBeGreaterThan(0);
    expect(report.disk.bytesPerSecond).toBeGreaterThan(0);
    expect(code).toBe(0);
  });

  test('measures the model that is named, and refuses one that is not there', async () => {
    const { code, stderr } = await runCli(['doctor', '--model', '/no/such/model']);
    expect(stderr).toMatch(/^mowgli: --model \/no\/such\/model cannot be read: .*\n$/);
    expect(code).toBe(1);
  });
});

describe('adapters', () => {
  const onLinuxX64 = process.platform === 'linux' && process.arch === 'x64';

  test.runIf(onLinuxX64)('SwiftShader is unpacked and chosen on demand', async () => {
    // An empty cache folder: as on the first run of a user, and by two processes at once.
    const env = { XDG_CACHE_HOME: join(folder, 'cache'), MOWGLI_ADAPTER: 'swiftshader' };
    const runs = await Promise.all([1, 2].map(() => runCli(['doctor', '--json'], { env })));
    for (const { code, stdout } of runs) {
      expect(code).toBe(0);
      expect(JSON.parse(stdout).adapter.driver).toMatchObject({
        kind: 'swiftshader',
        isSoftware: true,
      });
    }
  });

  test.runIf(onLinuxX64)('SwiftShader stands in where no Vulkan driver is installed', async () => {
    const nothing = join(folder, 'no-driver.json');
    const env = { VK_DRIVER_FILES: nothing, VK_ICD_FILENAMES: nothing };
    const { stdout } = await runCli(['doctor', '--json'], { env });
    expect(JSON.parse(stdout).adapter.driver.kind).toBe('swiftshader');
  });

  test.runIf(onLinuxX64)('an adapter that is not there says what to do', async () => {
    const nothing = join(folder, 'no-driver.json');
    const env = { VK_DRIVER_FILES: nothing, VK_ICD_FILENAMES: nothing };
    for (const adapter of ['native', 'lavapipe']) {
      const { code, stderr } = await runCli(['generate', '--adapter', adapter, 'x'], { env });
      expect(stderr).toMatch(/^mowgli: .*install .*\n$/);
      expect(code).toBe(1);
    }
  });

  test.runIf(onLinuxX64)('SwiftShader gives the same greedy answer', async () => {
    const args = ['generate', '-q', '--greedy', '--max-tokens', '12', '--adapter', 'swiftshader'];
    const { stdout } = await runCli([...args, prime]);
    expect(stdout.startsWith('```python\ndef is_prime')).toBe(true);
  });
});
