import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { MowgliError } from '../errors.ts';
import {
  type AdapterChoice,
  adapterChoices,
  type Driver,
  lavapipeCommand,
  openDawn,
} from '../node/dawn.ts';
import {
  describeMachine,
  type Machine,
  measureReadSpeed,
  type ReadSpeed,
} from '../node/machine.ts';
import { exitCodes } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { findDemoModel } from './open-model.ts';
import { oneOf } from './options.ts';
import { print, printJson } from './output.ts';
import { formatBytes } from './units.ts';

interface Flags {
  adapter?: AdapterChoice;
  model?: string;
  json?: boolean;
}

/** What of the adapter decides whether and how fast models run. */
interface AdapterReport {
  driver: Driver;
  vendor: string;
  architecture: string;
  device: string;
  /** Names of WebGPU features that are used where they exist. */
  features: Record<string, boolean>;
  /** Bytes, or invocations. */
  limits: Record<string, number>;
  /** Shader invocations that run in step; `undefined` where the adapter does not say. */
  subgroupSizes: { min: number; max: number } | undefined;
}

interface Report {
  version: string;
  machine: Machine;
  adapter: AdapterReport | undefined;
  disk: ReadSpeed | undefined;
  /** What is wrong or could be better, and what to do about it. */
  advice: string[];
}

const usedFeatures = ['shader-f16', 'subgroups', 'timestamp-query'];
const usedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
] as const;

const examples = `
Examples:
  $ mowgli doctor
  $ mowgli doctor --model ~/models/Qwen3-Coder-30B-A3B-Instruct    # also the speed of its disk
  $ MOWGLI_ADAPTER=swiftshader mowgli doctor --json

Exit status: 0 models can run here, 1 they cannot.`;

/** `mowgli doctor`: what this machine offers, and what to do about what is missing. */
export function doctorCommand({ signal }: Interrupt, version: string): Command {
  return new Command('doctor')
    .description('show what this machine offers and what is missing')
    .option('-m, --model <folder>', 'the model whose disk to measure (default: the demo model)')
    .option(
      '--adapter <kind>',
      `look for this adapter: ${adapterChoices.join(', ')} (default: MOWGLI_ADAPTER, or auto)`,
      oneOf('--adapter', adapterChoices),
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action((flags: Flags) => doctor(flags, version, signal));
}

async function doctor(flags: Flags, version: string, signal: AbortSignal): Promise<void> {
  const advice: string[] = [];
  const machine = describeMachine();
  const adapter = await inspectAdapter(flags.adapter, advice);
  const disk = await measureDisk(flags.model ?? findDemoModel(), advice, signal);
  if (machine.memory.availableBytes < 2 * 2 ** 30) {
    advice.push(
      'less than 2 GiB of memory is free: close other programs, or use a small --context',
    );
  }
  const report: Report = { version, machine, adapter, disk, advice };
  await (flags.json ? printJson(report) : print(toText(report)));
  process.exitCode = adapter ? exitCodes.ok : exitCodes.failed;
}

async function inspectAdapter(
  choice: AdapterChoice | undefined,
  advice: string[],
): Promise<AdapterReport | undefined> {
  try {
    const { adapter, driver } = await openDawn({ adapter: choice, muteWarnings: true });
    const { info, limits } = adapter;
    const { subgroupMinSize: min, subgroupMaxSize: max } = info;
    if (driver.kind === 'swiftshader') {
      advice.push(
        'SwiftShader stands in for a GPU: a GPU with a Vulkan driver is far faster, ' +
          `and so is lavapipe (as root on Debian or Ubuntu: ${lavapipeCommand()})`,
      );
    } else if (driver.isSoftware) {
      advice.push(
        'the CPU stands in for a GPU: if this machine has one, install its Vulkan driver',
      );
    }
    return {
      driver,
      vendor: info.vendor,
      architecture: info.architecture,
      device: info.device,
      features: Object.fromEntries(usedFeatures.map((name) => [name, adapter.features.has(name)])),
      limits: Object.fromEntries(usedLimits.map((name) => [name, limits[name]])),
      subgroupSizes: min && max ? { min, max } : undefined,
    };
  } catch (error) {
    if (!(error instanceof MowgliError) || error.code !== 'NO_ADAPTER') throw error;
    advice.push(error.message);
    return undefined;
  }
}

/** Times the largest file of a folder, or the one file that is named. */
async function measureDisk(
  path: string | undefined,
  advice: string[],
  signal: AbortSignal,
): Promise<ReadSpeed | undefined> {
  if (path === undefined) {
    advice.push('name a model with --model to measure the disk that it is on');
    return undefined;
  }
  try {
    return await measureReadSpeed(await largestFile(path), { signal });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MowgliError('FILE_NOT_FOUND', `--model ${path} cannot be read: ${reason}`, { cause });
  }
}

async function largestFile(path: string): Promise<string> {
  if (!(await stat(path)).isDirectory()) return path;
  const found: { file: string; bytes: number }[] = [];
  for (const name of await readdir(path)) {
    const file = join(path, name);
    const entry = await stat(file);
    if (entry.isFile()) found.push({ file, bytes: entry.size });
  }
  found.sort((a, b) => b.bytes - a.bytes);
  if (!found[0]?.bytes) throw new Error('there is no file with content in it');
  return found[0].file;
}

function toText({ version, machine, adapter, disk, advice }: Report): string {
  const lines: [string, string][] = [
    ['mowgli', version],
    ['Node', `${machine.nodeVersion} on ${machine.platform}`],
    ['CPU', `${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`],
    [
      'memory',
      `${formatBytes(machine.memory.availableBytes)} free of ${formatBytes(machine.memory.totalBytes)}`,
    ],
  ];
  if (adapter) {
    const { driver, features, limits, subgroupSizes } = adapter;
    const where = driver.isSoftware ? 'runs on the CPU' : 'GPU';
    lines.push(
      ['adapter', `${driver.description} (${driver.kind}, ${where})`],
      [
        'features',
        usedFeatures.map((name) => `${name}: ${features[name] ? 'yes' : 'no'}`).join(', '),
      ],
      ['subgroup size', subgroupSizes ? between(subgroupSizes) : 'not known'],
      ...usedLimits.map((name): [string, string] => [name, limit(name, limits[name]!)]),
    );
  } else {
    lines.push(['adapter', 'none']);
  }
  if (disk) {
    const speed = `${formatBytes(disk.bytesPerSecond)}/s`;
    const caveat = disk.from === 'page cache' ? ', which says nothing about the disk itself' : '';
    lines.push(['read', `${speed} from ${origins[disk.from]}${caveat} (${disk.file})`]);
  }
  const width = Math.max(...lines.map(([name]) => name.length));
  const text = lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
  return text + advice.map((line) => `\n* ${line}\n`).join('');
}

const origins: Record<ReadSpeed['from'], string> = {
  'page cache': 'the page cache',
  disk: 'the disk',
  mixed: 'disk and page cache together',
  unknown: 'disk or page cache (not known here)',
};

function between({ min, max }: { min: number; max: number }): string {
  return min === max ? String(min) : `${min} to ${max}`;
}

function limit(name: string, value: number): string {
  return name.endsWith('Size') ? `${formatBytes(value)}` : String(value);
}
