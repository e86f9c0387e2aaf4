/**
 * Makes a model with random weights, of any size, as a Hugging Face folder:
 *
 *     npx tsx scripts/make-model.ts --preset small --out models/small
 *
 * For tests and benchmarks of everything but the text: there is no tokenizer in the folder.
 */
import { readdir, readFile, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { MowgliError } from '../src/errors.ts';
import { isJsonObject, parseJson } from '../src/files/json.ts';
import { parseModelConfig } from '../src/files/model-config.ts';
import { type Preset, type PresetName, presets } from '../src/files/presets.ts';
import { SyntheticStore } from '../src/files/synthetic.ts';
import { writeCheckpoint } from '../src/files/write-safetensors.ts';
import { NodeFolderSink } from '../src/node/folder-sink.ts';
import { formats, type TensorType } from '../src/quant/index.ts';

/** What `torch_dtype` calls the number types. */
const torchTypes: Readonly<Record<TensorType, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

interface Options {
  out: string;
  config?: string;
  preset?: PresetName;
  seed: string;
  type: TensorType;
  shardBytes: string;
}

const program = new Command('make-model')
  .description('Make a model with random weights as a Hugging Face folder (without a tokenizer).')
  .requiredOption('--out <folder>', 'folder to make; it must not exist or be empty')
  .addOption(
    new Option('--preset <name>', 'size of the model')
      .choices(Object.keys(presets))
      .conflicts('config'),
  )
  .option('--config <file>', 'config.json to follow instead of a preset')
  .option('--seed <n>', 'same seed, same weights', '0')
  .addOption(
    new Option('--type <type>', 'number type').choices(Object.keys(formats)).default('BF16'),
  )
  .option('--shard-bytes <n>', 'bytes of weights per file at most', '5000000000')
  .parse();

try {
  await makeModel(program.opts<Options>());
} catch (error) {
  if (!(error instanceof MowgliError)) throw error;
  process.stderr.write(`\n${error.code}: ${error.message}\n`);
  process.exit(1);
}

async function makeModel(options: Options): Promise<void> {
  const files = await template(options);
  const configJson = { ...files.configJson, torch_dtype: torchTypes[options.type] };
  const config = parseModelConfig(configJson, files.generationConfigJson, options.config);
  const tensors = new SyntheticStore(config, { seed: Number(options.seed), type: options.type });
  const bytes = [...tensors.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  await checkPlace(options.out, bytes);

  const began = performance.now();
  await writeCheckpoint(
    new NodeFolderSink(options.out),
    { ...files, configJson, tensors },
    { maxShardBytes: Number(options.shardBytes), onProgress: progress(began) },
  );
  process.stderr.write(
    `\n${options.out}: ${tensors.tensors.size} tensors. There is no tokenizer: copy one's files into the folder before you generate text.\n`,
  );
}

async function template({ config, preset }: Options): Promise<Partial<Preset>> {
  if (preset !== undefined) return presets[preset];
  if (config === undefined) {
    throw new MowgliError('OPTION_INVALID', 'Say which model to make, with --preset or --config');
  }
  const text = await readFile(config, 'utf8').catch((cause) => {
    throw new MowgliError('FILE_NOT_FOUND', `${config} cannot be read; check the path`, { cause });
  });
  const configJson = parseJson(text, config);
  if (!isJsonObject(configJson)) {
    throw new MowgliError('CONFIG_INVALID', `${config} is not a JSON object; pass a config.json`);
  }
  return { configJson };
}

/** Neither mixes with another model's files nor finds out after an hour that the disk is full. */
async function checkPlace(out: string, bytes: number): Promise<void> {
  const present = await readdir(out).catch(() => []);
  if (present.length > 0) {
    throw new MowgliError('OPTION_INVALID', `${out} is not empty; name a new folder with --out`);
  }
  const free = await freeBytes(resolve(out));
  if (bytes > free) {
    throw new MowgliError(
      'OPTION_INVALID',
      `The model takes ${gigabytes(bytes)}, but the disk of ${out} has ${gigabytes(free)} free; choose another place or a smaller model`,
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

function progress(began: number) {
  let shown = 0;
  return (doneBytes: number, totalBytes: number) => {
    const now = performance.now();
    if (now - shown < 200 && doneBytes < totalBytes) return;
    shown = now;
    const rate = doneBytes / 1e6 / ((now - began) / 1e3);
    const percent = ((100 * doneBytes) / totalBytes).toFixed(1);
    process.stderr.write(`\r${percent} % of ${gigabytes(totalBytes)}, ${rate.toFixed(0)} MB/s   `);
  };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
}
