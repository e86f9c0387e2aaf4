/**
 * Converts a Hugging Face folder to GGUF, with its tokenizer and chat template:
 *
 *     npx tsx scripts/make-gguf.ts models/tiny-coder tiny-coder-q8_0.gguf --type Q8_0
 *
 * For tests and comparisons with llama.cpp, which loads what comes out. Weights are converted piece by
 * piece, so a model may be larger than memory. The quantised formats are ggml's older ones, rounded as
 * its reference does; for K-quants give the result to `llama-quantize`.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MowgliError } from '../src/errors.ts';
import { openCheckpoint } from '../src/files/checkpoint.ts';
import { exportGguf } from '../src/files/gguf-export.ts';
import { splitParts } from '../src/files/gguf-split.ts';
import { writeGguf } from '../src/files/gguf-write.ts';
import { elementCount } from '../src/files/tensors.ts';
import { NodeFolder } from '../src/node/folder.ts';
import { NodeFolderSink } from '../src/node/folder-sink.ts';
import { formatBytes, type NumberType, numberFormats } from '../src/quant/index.ts';
import { gigabytes, progress } from './progress.ts';

const types = Object.values(numberFormats)
  .filter(({ name, encode }) => encode !== undefined && name !== 'F8_E4M3')
  .map(({ name }) => name);

interface Options {
  type: NumberType;
  tensorType: [RegExp, NumberType][];
  partBytes: number;
  name?: string;
  force?: boolean;
}

const program = new Command('make-gguf')
  .description('Convert a Hugging Face folder to GGUF, with its tokenizer and chat template.')
  .argument('<folder>', 'the model: config.json, safetensors, tokenizer.json')
  .argument('<file>', 'GGUF file to write')
  .addOption(
    new Option('--type <type>', 'number format of the matrices').choices(types).default('BF16'),
  )
  .addOption(
    new Option(
      '--tensor-type <pattern=type>',
      'another format for tensors whose name matches a regular expression, such as ffn_down=Q8_0; may be repeated, the first match counts',
    )
      .argParser(parseTensorType)
      .default([], 'none'),
  )
  .addOption(
    new Option(
      '--part-bytes <n>',
      'bytes of weights per file at most, in files NAME-00001-of-0000N.gguf',
    )
      .argParser(parseBytes)
      .default(Number.POSITIVE_INFINITY, 'all in one file'),
  )
  .option('--name <name>', 'name of the model in the file (default: that of the folder)')
  .option('--force', 'replace a file that is there')
  .parse();

try {
  await makeGguf(program.args[0], program.args[1], program.opts<Options>());
} catch (error) {
  if (!(error instanceof MowgliError)) throw error;
  process.stderr.write(`\n${error.code}: ${error.message}\n`);
  process.exit(1);
}

async function makeGguf(folder: string, file: string, options: Options): Promise<void> {
  const checkpoint = await openCheckpoint(await NodeFolder.open(folder));
  try {
    const { metadata, tensors } = exportGguf(checkpoint, {
      type: options.type,
      typeOf: (name) => options.tensorType.find(([pattern]) => pattern.test(name))?.[1],
      name: options.name ?? basename(resolve(folder)),
    });
    const parts = splitParts(basename(file), metadata, tensors, options.partBytes);
    const present = await readdir(dirname(file)).catch((): string[] => []);
    const inTheWay = parts.find((part) => present.includes(part.file));
    if (inTheWay && !options.force) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${inTheWay.file} is there already; name another file, or pass --force to replace it`,
      );
    }
    const bytes = tensors.reduce(
      (sum, { type, shape }) => sum + formatBytes(type, elementCount(shape)),
      0,
    );
    const report = progress(bytes);
    const sink = new NodeFolderSink(dirname(file));
    for (const part of parts) await writeGguf(await sink.create(part.file), part, report);
    const names = parts.map((part) => part.file).join(', ');
    process.stderr.write(`\n${names}: ${tensors.length} tensors, ${gigabytes(bytes)}\n`);
  } finally {
    await checkpoint.close();
  }
}

function parseTensorType(text: string, previous: [RegExp, NumberType][]): [RegExp, NumberType][] {
  const at = text.lastIndexOf('=');
  const type = types.find((name) => name === text.slice(at + 1).toUpperCase());
  if (at < 1 || type === undefined) {
    throw new InvalidArgumentError(`It must be pattern=type, with a type of ${types.join(', ')}.`);
  }
  try {
    return [...previous, [new RegExp(text.slice(0, at)), type]];
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function parseBytes(text: string): number {
  const bytes = Number(text);
  if (bytes > 0) return bytes;
  throw new InvalidArgumentError('It must be a number of bytes above 0.');
}
