import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../kernels-test/random.ts';
import { DistributionsReader, DistributionsWriter } from '../src/cli/distributions-file.ts';
import { divergence, logSumExp, RunningMean } from '../src/cli/next-token-loss.ts';
import { loadModel } from '../src/node.ts';
import { tinyCoder } from './model/folders.ts';
import { runCli } from './run-cli.ts';

const window = 48;
const windows = 3;
let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-perplexity-'));
  const source = await readFile(new URL('../src/errors.ts', import.meta.url), 'utf8');
  text = join(folder, 'text.txt');
  await writeFile(text, source);
});
afterAll(() => rm(folder, { recursive: true }));

/** log of the probabilities, in double precision. */
function logProbabilities(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const max = values.reduce((a, b) => Math.max(a, b));
  const sum = values.reduce((total, value) => total + Math.exp(value - max), 0);
  return values.map((value) => value - max - Math.log(sum));
}

function klDivergence(p: Float64Array, q: Float64Array): number {
  return p.reduce((sum, logP, id) => sum + Math.exp(logP) * (logP - q[id]), 0);
}

const run = (...args: string[]) => runCli(['perplexity', ...args]);
const cut = ['--context', `${window}`, '--tokens', `${window * windows + 5}`];

describe('mowgli perplexity', () => {
  test('is that of the second half of each window, by the logits of the model', async () => {
    const { code, stdout } = await run(text, ...cut, '--chunk', '20', '--json');
    expect(code).toBe(0);
    const result = JSON.parse(stdout);

    await using model = await loadModel(tinyCoder, { context: window });
    const tokens = model.tokenize(await readFile(text, 'utf8')).slice(0, window * windows);
    const losses: number[] = [];
    for (let begin = 0; begin < tokens.length; begin += window) {
      const part = tokens.slice(begin, begin + window);
      const logits = await model.logits(part, { every: true });
      const vocab = logits.length / window;
      for (let i = window / 2; i < window - 1; i++) {
        const row = logProbabilities(logits.subarray(i * vocab, (i + 1) * vocab));
        losses.push(-row[part[i + 1]]);
      }
    }
    const mean = losses.reduce((a, b) => a + b) / losses.length;
    const variance =
      losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / (losses.length - 1);
    expect(result).toMatchObject({ window, windows, scored: losses.length });
    expect(Math.abs(result.nll - mean)).toBeLessThan(1e-5);
    expect(Math.abs(result.nllError - Math.sqrt(variance / losses.length))).toBeLessThan(1e-5);
    expect(result.perplexity).toBeCloseTo(Math.exp(mean), 2);
    expect(result.tokensPerSecond).toBeGreaterThan(0);
    expect(result.kl).toBeUndefined();
  });

  test('a model does not differ from itself, and a coarser cache makes some difference', async () => {
    const base = join(folder, 'base.kl');
    const kept = await run(text, ...cut, '--save-base', base, '--json');
    const itself = JSON.parse((await run('--kl-base', base, '--json')).stdout);
    expect(itself.nll).toBe(JSON.parse(kept.stdout).nll);
    expect(Math.abs(itself.kl.mean)).toBeLessThan(1e-7);
    expect(itself.kl.largest).toBeLessThan(1e-6);
    expect(itself.kl.sameTop).toBe(1);
    expect(itself.kl.basePerplexity / itself.perplexity).toBeCloseTo(1, 4);

    const coarse = JSON.parse((await run('--kl-base', base, '--kv-type', 'f16', '--json')).stdout);
    expect(coarse.kl.mean).toBeGreaterThan(1e-9);
    expect(coarse.kl.mean).toBeLessThan(1e-3);
    expect(coarse.kl.sameTop).toBeGreaterThan(0.9);
    const table = await run('--kl-base', base, '--kv-type', 'f16');
    expect(table.stdout).toMatch(/^.*3 windows of 48 tokens, 69 scored/);
    expect(table.stdout).toMatch(/\nKL divergence .*\nsame likeliest token /);

    // A base that is cut off, or of something else.
    const bytes = await readFile(base);
    await writeFile(join(folder, 'cut.kl'), bytes.subarray(0, -1));
    for (const broken of [join(folder, 'cut.kl'), text]) {
      const { code, stderr } = await run('--kl-base', broken);
      expect(code).toBe(1);
      expect(stderr).toMatch(/is no complete file of mowgli perplexity --save-base/);
    }
    const other = await run('--kl-base', base, '-m', 'synthetic:tiny');
    expect(other).toMatchObject({ code: 2, stdout: '' });
    expect(other.stderr).toMatch(/vocabulary of 4096 tokens, and this model has 2048/);
  });

  test('stopped by SIGINT, it leaves no file', async () => {
    const before = await readdir(folder);
    const long = join(folder, 'long.txt');
    await writeFile(long, (await readFile(text, 'utf8')).repeat(200));
    const args = ['perplexity', long, '--context', '512', '--save-base', join(folder, 'no.kl')];
    const { code, stdout } = await runCli(args, { killAfterMs: 9000 });
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect((await readdir(folder)).sort()).toEqual([...before, 'long.txt'].sort());
  });

  test.each([
    [[], /the text is missing/],
    [['no-such.txt'], /no-such\.txt cannot be read/],
    [['x', '--context', '3'], /at least 4 tokens/],
    [['x', '--kl-base', 'y'], /a text and --kl-base exclude/],
    [['--kl-base', 'y', '--save-base', 'z'], /--save-base and --kl-base exclude/],
    [['--kl-base', '/no/such'], /\/no\/such cannot be opened/],
  ])('%j is refused', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
  });

  test('a text that is too short is refused', async () => {
    const { code, stderr } = await run(text, '--tokens', '40', '--context', '50');
    expect(code).toBe(2);
    expect(stderr).toMatch(/has 40 tokens, less than one window of 50: .* --context of 40/);
  });
});

describe('distributions', () => {
  const random = new Random('perplexity');
  const vocab = 301;

  test('divergences from kept ones are those of the logits', async () => {
    const file = join(folder, 'unit.kl');
    const rows = Array.from({ length: 11 }, (_, i) => random.normal(vocab, 1 + i));
    rows[3][7] = Number.NEGATIVE_INFINITY;
    const header = { vocab, window: 24, tokens: Array.from({ length: 24 }, (_, i) => i) };
    const writer = await DistributionsWriter.create(file, header);
    for (const row of rows) await writer.add(row, logSumExp(row));
    await writer.complete();

    const reader = await DistributionsReader.open(file);
    expect(reader.header).toEqual(header);
    for (const row of rows) {
      const kept = await reader.next();
      const other = row.map(
        (value) => (Number.isFinite(value) ? value : -30) + random.normal(1)[0] / 10,
      );
      const exact = klDivergence(
        logProbabilities(row.map((value) => Math.max(value, -1e3))),
        logProbabilities(other),
      );
      const { kl, sameTop } = divergence(kept, other, logSumExp(other));
      expect(Math.abs(kl - exact)).toBeLessThan(2e-5);
      const top = (values: Float32Array) => values.indexOf(values.reduce((a, b) => Math.max(a, b)));
      expect(sameTop).toBe(top(row) === top(other));
    }
    await reader.close();
  });

  test('logSumExp is stable, and refuses NaN', () => {
    const logits = Float32Array.of(1000, 999, -1e30, Number.NEGATIVE_INFINITY);
    expect(logSumExp(logits)).toBeCloseTo(1000 + Math.log1p(Math.exp(-1)), 9);
    expect(() => logSumExp(Float32Array.of(1, Number.NaN))).toThrow(/no number/);
  });

  test('RunningMean is that of all values', () => {
    const values = [...random.normal(1000, 3)].map((value) => value + 100);
    const mean = new RunningMean();
    for (const value of values) mean.add(value);
    const expected = values.reduce((a, b) => a + b) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - expected) ** 2, 0);
    expect(mean.count).toBe(1000);
    expect(mean.mean).toBeCloseTo(expected, 9);
    expect(mean.standardError).toBeCloseTo(Math.sqrt(squares / 999 / 1000), 9);
  });
});
