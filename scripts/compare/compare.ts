/**
 * This project beside its peers on the same machine, in one run: 4-bit products beside onnxruntime's
 * WebGPU execution provider, and a whole model beside llama.cpp on the CPU and on Vulkan. Run as
 *
 *     npm run compare -- [options]
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { integer, integers, usageError } from '../../src/cli/options.ts';
import { openDawn } from '../../src/node/dawn.ts';
import { type AdapterChoice, adapterChoices, MowgliError } from '../../src/node.ts';
import { compareModel, type ModelReport } from './compare-model.ts';
import { compareProducts, type ProductsReport } from './compare-products.ts';
import type { Clock } from './measure.ts';
import { defaultPeersFolder, installPeers, peerVersions } from './peers.ts';
import { modelTable, productsTable } from './tables.ts';

interface Flags {
  model?: string;
  products: boolean;
  rounds: number;
  prompt: number;
  generate: number;
  threads: number[];
  vulkan: boolean;
  adapter?: AdapterChoice;
  peersDir: string;
  install: boolean;
  cpu?: true;
  json?: string | true;
}

interface Report {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  /** Mean number of busy threads in the minute before, this comparison not among them. */
  readonly loadBefore: number;
  readonly adapter: string;
  readonly peers: string;
  readonly products?: ProductsReport;
  readonly model?: ModelReport;
}

const explanation = `
Each side is a process of its own; sides take turns, round after round, and a figure is the median of
the rounds. "CPU" is the CPU time of the side's process, all threads together.

Products: y = W x with W in blocks of 32 with 4 bits (Q4_0 here, MatMulNBits there). A call takes x from
the CPU, multiplies by several matrices (each by the result of the one before, where they are square)
and brings the result back; times are per matrix. "error" is the largest difference from the exact
product, relative to the root mean square of that.

Model: a prompt of random tokens evaluated at once; and an answer decoded behind one token, its tokens
the likeliest to the library, the same for all sides. llama.cpp's Vulkan backend on a software GPU is
measured once, with 8 tokens decoded; that and the compilation of its shaders take minutes. "same
tokens" counts how many of our greedy tokens a side would have chosen too, given those before; "KL" is
the mean divergence of its probabilities from ours there. llama.cpp rounds activations to int8 on the
CPU: in a model with random weights, where nothing is much likelier than the rest, that shows.

The peers are installed in a folder of their own, not among this project's dependencies.

Examples:
  $ npm run compare
  $ npm run compare -- --model mid-q4_0.gguf --json compare.json
  $ npm run compare -- --model mid-q4_0.gguf --no-products --no-vulkan --rounds 3`;

const program = new Command('compare')
  .description('Compare with onnxruntime and llama.cpp on this machine.')
  .option('--model <file>', 'GGUF file for the comparison with llama.cpp (default: left out)')
  .option('--no-products', 'leave out the comparison with onnxruntime')
  .option('--rounds <n>', 'turns of each side', integer('--rounds', { min: 1 }), 5)
  .option('--prompt <tokens>', 'length of the prompt', integer('--prompt', { min: 1 }), 128)
  .option('--generate <tokens>', 'tokens decoded', integer('--generate', { min: 1 }), 32)
  .addOption(
    new Option('--threads <list>', 'threads of llama.cpp on the CPU, with commas')
      .argParser(integers('--threads', { min: 1 }))
      .default([...new Set([1, availableParallelism()])], '1 and as many as cores'),
  )
  .option('--no-vulkan', "leave out llama.cpp's Vulkan backend")
  .addOption(new Option('--adapter <kind>', 'what runs the shaders').choices(adapterChoices))
  .option(
    '--peers-dir <folder>',
    'where the peers are, or are to be, installed',
    defaultPeersFolder(),
  )
  .option('--no-install', 'fail if the peers are not installed')
  .option('--cpu', 'ratios of CPU time: on a software GPU, what other programs do matters less')
  .option('--json [file]', 'print JSON instead of tables, or write it to a file besides them')
  .addHelpText('after', explanation)
  .parse();

try {
  await compare(program.opts<Flags>());
  process.exit(0);
} catch (error) {
  if (!(error instanceof Error)) throw error;
  const code = error instanceof MowgliError ? `${error.code}: ` : '';
  process.stderr.write(`${code}${error.message}\n`);
  process.exit(1);
}

async function compare(flags: Flags): Promise<void> {
  const { rounds, adapter } = flags;
  if (!flags.products && flags.model === undefined) {
    throw usageError('--no-products without --model leaves nothing to compare: give a model');
  }
  const loadBefore = loadavg()[0];
  const peers = resolve(flags.peersDir);
  await installPeers(peers, flags.install, say);
  const { driver } = await openDawn({ adapter, muteWarnings: true });
  const products = flags.products
    ? await compareProducts({ peers, rounds, driver, adapter, say })
    : undefined;
  const model =
    flags.model === undefined
      ? undefined
      : await compareModel({
          peers,
          rounds,
          driver,
          adapter,
          file: resolve(flags.model),
          promptTokens: flags.prompt,
          decodedTokens: flags.generate,
          threads: flags.threads,
          vulkan: flags.vulkan,
          say,
        });
  const report: Report = {
    date: new Date().toISOString().slice(0, 16),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    loadBefore,
    adapter: driver.description,
    peers: peerVersions(),
    ...(products && { products }),
    ...(model && { model }),
  };
  const json = `${JSON.stringify(report, undefined, 1)}\n`;
  if (typeof flags.json === 'string') await writeFile(flags.json, json);
  process.stdout.write(flags.json === true ? json : render(report, flags.cpu ? 'cpu' : 'wall'));
}

function render(report: Report, clock: Clock): string {
  const { date, cpu, cores, loadBefore, adapter, peers, products, model } = report;
  const parts = [
    `${date}, ${adapter}; ${cpu}, ${cores} cores, load before ${loadBefore.toFixed(1)}; ${peers}\n`,
  ];
  if (products) parts.push(productsTable(products, clock));
  if (model) {
    parts.push(`${model.file}\n`, modelTable(model, clock));
    for (const failure of model.failures) parts.push(`Not measured: ${failure}\n`);
  }
  return parts.join('\n');
}

function say(text: string): void {
  process.stderr.write(`compare: ${text}\n`);
}
