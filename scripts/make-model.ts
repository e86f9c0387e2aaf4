/**
 * Makes a model with random weights, of any size, as a Hugging Face folder or a GGUF file:
 *
 *     npx tsx scripts/make-model.ts --preset small --out models/small
 *     npx tsx scripts/make-model.ts --preset qwen3-coder-30b --type Q4_K --format gguf --out 30b.gguf
 *
 * For tests and benchmarks of everything but the text: there is no tokenizer. The weights are those of
 * `--model synthetic:...` with the same options, byte for byte. They are written piece by piece, so
 * that a model may be larger than memory; what was written is removed when it is not finished.
 */
import { readdir, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { listenForInterrupt } from '../src/cli/interrupt.ts';
import { MowgliError } from '../src/errors.ts';
import type { Checkpoint } from '../src/files/checkpoint.ts';
import { exportGguf } from '../src/files/gguf-export.ts';
import { splitParts } from '../src/files/gguf-split.ts';
import { writeGguf } from '../src/files/gguf-write.ts';
import { isJsonObject } from '../src/files/json.ts';
import { presetNames } from '../src/files/presets.ts';
import { syntheticTypes } from '../src/files/synthetic.ts';
import {
  openSynthetic,
  type SyntheticModel,
  syntheticModel,
} from '../src/files/synthetic-model.ts';
import { elementCount } from '../src/files/tensors.ts';
import { type FolderSink, writeCheckpoint } from '../src/files/write-safetensors.ts';
import { readConfigFiles } from '../src/node/find-model.ts';
import { NodeFolderSink } from '../src/node/folder-sink.ts';
import { formatBytes, formats, type TensorType } from '../src/quant/index.ts';
import { gigabytes, progress } from './progress.ts';

/** What `torch_dtype` calls the number types. */
const torchTypes: Readonly<Record<TensorType, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

interface Options {
  out: string;
  format: 'safetensors' | 'gguf';
  config?: string;
  preset?: string;
  type: string;
  expertsType?: string;
  downType?: string;
  embedType?: string;
  seed: string;
  layers?: string;
  shardBytes?: string;
  force?: boolean;
}

const program = new Command('make-model')
  .description('Make a model with random weights (without a tokenizer).')
  .requiredOption('--out <path>', 'folder to make, which must not exist or be empty; or GGUF file')
  .addOption(
    new Option('--format <format>', 'what to write')
      .choices(['safetensors', 'gguf'])
      .default('safetensors'),
  )
  .addOption(
    new Option('--preset <name>', 'size of the model')
      .choices(Object.keys(presetNames))
      .conflicts('config'),
  )
  .option('--config <file>', 'config.json to follow instead of a preset')
  .option('--type <type>', `number format: ${syntheticTypes.join(', ')}`, 'BF16')
  .option('--experts-type <type>', 'number format of the experts (default: --type)')
  .option('--down-type <type>', 'number format of the down projections (default: as gate and up)')
  .option('--embed-type <type>', 'number format of embedding and output (default: --type)')
  .option('--seed <n>', 'same seed, same weights', '0')
  .option('--layers <n>', 'number of layers, if not those of the configuration')
  .option(
    '--shard-bytes <n>',
    'bytes of weights per file at most (default: 5000000000; all in one GGUF file)',
  )
  .option('--force', 'replace a GGUF file that is there')
  .parse();

const interrupt = listenForInterrupt();
try {
  await makeModel(program.opts<Options>(), interrupt.signal);
} catch (error) {
  if (!(error instanceof MowgliError)) throw error;
  process.stderr.write(`\n${error.code}: ${error.message}\n`);
  process.exit(interrupt.exitCode ?? 1);
}

async function makeModel(options: Options, signal: AbortSignal): Promise<void> {
  const model = await describe(options);
  const checkpoint = openSynthetic(model);
  const write = options.format === 'gguf' ? writeGgufFiles : writeFolder;
  const count = await write(model, checkpoint, options, signal);
  process.stderr.write(
    `\n${options.out}: ${count} tensors, no tokenizer: give prompts as token ids, or add one's files.\n`,
  );
}

/** The model that `synthetic:` with the same options stands for. */
function describe(options: Options): Promise<SyntheticModel> {
  const place = options.preset ?? options.config;
  if (place === undefined) {
    throw new MowgliError('OPTION_INVALID', 'Say which model to make, with --preset or --config');
  }
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({
    type: options.type,
    experts_type: options.expertsType,
    down_type: options.downType,
    embed_type: options.embedType,
    seed: options.seed,
    layers: options.layers,
  })) {
    if (value !== undefined) query.set(key, value);
  }
  return syntheticModel(`synthetic:${place}?${query}`, readConfigFiles);
}

async function writeFolder(
  { configJson, generationConfigJson }: SyntheticModel,
  { tensors }: Checkpoint,
  { out, shardBytes = '5e9' }: Options,
  signal: AbortSignal,
): Promise<number> {
  const all = [...tensors.tensors.values()];
  const foreign = all.find(({ type }) => !(type in formats));
  if (foreign !== undefined) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${foreign.type} has no place in safetensors; choose ${Object.keys(formats).join(', ')}, or --format gguf`,
    );
  }
  if ((await readdir(out).catch(() => [])).length > 0) {
    throw new MowgliError('OPTION_INVALID', `${out} is not empty; name a new folder with --out`);
  }
  const bytes = all.reduce((sum, tensor) => sum + tensor.bytes, 0);
  await checkSpace(out, bytes);
  // What most of the model is in: the last expert's.
  const matrix = all.findLast(({ name }) => name.includes('.down_proj.')) ?? all[0];
  const dtype = torchTypes[matrix.type as TensorType];
  const report = progress(bytes);
  let reported = 0;
  await orNothing(out, (sink) =>
    writeCheckpoint(
      sink,
      {
        configJson: { ...(isJsonObject(configJson) && configJson), torch_dtype: dtype },
        generationConfigJson,
        tensors,
      },
      {
        maxShardBytes: Number(shardBytes),
        signal,
        onProgress: (done) => {
          report(done - reported);
          reported = done;
        },
      },
    ),
  );
  return all.length;
}

async function writeGgufFiles(
  model: SyntheticModel,
  checkpoint: Checkpoint,
  { out, shardBytes = 'Infinity', force }: Options,
  signal: AbortSignal,
): Promise<number> {
  const name = basename(out).replace(/\.gguf$/i, '');
  const { metadata, tensors } = exportGguf({ ...checkpoint, name: model.name }, { name, signal });
  const parts = splitParts(basename(out), metadata, tensors, Number(shardBytes));
  const folder = dirname(resolve(out));
  for (const { file } of force ? [] : parts) {
    if (await exists(join(folder, file))) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${file} is there already; name another file with --out, or pass --force to replace it`,
      );
    }
  }
  const bytes = tensors.reduce(
    (sum, { type, shape }) => sum + formatBytes(type, elementCount(shape)),
    0,
  );
  await checkSpace(folder, bytes);
  const report = progress(bytes);
  await orNothing(folder, async (sink) => {
    for (const part of parts) await writeGguf(await sink.create(part.file), part, report);
  });
  return tensors.length;
}

/** Writes files into a folder; after a failure, or Ctrl-C, none of them is left behind. */
async function orNothing(
  folder: string,
  write: (sink: FolderSink) => Promise<void>,
): Promise<void> {
  const isNew = !(await exists(folder));
  const sink = new NodeFolderSink(folder);
  const made: string[] = [];
  try {
    await write({
      create: (file) => {
        made.push(file);
        return sink.create(file);
      },
    });
  } catch (error) {
    for (const file of made) await rm(join(folder, file), { force: true });
    if (isNew) await rmdir(folder).catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
}

/** Finds out before an hour has passed that the disk is too small. */
async function checkSpace(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(resolve(folder));
  if (bytes > free) {
    throw new MowgliError(
      'OPTION_INVALID',
      `The model takes ${gigabytes(bytes)}, but the disk of ${folder} has ${gigabytes(free)} free; choose another place or a smaller model`,
    );
  }
}

/** Free space where a folder that may not exist yet would be. */
async function freeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch (error) {
    if (dirname(path) === path) throw error;
    return freeBytes(dirname(path));
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
