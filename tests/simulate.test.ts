import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../kernels-test/random.ts';
import { policyNames } from '../src/experts/policy.ts';
import { encodeTraceHeader, encodeTraceStep } from '../src/experts/trace-file.ts';
import { randomSteps } from './experts/random-trace.ts';
import { runCli } from './run-cli.ts';

const model = {
  name: 'made up',
  layers: 4,
  sparseLayers: [0, 1, 3],
  experts: 20,
  expertsPerToken: 2,
};

describe('mowgli simulate', () => {
  let folder: string;
  let trace: string;
  let bytes: Buffer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mowgli-simulate-'));
    trace = join(folder, 'run.trace');
    const steps = randomSteps(model, new Random('simulate'), 100, 2);
    const records = steps.map((step) => encodeTraceStep(model, step));
    bytes = Buffer.concat([encodeTraceHeader(model), ...records]);
    await writeFile(trace, bytes);
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('prints hit rates of every policy and the recall of predictions', async () => {
    const { code, stdout, stderr } = await runCli(['simulate', trace]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain('made up, 3 layers of 20 experts, 2 per token');
    expect(stdout).toMatch(
      /\| policy .*\| 3 slots \(5 %\) \| 6 slots \(10 %\) \| 15 slots \(25 %\) \| 30 slots \(50 %\) \|/,
    );
    for (const name of ['optimal', ...policyNames]) {
      expect(stdout).toMatch(new RegExp(`^\\| ${name} +(\\| +[0-9.]+ ){4}\\|$`, 'm'));
    }
    expect(stdout).toMatch(/\| the layer's router, 2 layers early +(\| +[0-9.]+ ){4}\|/);
    expect(stdout).toMatch(/\| the token before +(\| +[0-9.]+ ){2}(\| +- ){2}\|/);
  });

  it('prints JSON, and plots several traces', async () => {
    const svg = join(folder, 'hits.svg');
    const args = ['--slots', '4,50%', '--policy', 'lru,cyclic', '--json', '--svg', svg];
    const { code, stdout } = await runCli(['simulate', trace, trace, ...args]);
    expect(code).toBe(0);
    const { traces } = JSON.parse(stdout);
    expect(traces).toHaveLength(2);
    expect(traces[0]).toMatchObject({ file: trace, truncated: false, model, experts: 60 });
    const caches = traces[0].caches.map((cache: { policy: string; slots: number }) => [
      cache.policy,
      cache.slots,
    ]);
    expect(caches).toEqual([
      ['optimal', 4],
      ['lru', 4],
      ['cyclic', 4],
      ['optimal', 30],
      ['lru', 30],
      ['cyclic', 30],
    ]);
    const plot = await readFile(svg, 'utf8');
    expect(plot).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(plot.match(/<circle/g)).toHaveLength(2 * 3 * 2); // Traces, lines, points.
  });

  it('says so when the trace was cut off', async () => {
    const cut = join(folder, 'cut.trace');
    await writeFile(cut, bytes.subarray(0, bytes.length - 1));
    const { code, stderr } = await runCli(['simulate', cut, '--slots', '4']);
    expect(code).toBe(0);
    expect(stderr).toContain('cut.trace ends within a step, which was left out');
  });

  it.each([
    [['nowhere.trace'], 1, /nowhere\.trace/],
    [[import.meta.filename], 1, /no trace of mowgli/],
    [['x', '--slots', '0'], 2, /--slots must be numbers of experts or shares/],
    [['x', '--slots', '120%'], 2, /--slots must be/],
    [['x', '--slots', '1e9'], 2, /--slots must be/],
    [['x', '--policy', 'lru,fifo'], 2, /--policy must be one of lru, .*not 'fifo'/],
    [[], 2, /missing required argument/],
  ])('%j fails with status %i', async (args, status, message) => {
    const { code, stdout, stderr } = await runCli(['simulate', ...args]);
    expect(code).toBe(status);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
  });

  it('names the file that cannot be written', async () => {
    const svg = join(folder, 'missing', 'hits.svg');
    const { code, stderr } = await runCli(['simulate', trace, '--slots', '4', '--svg', svg]);
    expect(code).toBe(1);
    expect(stderr).toContain(svg);
  });
});
