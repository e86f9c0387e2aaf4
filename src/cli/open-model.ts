import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { MowgliError } from '../errors.ts';
import { type AdapterChoice, adapterChoices, type Driver, openDawn } from '../node/dawn.ts';
import { isSynthetic } from '../node/find-model.ts';
import {
  defaultPolicy,
  type Model,
  type PolicyName,
  policyNames,
  type ReadAhead,
} from '../node.ts';
import { integer, number, oneOf, size, usageError } from './options.ts';
import { note } from './output.ts';
import { showProgress } from './progress.ts';

/** Options of every command that loads a model. */
export interface ModelFlags {
  model?: string;
  context?: number;
  chunk?: number;
  kvType?: 'f32' | 'f16';
  activations?: 'f32' | 'int8';
  gpuMemory?: number;
  hostMemory?: number;
  prefixCache?: number;
  policy?: PolicyName;
  readAhead?: ReadAhead;
  pin?: number;
  adapter?: AdapterChoice;
  quiet?: boolean;
}

/** Adds how tokens are computed: `--chunk`, `--kv-type`, `--activations`. */
export function addComputeOptions(command: Command): Command {
  return command
    .option(
      '--chunk <tokens>',
      'tokens of a prompt evaluated at once (default: 512, or what fits the device)',
      integer('--chunk', { min: 1 }),
    )
    .option(
      '--kv-type <type>',
      'number format of the attention cache: f32 or f16',
      oneOf('--kv-type', ['f32', 'f16']),
    )
    .option(
      '--activations <type>',
      'what quantized weights are multiplied with: f32, exact, or int8, faster (default: int8 where the CPU is the GPU)',
      oneOf('--activations', ['f32', 'int8']),
    );
}

/** Adds `--prefix-cache`, to commands that answer more than one prompt. */
export function addPrefixCacheOption(command: Command): Command {
  return command.option(
    '--prefix-cache <size>',
    'memory that keeps what was evaluated of earlier prompts (default: 1GiB, taken as it is needed)',
    size('--prefix-cache'),
  );
}

/** Adds `--adapter`. */
export function addAdapterOption(command: Command): Command {
  return command.option(
    '--adapter <kind>',
    `what runs the shaders: ${adapterChoices.join(', ')} (default: MOWGLI_ADAPTER, or auto)`,
    oneOf('--adapter', adapterChoices),
  );
}

/** Adds the options of {@link ModelFlags} to a command. */
export function addModelOptions(command: Command): Command {
  command
    .option(
      '-m, --model <path>',
      'the model to run: a Hugging Face folder, a GGUF file, or synthetic:NAME?OPTIONS with random weights (default: the small demo model, tiny-coder)',
    )
    .option(
      '--context <tokens>',
      'room for prompt and answer, in tokens (default: 4096, or what the model was made for if that is less)',
      integer('--context', { min: 1 }),
    );
  addComputeOptions(command)
    .option(
      '--gpu-memory <size>',
      'GPU memory to use at most, such as 6GiB; experts that do not fit are read when they are needed (default: what the device gives, up to the whole model)',
      size('--gpu-memory'),
    )
    .option(
      '--host-memory <size>',
      "memory that keeps experts read before (default: 0, the system's own cache of files does)",
      size('--host-memory'),
    )
    .option(
      '--policy <name>',
      `which expert makes room for another: ${policyNames.join(', ')} (default: ${defaultPolicy})`,
      oneOf('--policy', policyNames),
    )
    .option(
      '--pin <share>',
      'share (0 to 1) of the room for experts that those used most in earlier runs keep (default: 0)',
      number('--pin', { min: 0, max: 1 }),
    )
    .option(
      '--read-ahead <when>',
      'read experts before it is certain that they are needed: auto (while it pays), on, off',
      oneOf('--read-ahead', ['auto', 'on', 'off']),
    );
  return addAdapterOption(command).option('-q, --quiet', 'print nothing but the result and errors');
}

/** A loaded model and how long that took. */
export interface OpenedModel {
  readonly model: Model;
  readonly loadMs: number;
}

/** Loads the model that the options name, with progress on a terminal. */
export async function openModel(flags: ModelFlags, signal: AbortSignal): Promise<OpenedModel> {
  const folder = flags.model ?? demoModelFolder();
  if (!isSynthetic(folder) && !existsSync(folder)) {
    throw new MowgliError(
      'FILE_NOT_FOUND',
      `--model: there is nothing at ${folder}; check the path`,
    );
  }
  const quiet = flags.quiet ?? false;
  // Opened here first: Dawn's start-up noise is muted, and the user learns what everything runs on.
  const { driver } = await openDawn({ adapter: flags.adapter, muteWarnings: true });
  if (driver.isSoftware && !quiet) note(softwareNote(driver));
  const { loadModel } = await import('../node.ts');
  const progress = showProgress(quiet);
  const start = performance.now();
  try {
    const model = await loadModel(folder, {
      ...(flags.context !== undefined && { context: flags.context }),
      ...(flags.chunk !== undefined && { chunk: flags.chunk }),
      ...(flags.kvType !== undefined && { kvType: flags.kvType }),
      ...(flags.activations !== undefined && { activations: flags.activations }),
      ...(flags.gpuMemory !== undefined && { gpuMemory: flags.gpuMemory }),
      ...(flags.hostMemory !== undefined && { hostMemory: flags.hostMemory }),
      ...(flags.prefixCache !== undefined && { prefixCache: flags.prefixCache }),
      ...(flags.policy !== undefined && { policy: flags.policy }),
      ...(flags.pin !== undefined && { pin: flags.pin }),
      ...(flags.readAhead !== undefined && { readAhead: flags.readAhead }),
      ...(flags.adapter !== undefined && { adapter: flags.adapter }),
      onProgress: progress.update,
      signal,
    });
    return { model, loadMs: performance.now() - start };
  } finally {
    progress.clear();
  }
}

/** The folder of the model that comes with this package; `undefined` where it was left out. */
export function findDemoModel(): string | undefined {
  const folder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));
  return existsSync(folder) ? folder : undefined;
}

function demoModelFolder(): string {
  const folder = findDemoModel();
  if (folder) return folder;
  throw usageError(
    '--model is missing, and this copy of the package has no demo model: name the folder of a ' +
      'Qwen3-MoE model (with config.json, tokenizer.json and *.safetensors)',
  );
}

function softwareNote({ kind, description }: Driver): string {
  const name = { lavapipe: 'lavapipe', swiftshader: 'SwiftShader', native: description }[kind];
  const faster = kind === 'swiftshader' ? '; lavapipe is faster, see mowgli doctor' : '';
  return `mowgli: no GPU in use, running on the CPU with ${name} (${description})${faster}`;
}
