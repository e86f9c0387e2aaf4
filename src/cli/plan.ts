import { Command } from 'commander';
import {
  type Advice,
  type Plan,
  type PlannedSpeed,
  type PlanOptions,
  policyNames,
  readTrace,
  type StatedMachine,
  statedDefaults,
  type Trace,
} from '../index.ts';
import { type AdapterChoice, openDawn } from '../node/dawn.ts';
import { FileSource } from '../node/file-source.ts';
import type { Interrupt } from './interrupt.ts';
import { addAdapterOption, addComputeOptions } from './open-model.ts';
import { integer, type OptionParser, oneOf, size, usageError } from './options.ts';
import { note, print, printJson } from './output.ts';
import { showProgress } from './progress.ts';
import { markdownTable } from './table.ts';
import { formatBytes, formatDuration, formatRate } from './units.ts';

interface Flags {
  model: string;
  context?: number;
  chunk?: number;
  kvType?: 'f32' | 'f16';
  activations?: 'f32' | 'int8';
  gpuMemory?: number;
  hostMemory?: number;
  policy?: (typeof policyNames)[number];
  trace?: string;
  depth?: number;
  assume?: StatedMachine;
  adapter?: AdapterChoice;
  json?: boolean;
  quiet?: boolean;
}

const examples = `
Reads a few experts of the model, times its kernels on a few layers of scratch weights, and works out
from that what a run will be like: in seconds, without loading the model. Hit rates are those of a
trace where there is one, and of an assumed routing otherwise.

--assume takes machine=value pairs with commas, of a machine that is not this one:
  gpu-memory=24GiB  host-memory=128GiB  disk=6GB/s  host=20GB/s  link=24GB/s  gpu-bandwidth=1000GB/s
What it does not say is measured here, or where that makes no sense assumed, and the plan says so.

Examples:
  $ mowgli plan --model Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf
  $ mowgli plan --model ~/models/Qwen3-Coder-30B-A3B-Instruct --gpu-memory 6GiB --trace chat.trace
  $ mowgli plan --model "synthetic:qwen3-coder-480b?type=q4_k" --assume \\
      gpu-memory=24GiB,host-memory=128GiB,disk=6GB/s,link=24GB/s,gpu-bandwidth=1000GB/s`;

/** `mowgli plan`: how fast a model will be, with how much memory, and what would make it faster. */
export function planCommand({ signal }: Interrupt): Command {
  const command = new Command('plan')
    .description('forecast tokens per second for several sizes of GPU memory')
    .requiredOption(
      '-m, --model <path>',
      'a Hugging Face folder, a GGUF file, or synthetic:NAME?OPTIONS',
    )
    .option(
      '--gpu-memory <size>',
      'GPU memory to plan for, such as 6GiB (default: what the device gives)',
      size('--gpu-memory'),
    )
    .option(
      '--host-memory <size>',
      'memory that keeps experts read before, as in generate',
      size('--host-memory'),
    )
    .option(
      '--context <tokens>',
      'room for prompt and answer, in tokens',
      integer('--context', { min: 1 }),
    )
    .option(
      '--depth <tokens>',
      'tokens of it in use when speed is forecast (default: 512)',
      integer('--depth', { min: 0 }),
    );
  addComputeOptions(command)
    .option(
      '--policy <name>',
      `which expert makes room for another: ${policyNames.join(', ')}`,
      oneOf('--policy', policyNames),
    )
    .option('--trace <file>', 'take hit rates from what --trace of generate wrote')
    .option('--assume <machine>', 'plan for another machine, see below', statedMachine('--assume'));
  return addAdapterOption(command)
    .option('--json', 'print one JSON object instead of tables')
    .option('-q, --quiet', 'print nothing but the result and errors')
    .addHelpText('after', examples)
    .action((flags: Flags) => run(flags, signal));
}

async function run(flags: Flags, signal: AbortSignal): Promise<void> {
  const { assume = {} } = flags;
  const trace = flags.trace === undefined ? undefined : await openTrace(flags.trace, signal);
  if (assume.gpuBandwidth === undefined || assume.link === undefined) {
    // Opened here first, which mutes Dawn's start-up noise.
    await openDawn({ adapter: flags.adapter, muteWarnings: true });
  }
  const { planModel } = await import('../node.ts');
  const progress = showProgress(flags.quiet);
  let plan: Plan;
  try {
    plan = await planModel(flags.model, {
      ...optionsOf(flags),
      ...(trace !== undefined && { trace }),
      ...(flags.adapter !== undefined && { adapter: flags.adapter }),
      onProgress: progress.update,
      signal,
    });
  } finally {
    progress.clear();
  }
  await (flags.json ? printJson(plan) : print(toText(plan)));
}

function optionsOf(flags: Flags): PlanOptions {
  const { context, chunk, kvType, activations, gpuMemory, hostMemory, policy, depth, assume } =
    flags;
  return {
    ...(context !== undefined && { context }),
    ...(chunk !== undefined && { chunk }),
    ...(kvType !== undefined && { kvType }),
    ...(activations !== undefined && { activations }),
    ...(gpuMemory !== undefined && { gpuMemory }),
    ...(hostMemory !== undefined && { hostMemory }),
    ...(policy !== undefined && { policy }),
    ...(depth !== undefined && { depth }),
    ...(assume !== undefined && { assume }),
  };
}

async function openTrace(path: string, signal: AbortSignal): Promise<Trace> {
  const source = await FileSource.open(path);
  try {
    const trace = await readTrace(source, { signal });
    if (trace.truncated) note(`mowgli: ${path} ends within a step, which was left out`);
    return trace;
  } finally {
    await source.close();
  }
}

const statedKeys: Readonly<Record<string, { key: keyof StatedMachine; perSecond: boolean }>> = {
  'gpu-memory': { key: 'gpuMemory', perSecond: false },
  'host-memory': { key: 'hostMemory', perSecond: false },
  disk: { key: 'disk', perSecond: true },
  host: { key: 'host', perSecond: true },
  link: { key: 'link', perSecond: true },
  'gpu-bandwidth': { key: 'gpuBandwidth', perSecond: true },
};

/** `gpu-memory=24GiB,disk=6GB/s`. */
function statedMachine(name: string): OptionParser<StatedMachine> {
  return (text) => {
    const machine: { -readonly [K in keyof StatedMachine]: StatedMachine[K] } = {};
    for (const pair of text.split(',')) {
      const [, word = '', value = ''] = /^\s*([a-z-]+)\s*=\s*(.+?)\s*$/.exec(pair) ?? [];
      if (!Object.hasOwn(statedKeys, word)) {
        throw usageError(
          `${name}: '${pair}' is not one of ${Object.keys(statedKeys).join('=, ')}= and a value`,
        );
      }
      const { key, perSecond } = statedKeys[word]!;
      const amount = size(`${name}: ${word}`)(perSecond ? value.replace(/\/s$/, '') : value);
      if (amount <= 0) throw usageError(`${name}: ${word} is ${value}; it must be above 0`);
      machine[key] = amount;
    }
    return machine;
  };
}

function toText(plan: Plan): string {
  const sections = [
    places(plan),
    machineText(plan),
    `${speedTable(plan)}\n${timeText(plan)}`,
    adviceText(plan),
  ];
  return sections.filter(Boolean).join('\n');
}

/** What goes where, with the memory asked for. */
function places(plan: Plan): string {
  const { fixed, planned, expertBytes, machine } = plan;
  const { memory, experts } = planned;
  const of = (part: number) => `${((100 * part) / Math.max(1, experts)).toFixed(0)} %`;
  const outside = (experts - memory.slots) * expertBytes;
  return facts([
    ['model', plan.model],
    [
      'on the GPU',
      `${formatBytes(memory.totalBytes)} of ${formatBytes(plan.completeBytes)} that the whole model takes`,
    ],
    ['  weights without experts', formatBytes(fixed.residentBytes)],
    ['  KV cache', `${formatBytes(fixed.kvBytes)} (${plan.context} tokens, ${plan.kvType})`],
    ['  activations and tables', formatBytes(fixed.activationBytes)],
    ...(experts > 0
      ? ([
          [
            '  experts',
            `${formatBytes(memory.slotBytes)}: ${memory.slots} of ${experts} (${of(memory.slots)}), ${formatBytes(expertBytes)} each`,
          ],
          ['in RAM or on disk', `${formatBytes(outside)} of experts`],
        ] as [string, string][])
      : []),
    [
      'RAM',
      `${formatBytes(machine.hostBytes)}${machine.software ? ', the GPU memory is part of it' : ''}`,
    ],
  ]);
}

function machineText({ machine, routing, depth, policy }: Plan): string {
  const { reads, compute, stated } = machine;
  const token = compute.layers.reduce((sum, layer) => sum + layer.attentionMs, compute.tokenMs);
  const experts = compute.layers.reduce((sum, layer) => sum + layer.expertsMs, 0);
  const context = 1000 * compute.layers.reduce((sum, layer) => sum + layer.contextMs, 0);
  const first = reads?.first;
  const readNote: string[] = first
    ? [
        {
          'page cache': 'the page cache answered: the disk itself was not measured',
          disk: 'the disk answered',
          mixed: 'partly the page cache answered',
          made: 'made, not read: the model has no files',
          unknown: 'from the disk or the page cache',
        }[first.from],
      ]
    : [];
  return facts([
    [
      'GPU',
      machine.gpu ??
        `one of ${formatRate(stated.gpuBandwidth! / 1e9)} GB/s, of which kernels are taken to reach ${100 * statedDefaults.kernels} %`,
    ],
    [
      'computing a token',
      `${formatDuration(token)} without experts, ${formatDuration(experts)} for them; ${formatDuration(context)} more for each 1000 tokens of context (forecast at ${depth})`,
    ],
    ['a synchronisation', formatDuration(compute.syncMs)],
    ...(first
      ? ([
          [
            'reading experts',
            `${perSecond(first.bytesPerSecond)} (${first.experts} of them, ${formatBytes(first.bytes)}; ${readNote.join('')})`,
          ],
        ] as [string, string][])
      : []),
    ...(machine.disk ? ([['disk', speed(machine.disk)]] as [string, string][]) : []),
    ['page cache', speed(machine.pageCache)],
    ['upload', speed(machine.upload)],
    [
      'routing',
      routing.assumption
        ? `assumed: ${percent(routing.assumption.repeated)} of a token's experts are those of the last token, the others' popularity falls as rank^-${routing.assumption.popularity}; give --trace for better`
        : `of the trace, policy ${policy}`,
    ],
  ]);
}

function speedTable({ budgets, planned, machine }: Plan): string {
  const rows = budgets.map((forecast) => {
    const { memory, experts, time } = forecast;
    const { compute, synchronise, read, upload } = time.parts;
    const share = experts === 0 ? '-' : percent(memory.slots / experts);
    return [
      `${formatBytes(forecast.gpuBytes)}${forecast === planned ? ' *' : ''}`,
      share,
      percent(forecast.hitRate),
      megabytes(forecast.bytesPerToken),
      ...(machine.disk ? [megabytes(forecast.diskBytesPerToken)] : []),
      time.readbacks.toFixed(1),
      ...[compute, synchronise, read, upload].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)),
      formatRate(time.tokensPerSecond),
    ];
  });
  const header = [
    'GPU memory',
    'experts on it',
    'hits',
    'MB per token',
    ...(machine.disk ? ['from disk'] : []),
    'readbacks',
    'compute ms',
    'sync ms',
    'read ms',
    'upload ms',
    'tok/s',
  ];
  return markdownTable(
    header,
    rows,
    header.map(() => 'right'),
  );
}

function timeText({ planned }: Plan): string {
  const { tokensPerSecond, parts, readsAhead } = planned.time;
  const [most] = Object.entries(parts).sort(([, a], [, b]) => b - a);
  const what: Record<string, string> = {
    compute: 'computing',
    synchronise: 'waiting for the GPU to say which experts are needed',
    read: 'reading experts',
    upload: 'uploading experts',
  };
  return `* as planned: ${formatRate(tokensPerSecond)} tok/s, most of it ${what[most![0]]}${readsAhead ? '; reading ahead pays' : ''}\n`;
}

function adviceText({ advice, planned }: Plan): string {
  if (advice.length === 0) return '';
  const lines = advice.map((each) => {
    const effect =
      each.gain >= 1.05
        ? `would give ${each.gain.toFixed(each.gain < 10 ? 1 : 0)} x (${formatRate(each.tokensPerSecond)} tok/s)`
        : each.gain > 0.95
          ? 'would give nothing'
          : 'would cost something';
    return `  ${describe(each)} ${effect}\n`;
  });
  return `What to buy or lower, against ${formatRate(planned.time.tokensPerSecond)} tok/s:\n${lines.join('')}`;
}

function describe({ change, from, to }: Advice): string {
  switch (change) {
    case 'gpu memory':
      return `${formatBytes(to)} of GPU memory instead of ${formatBytes(from)}`;
    case 'host memory':
      return `${formatBytes(to)} of RAM instead of ${formatBytes(from)}`;
    case 'disk':
      return 'a disk twice as fast';
    case 'link':
      return 'a link to the GPU twice as fast';
    case 'gpu':
      return 'a GPU that computes twice as fast';
    case 'number format':
      return 'experts in a format of half the size';
    case 'context':
      return 'half the context (or an f16 cache)';
  }
}

function facts(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function speed({ bytesPerSecond, source }: PlannedSpeed): string {
  return `${perSecond(bytesPerSecond)} (${source})`;
}

function perSecond(bytes: number): string {
  return `${formatRate(bytes / 1e9)} GB/s`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
