import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { MowgliError } from '../errors.ts';
import { withNativeStderrMuted } from './native-stderr.ts';
import { selectDriver, swiftShaderPackage, unpackSwiftShader } from './software-driver.ts';

/** What runs the shaders: a GPU's own driver, or one of two Vulkan drivers that run on the CPU. */
export type DriverKind = 'native' | 'lavapipe' | 'swiftshader';

/** Which driver to use. `auto`: a GPU's, else lavapipe as installed, else SwiftShader out of npm. */
export type AdapterChoice = 'auto' | DriverKind;

/** All values of {@link AdapterChoice}. */
export const adapterChoices: readonly AdapterChoice[] = [
  'auto',
  'native',
  'lavapipe',
  'swiftshader',
];

export interface Driver {
  readonly kind: DriverKind;
  /** What the driver calls itself, for people. */
  readonly description: string;
  /** Whether shaders run on the CPU. Waiting for one is better done with `quietWait`. */
  readonly isSoftware: boolean;
}

export interface OpenDawnOptions {
  /** Default: the environment variable `MOWGLI_ADAPTER`, else `auto`. */
  adapter?: AdapterChoice | undefined;
  /** Keeps Dawn's harmless start-up warnings off stderr. For programs that own their process. */
  muteWarnings?: boolean;
}

export interface Dawn {
  readonly gpu: GPU;
  /** Good for one `requestDevice`. Open again for another device; that is quick. */
  readonly adapter: GPUAdapter;
  readonly driver: Driver;
}

/** A way to an adapter: the system's drivers, lavapipe among them by name, SwiftShader out of npm. */
type Attempt = 'system' | 'lavapipe' | 'swiftshader';

/**
 * Dawn's instances, by how they were made. They are kept for good: when the garbage collector takes
 * the object that `create()` returned, the next call on one of its devices ends the process.
 */
const instances = new Map<Attempt, GPU>();
/** Instances that found no adapter. Not asked again (a driver may be installed meanwhile), but kept. */
const barrenInstances: GPU[] = [];
/** What `auto` came to. It stays so: what the loader that came with SwiftShader finds is no news. */
let automatic: Attempt | undefined;

const dawnFlags = [
  // Dawn hides 16-bit floats on NVIDIA's Vulkan driver unless it is asked for them.
  'enable-dawn-features=vulkan_enable_f16_on_nvidia',
  // Otherwise GPU timestamps are rounded to 65.536 microseconds.
  'disable-dawn-features=timestamp_quantization',
];

/**
 * Finds a WebGPU adapter for Node, by way of Dawn (npm `webgpu`).
 *
 * @throws MowgliError `NO_ADAPTER` when there is none of the chosen kind; the message says what to
 * install. `OPTION_INVALID` when `MOWGLI_ADAPTER` is none of {@link adapterChoices}.
 */
export async function openDawn(options: OpenDawnOptions = {}): Promise<Dawn> {
  const choice = options.adapter ?? choiceFromEnvironment();
  for (const attempt of attempts(choice)) {
    const dawn = await tryTo(attempt, options);
    if (!dawn || (choice === 'native' && dawn.driver.isSoftware)) continue;
    if (choice === 'auto') automatic = attempt;
    return dawn;
  }
  throw new MowgliError('NO_ADAPTER', adviceFor(choice));
}

function attempts(choice: AdapterChoice): readonly Attempt[] {
  if (choice === 'native') return ['system'];
  if (choice !== 'auto') return [choice];
  return automatic ? [automatic] : ['system', 'swiftshader'];
}

async function tryTo(attempt: Attempt, options: OpenDawnOptions): Promise<Dawn | undefined> {
  const create = await importDawn();
  if (attempt === 'system') return request(create, attempt, [], options);
  if (attempt === 'lavapipe') return request(create, attempt, ['adapter=llvmpipe'], options);
  const folder = await unpackSwiftShader();
  if (!folder) return undefined;
  const restoreEnvironment = selectDriver(folder);
  let pending: Promise<Dawn | undefined>;
  try {
    pending = request(create, attempt, ['adapter=SwiftShader'], options);
  } finally {
    restoreEnvironment(); // Dawn has loaded the driver before it returned its promise.
  }
  return pending;
}

async function request(
  create: CreateGpu,
  attempt: Attempt,
  flags: readonly string[],
  { muteWarnings }: OpenDawnOptions,
): Promise<Dawn | undefined> {
  const gpu = instances.get(attempt) ?? create([...dawnFlags, ...flags]);
  // Dawn looks for adapters, and warns, before this call returns its promise.
  const start = () => gpu.requestAdapter({ powerPreference: 'high-performance' });
  const found = muteWarnings ? withNativeStderrMuted(start) : start();
  // It rejects with "no suitable backends found" when no adapter has the name that a flag asks for.
  const adapter = await found.catch(() => undefined);
  if (!adapter) {
    barrenInstances.push(gpu);
    return undefined;
  }
  instances.set(attempt, gpu);
  return { gpu, adapter, driver: describe(adapter.info) };
}

function choiceFromEnvironment(): AdapterChoice {
  const value = process.env.MOWGLI_ADAPTER || 'auto';
  const choice = adapterChoices.find((known) => known === value);
  if (choice) return choice;
  throw new MowgliError(
    'OPTION_INVALID',
    `the environment variable MOWGLI_ADAPTER is '${value}'; it must be one of ${adapterChoices.join(', ')}`,
  );
}

type CreateGpu = (flags: string[]) => GPU;

async function importDawn(): Promise<CreateGpu> {
  try {
    return (await import('webgpu')).create;
  } catch (cause) {
    throw new MowgliError(
      'NO_ADAPTER',
      `Dawn did not load on ${process.platform}-${process.arch} (${firstLine(cause)}); the npm package ` +
        'webgpu has builds for Linux (glibc) and Windows on x64 and arm64 and for macOS: use one of ' +
        'these, and run npm install there again if node_modules was copied from another system',
      { cause },
    );
  }
}

function describe(info: GPUAdapterInfo): Driver {
  const description =
    info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(' ');
  if (info.architecture === 'swiftshader') {
    return { kind: 'swiftshader', description, isSoftware: true };
  }
  if (/llvmpipe|lavapipe/i.test(`${info.device} ${info.description}`)) {
    return { kind: 'lavapipe', description, isSoftware: true };
  }
  // Windows has a CPU adapter of its own (WARP), which counts as native and says so itself.
  return { kind: 'native', description, isSoftware: info.isFallbackAdapter };
}

/** The command that installs lavapipe, where this package's script for it can help. */
export function lavapipeCommand(): string {
  return `sh ${fileURLToPath(new URL('../../scripts/install-lavapipe.sh', import.meta.url))}`;
}

function adviceFor(choice: AdapterChoice): string {
  const gpu = "install your GPU's driver with Vulkan support";
  const lavapipe = `install lavapipe (as root on Debian or Ubuntu: ${lavapipeCommand()})`;
  const swiftShader = `run \`npm install ${swiftShaderPackage}\` (SwiftShader, several times slower)`;
  if (process.platform !== 'linux') {
    return choice === 'auto' || choice === 'native'
      ? "no WebGPU adapter was found: update your GPU's driver"
      : `${choice} is available on Linux only: choose the adapter 'auto'`;
  }
  switch (choice) {
    case 'auto':
      return (
        `no WebGPU adapter was found: ${gpu}; or, to run on the CPU, ${lavapipe}` +
        (process.arch === 'x64' ? `, or ${swiftShader}${threadAdvice()}` : '')
      );
    case 'native':
      return `no GPU was found: ${gpu} (is it visible to this user or container?), or choose the adapter 'auto'`;
    case 'lavapipe':
      return `lavapipe is not installed, or too old: ${lavapipe}, or choose the adapter 'auto'`;
    case 'swiftshader':
      return process.arch === 'x64'
        ? `SwiftShader was not found: ${swiftShader}${threadAdvice()}`
        : `there is no SwiftShader for Linux on ${process.arch}: choose the adapter 'auto'`;
  }
}

/** A worker's `process.env` is a copy that the Vulkan loader never sees. */
function threadAdvice(): string {
  return isMainThread
    ? ''
    : '; and in a worker thread, start it with `env: SHARE_ENV` so that SwiftShader can be selected';
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0]!;
}
