/**
 * How fast each kernel is on this machine, and how near to what memory and arithmetic allow here.
 *
 *     tsx kernels-test/bench.ts [--filter TEXT] [--variants] [--cpu] [--json] [--compare FILE]
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { markdownTable } from '../src/cli/table.ts';
import { Gpu } from '../src/gpu/device.ts';
import type { Recorder } from '../src/gpu/recorder.ts';
import { openDawn } from '../src/node/dawn.ts';
import { quietWait } from '../src/node/quiet-wait.ts';
import { nodeShaders } from '../src/node/shaders.ts';
import { BenchBuffers, WeightPool } from './bench-buffers.ts';
import { type Case, kernelCases, roofCases } from './bench-cases.ts';

const help = `Times each kernel at the shapes of Qwen3-Coder 30B-A3B and 480B-A35B, and prints a table.

Usage: tsx kernels-test/bench.ts [options]

  --filter TEXT    only rows with all of these words ("attention 480B", "matmul BF16 tile")
  --variants       every variant this device can run, not only the one it would choose
  --samples N      samples per row; the table has their median (default: 5)
  --cpu            on a software adapter: CPU time of this process by the number of cores, which says
                   what an idle machine would take when this one is busy with other things
  --json           print JSON instead of the table, for --compare
  --compare FILE   add a column: time in an earlier --json run, relative to the time now
  --help           print this

A sample is many runs in one submission, at least 40 ms of them, over weights in different places.
GB/s counts every byte of the operands once, GFLOP/s a multiplication and an addition as two.
"of limit" is the least time that the bytes and operations would take at the speed of the copy and
the fma kernel (the first two rows), relative to the time it took. MOWGLI_ADAPTER chooses the adapter.
`;

/** One row of the table, and of the JSON. */
interface Result {
  kernel: string;
  format: string;
  shape: string;
  variant: string;
  ms: number;
  gigabytesPerSecond: number;
  gigaflops: number;
  /** Share of what the copy and fma kernels reached. */
  ofLimit: number;
}

interface Report {
  adapter: string;
  /** What `ms` counts; see `--cpu`. */
  clock: 'wall' | 'cpu';
  results: Result[];
  /** Milliseconds with plain polling and with naps; see `quietWait`. Only on a software adapter. */
  waiting: { what: string; spinMs: number; napMs: number }[];
}

/** Milliseconds that a sample takes at least: naps and submissions then hardly count. */
const sampleMs = 40;

/** Runs in one submission at most: a run is up to three dispatches, and 2048 fit. */
const mostRuns = 500;

type Wait = (promise: Promise<unknown>) => Promise<unknown>;
type Run = (rec: Recorder, i: number) => void;

const { values: flags } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    variants: { type: 'boolean', default: false },
    samples: { type: 'string', default: '5' },
    cpu: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    compare: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  process.stdout.write(help);
  process.exit(0);
}
const samples = Number(flags.samples);
if (!(Number.isInteger(samples) && samples > 0)) {
  process.stderr.write(`--samples is a number above 0, not '${flags.samples}'\n`);
  process.exit(2);
}
const words = flags.filter.toLowerCase().split(/\s+/);
const earlier: Report | undefined = flags.compare
  ? JSON.parse(await readFile(flags.compare, 'utf8'))
  : undefined;

const { adapter, driver } = await openDawn({ muteWarnings: true });
const gpu = await Gpu.open(adapter, {
  shaders: nodeShaders(),
  ...(driver.isSoftware && { wait: quietWait }),
});
const pool = await WeightPool.create(gpu);

const report: Report = {
  adapter: driver.description,
  clock: flags.cpu ? 'cpu' : 'wall',
  results: [],
  waiting: [],
};
if (earlier && (earlier.clock !== report.clock || earlier.adapter !== report.adapter)) {
  process.stderr.write(
    `compared with another clock or adapter: ${earlier.clock}, ${earlier.adapter}\n`,
  );
}
const roofs = { bytesPerMs: 0, operationsPerMs: 0 };
for (const each of roofCases()) {
  const ms = await timeCase(each);
  if (each.operations > 0) roofs.operationsPerMs = each.operations / ms;
  else roofs.bytesPerMs = each.bytes / ms;
  add(each, ms);
}
for (const each of kernelCases(gpu)) {
  const name = `${each.kernel} ${each.format} ${each.shape} ${each.variant}`.toLowerCase();
  if (!(each.chosen || flags.variants) || !words.every((word) => name.includes(word))) continue;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${name}`);
  add(each, await timeCase(each));
}
if (driver.isSoftware && flags.filter === '' && !flags.cpu) report.waiting = await compareWaiting();
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
process.stdout.write(flags.json ? `${JSON.stringify(report, undefined, 1)}\n` : render(report));
process.exit(0);

function add({ kernel, format, shape, variant, bytes, operations }: Case, ms: number): void {
  const least = Math.max(
    roofs.bytesPerMs && bytes / roofs.bytesPerMs,
    roofs.operationsPerMs && operations / roofs.operationsPerMs,
  );
  report.results.push({
    kernel,
    format,
    shape,
    variant,
    ms,
    gigabytesPerSecond: bytes / ms / 1e6,
    gigaflops: operations / ms / 1e6,
    ofLimit: least / ms,
  });
}

/** Median time of one run, in milliseconds. */
async function timeCase(each: Case): Promise<number> {
  const buffers = new BenchBuffers(gpu, pool);
  try {
    return await time(await each.prepare(buffers), (promise) => gpu.wait(promise));
  } finally {
    buffers.destroy();
  }
}

async function time(run: Run, wait: Wait): Promise<number> {
  await sample(run, 1, wait); // compiles
  const first = await sample(run, 1, wait);
  const runs = Math.min(mostRuns, Math.max(1, Math.ceil(sampleMs / first)));
  const times: number[] = [];
  for (let i = 0; i < samples; i++) times.push((await sample(run, runs, wait)) / runs);
  gpu.throwIfFailed();
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/** Milliseconds from the submission of some runs to the end of the last. */
async function sample(run: Run, runs: number, wait: Wait): Promise<number> {
  const rec = gpu.record();
  for (let i = 0; i < runs; i++) run(rec, i);
  const start = now();
  rec.submit();
  await wait(gpu.device.queue.onSubmittedWorkDone());
  return now() - start;
}

/** Milliseconds on the clock, or of the CPU's cores together. */
function now(): number {
  if (!flags.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 / availableParallelism();
}

/** What it gives that a wait for a software adapter naps. */
async function compareWaiting(): Promise<Report['waiting']> {
  const named = (kernel: string, shape: string) =>
    [...roofCases(), ...kernelCases(gpu)].find(
      (each) => each.chosen && each.kernel === kernel && each.shape.startsWith(shape),
    )!;
  const out: Report['waiting'] = [];
  for (const each of [
    named('matmul', 'square'),
    named('matvec', 'square'),
    named('router', '30B'),
  ]) {
    const buffers = new BenchBuffers(gpu, pool);
    const run = await each.prepare(buffers);
    const what = `${each.kernel} ${each.format} ${each.shape}`;
    out.push({ what, spinMs: await time(run, (p) => p), napMs: await time(run, quietWait) });
    if (each.kernel === 'router') {
      const once = async (wait: Wait) => {
        const times: number[] = [];
        for (let i = 0; i < 50; i++) times.push(await sample(run, 1, wait));
        return times.sort((a, b) => a - b)[25];
      };
      out.push({
        what: 'one tiny submission',
        spinMs: await once((p) => p),
        napMs: await once(quietWait),
      });
    }
    buffers.destroy();
  }
  return out;
}

function render({ adapter, clock, results, waiting }: Report): string {
  const before = new Map(earlier?.results.map((result) => [key(result), result.ms]));
  const rows = results.map((result) => {
    const { kernel, format, shape, variant, ms, gigabytesPerSecond, gigaflops, ofLimit } = result;
    const row = [
      kernel,
      format,
      shape,
      variant,
      ms.toPrecision(3),
      gigabytesPerSecond.toPrecision(3),
      gigaflops ? gigaflops.toPrecision(3) : '',
      `${(100 * ofLimit).toFixed(0)} %`,
    ];
    if (earlier) row.push(((before.get(key(result)) ?? Number.NaN) / ms).toFixed(2));
    return row;
  });
  const header = ['kernel', 'format', 'shape', 'variant', 'ms', 'GB/s', 'GFLOP/s', 'of limit'];
  if (earlier) header.push('before / now');
  const align = header.map((_, i) => (i < 4 ? 'left' : 'right'));
  let text = `${adapter}, ${clock} time\n\n${markdownTable(header, rows, align)}`;
  if (waiting.length > 0) {
    const waits = waiting.map(({ what, spinMs, napMs }) => [
      what,
      spinMs.toPrecision(3),
      napMs.toPrecision(3),
      (spinMs / napMs).toFixed(2),
    ]);
    const titles = ['waiting for', 'polling, ms', 'napping, ms', 'ratio'];
    text += `\n${markdownTable(titles, waits, ['left', 'right', 'right', 'right'])}`;
  }
  return text;
}

function key({ kernel, format, shape, variant }: Result): string {
  return [kernel, format, shape, variant].join('|');
}
