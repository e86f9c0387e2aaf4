import { Command } from 'commander';
import type { Model } from '../node.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, type ModelFlags, openModel } from './open-model.ts';
import { integer, integers, usageError } from './options.ts';
import { print, printJson } from './output.ts';
import { randomTokens } from './random-tokens.ts';
import { markdownTable } from './table.ts';
import { formatBytes, formatRate } from './units.ts';

interface Flags extends ModelFlags {
  prompt: number[];
  generate: number[];
  repetitions: number;
  json?: boolean;
}

/** One row of the table. */
interface Result {
  /** `pp128`: a prompt of 128 tokens evaluated. `tg32`: 32 tokens generated, one after the other. */
  test: string;
  tokens: number;
  /** Of each repetition. */
  tokensPerSecond: number[];
  mean: number;
  /** Sample standard deviation; 0 for one repetition. */
  deviation: number;
}

const examples = `
Tests, named as in llama-bench: ppN evaluates a prompt of N random tokens at once, tgN generates N
tokens one after the other behind a prompt of one token. Each test runs once to warm up, then -r
times; loading is not counted. Numbers are tokens per second, mean ± sample standard deviation.

Examples:
  $ mowgli bench
  $ mowgli bench --model ~/models/Qwen3-Coder-30B-A3B-Instruct -p 128,512 -n 32 -r 5
  $ mowgli bench -p 0 -n 64 --json`;

/** `mowgli bench`: how fast the model is on this machine. */
export function benchCommand({ signal }: Interrupt): Command {
  const command = new Command('bench').description('measure tokens per second');
  return addModelOptions(command)
    .option(
      '-p, --prompt <tokens>',
      'prompt lengths to test, with commas; 0 = none',
      integers('-p', { min: 0 }),
      [128],
    )
    .option(
      '-n, --generate <tokens>',
      'generation lengths to test, with commas; 0 = none',
      integers('-n', { min: 0 }),
      [32],
    )
    .option('-r, --repetitions <n>', 'runs of each test', integer('-r', { min: 1 }), 3)
    .option('--json', 'print one JSON object instead of a table')
    .addHelpText('after', examples)
    .action((flags: Flags) => bench(flags, signal));
}

async function bench(flags: Flags, signal: AbortSignal): Promise<void> {
  const prompts = flags.prompt.filter((tokens) => tokens > 0);
  const generations = flags.generate.filter((tokens) => tokens > 0);
  if (prompts.length + generations.length === 0) {
    throw usageError(
      '-p 0 together with -n 0 leaves nothing to measure: give one of them a length',
    );
  }
  const { model, loadMs } = await openModel(flags, signal);
  try {
    const random = randomTokens(model.config.vocabSize, model.config.eosTokenIds);
    const results: Result[] = [];
    for (const tokens of prompts) {
      // A fresh prompt each time: one that was seen would be answered from the cache.
      const run = () => timed(() => model.logits(random(tokens), { signal }));
      results.push(await measure(`pp${tokens}`, tokens, flags.repetitions, run));
    }
    for (const tokens of generations) {
      const run = () => timed(() => generateExactly(model, random, tokens, signal));
      results.push(await measure(`tg${tokens}`, tokens, flags.repetitions, run));
    }
    if (flags.json) {
      const { name, adapter, context, chunk } = model;
      const memory = model.memory();
      await printJson({ model: name, adapter, context, chunk, loadMs, memory, results });
    } else {
      await print(table(model, results));
    }
  } finally {
    await model.dispose();
  }
}

/** Runs a test once to compile and to warm the caches, then measures it. `run` returns milliseconds. */
async function measure(
  test: string,
  tokens: number,
  repetitions: number,
  run: () => Promise<number>,
): Promise<Result> {
  await run();
  const tokensPerSecond: number[] = [];
  for (let i = 0; i < repetitions; i++) tokensPerSecond.push(tokens / ((await run()) / 1000));
  const mean = tokensPerSecond.reduce((sum, value) => sum + value, 0) / repetitions;
  const squares = tokensPerSecond.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = repetitions > 1 ? Math.sqrt(squares / (repetitions - 1)) : 0;
  return { test, tokens, tokensPerSecond, mean, deviation };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Generates `count` tokens greedily, each one a forward pass of a single token (the prompt's token
 * gives the first). Where the model ends its answer early, it starts over behind another token;
 * forbidding its end tokens instead would time the sampler's slow path.
 */
async function generateExactly(
  model: Model,
  random: (count: number) => number[],
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const greedy = { temperature: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 };
  for (let done = 0; done < count; ) {
    signal.throwIfAborted();
    const options = { ...greedy, maxTokens: count - done, signal, reuse: false };
    for await (const part of model.generate({ tokens: random(1) }, options)) {
      // The pass that gave the end token counts, though the token is not among the result.
      if (part.type === 'end') done += Math.max(1, part.tokens.length);
    }
  }
}

function table(model: Model, results: readonly Result[]): string {
  const { adapter, name } = model;
  const used = formatBytes(model.memory().gpuPeakBytes);
  return markdownTable(
    ['model', 'GPU memory', 'adapter', 'test', 't/s'],
    results.map(({ test, mean, deviation }) => {
      return [
        name,
        used,
        adapter.description,
        test,
        `${formatRate(mean)} ± ${formatRate(deviation)}`,
      ];
    }),
    ['left', 'right', 'left', 'right', 'right'],
  );
}
