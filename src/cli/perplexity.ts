import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { MowgliError } from '../errors.ts';
import type { Model } from '../node.ts';
import {
  DistributionsReader,
  DistributionsWriter,
  firstScored,
  scoredPerWindow,
} from './distributions-file.ts';
import type { Interrupt } from './interrupt.ts';
import { divergence, logSumExp, RunningMean } from './next-token-loss.ts';
import { addModelOptions, type ModelFlags, openModel } from './open-model.ts';
import { integer, usageError } from './options.ts';
import { note, print, printJson } from './output.ts';
import { showProgress } from './progress.ts';
import { formatRate } from './units.ts';

interface Flags extends ModelFlags {
  tokens?: number;
  saveBase?: string;
  klBase?: string;
  json?: boolean;
}

/** What a model makes of a text. */
interface Result {
  model: string;
  /** Tokens that are evaluated together. */
  window: number;
  windows: number;
  /** Tokens whose probability counts. */
  scored: number;
  /** Mean negative log-likelihood of these, in nats. */
  nll: number;
  /** Standard error of that mean. */
  nllError: number;
  /** exp(nll). */
  perplexity: number;
  /** Of evaluation. */
  tokensPerSecond: number;
  /** Only with --kl-base. */
  kl?: Comparison;
}

/** Against the distributions of --kl-base. */
interface Comparison {
  /** Mean Kullback-Leibler divergence of the next token's distributions, in nats. */
  mean: number;
  error: number;
  median: number;
  /** 99 % of positions have less. */
  p99: number;
  largest: number;
  /** Share of positions with the same most likely token. */
  sameTop: number;
  /** Perplexity of the base on the same tokens. */
  basePerplexity: number;
}

/** Tokens of a window unless --context says otherwise, as in llama.cpp. */
const usualWindow = 512;

const help = `
The text is cut into windows of --context tokens (default 512), each evaluated by itself; a rest shorter
than a window is left out. The predictions in the second half of each window are scored, as llama.cpp's
llama-perplexity does.

To measure what another number format, or a setting such as --kv-type, costs, keep the distributions of
the better one with --save-base and compare with --kl-base, which also takes the text from that file.
Kept are 2 bytes for each token of the vocabulary at each scored position.

Examples:
  $ mowgli perplexity --model ~/models/Qwen3-Coder-30B-A3B-Instruct wiki.test.raw --tokens 20000
  $ mowgli perplexity --model model-bf16.gguf text.txt --save-base base.kl
  $ mowgli perplexity --model model-q4_k_m.gguf --kl-base base.kl --json`;

/** `mowgli perplexity`: how well a model predicts a text, and how far it is from another one. */
export function perplexityCommand({ signal }: Interrupt): Command {
  const command = new Command('perplexity')
    .description('measure how well the model predicts a text')
    .argument('[file]', 'the text, in UTF-8');
  return addModelOptions(command)
    .option('--tokens <n>', 'tokens of the text to take at most', integer('--tokens', { min: 2 }))
    .option('--save-base <file>', 'keep the distributions of the next token, to compare with')
    .option('--kl-base <file>', 'compare with the distributions kept there, on the same tokens')
    .option('--json', 'print one JSON object')
    .addHelpText('after', help)
    .action((file: string | undefined, flags: Flags) => perplexity(file, flags, signal));
}

async function perplexity(
  file: string | undefined,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  checkUsage(file, flags);
  const text = file === undefined ? undefined : await readText(file);
  const base =
    flags.klBase === undefined ? undefined : await DistributionsReader.open(flags.klBase);
  try {
    const window = base?.header.window ?? flags.context ?? usualWindow;
    const { model } = await openModel({ ...flags, context: window }, signal);
    try {
      const tokens = base?.header.tokens ?? tokensOf(model, text!, window, flags.tokens);
      const result = await score(model, tokens, window, { flags, base, signal });
      await (flags.json ? printJson(result) : print(report(result)));
    } finally {
      await model.dispose();
    }
  } finally {
    await base?.close();
  }
}

function checkUsage(file: string | undefined, flags: Flags): void {
  if (flags.klBase === undefined) {
    if (file === undefined) throw usageError('the text is missing: name a file');
    if (flags.context !== undefined && flags.context < 4) {
      throw usageError(`--context is ${flags.context}: a window has at least 4 tokens`);
    }
    return;
  }
  const both = [
    [file, 'a text'],
    [flags.context, '--context'],
    [flags.tokens, '--tokens'],
    [flags.saveBase, '--save-base'],
  ].find(([value]) => value !== undefined);
  if (both) {
    throw usageError(
      `${both[1]} and --kl-base exclude each other: the tokens are those of the base`,
    );
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new MowgliError(
      'FILE_NOT_FOUND',
      `${file} cannot be read (${(cause as Error).message}); check the path`,
      { cause },
    );
  }
}

/** The text's tokens, whole windows of them. */
function tokensOf(model: Model, text: string, window: number, most = Infinity): number[] {
  const all = model.tokenize(text);
  const taken = Math.min(all.length, most);
  if (taken < window) {
    throw usageError(
      `the text has ${taken} tokens, less than one window of ${window}: take a longer one, or a ` +
        `--context of ${Math.max(4, taken)}`,
    );
  }
  return all.slice(0, taken - (taken % window));
}

async function score(
  model: Model,
  tokens: readonly number[],
  window: number,
  options: { flags: Flags; base: DistributionsReader | undefined; signal: AbortSignal },
): Promise<Result> {
  const { flags, base, signal } = options;
  const { vocabSize: vocab } = model.config;
  if (base && base.header.vocab !== vocab) {
    throw usageError(
      `--kl-base was made with a vocabulary of ${base.header.vocab} tokens, and this model has ${vocab}`,
    );
  }
  const writer =
    flags.saveBase === undefined
      ? undefined
      : await DistributionsWriter.create(flags.saveBase, { vocab, window, tokens });
  const losses = new RunningMean();
  const baseLosses = new RunningMean();
  const divergences: number[] = [];
  let sameTop = 0;
  const progress = showProgress(flags.quiet);
  let ms = 0;
  try {
    for (let begin = 0; begin < tokens.length; begin += window) {
      const part = tokens.slice(begin, begin + window - 1);
      const visit = async (logits: Float32Array, index: number) => {
        const next = tokens[begin + index + 1]!;
        const norm = logSumExp(logits);
        losses.add(norm - logits[next]!);
        await writer?.add(logits, norm);
        if (!base) return;
        const kept = await base.next();
        const off = divergence(kept, logits, norm);
        divergences.push(off.kl);
        sameTop += Number(off.sameTop);
        baseLosses.add(kept.step * kept.levels[next]! - kept.top);
      };
      const start = performance.now();
      await model.eachLogits(part, visit, { from: firstScored(window), signal });
      ms += performance.now() - start;
      progress.update({ phase: 'text', done: begin + window, total: tokens.length });
    }
    await writer?.complete();
  } catch (error) {
    await writer?.abandon();
    throw error;
  } finally {
    progress.clear();
  }
  if (flags.saveBase !== undefined && !flags.quiet) note(`mowgli: kept in ${flags.saveBase}`);
  const windows = tokens.length / window;
  return {
    model: model.name,
    window,
    windows,
    scored: windows * scoredPerWindow(window),
    nll: losses.mean,
    nllError: losses.standardError,
    perplexity: Math.exp(losses.mean),
    tokensPerSecond: (windows * (window - 1)) / (ms / 1000),
    ...(base && { kl: summary(divergences, sameTop, baseLosses.mean) }),
  };
}

function summary(values: readonly number[], sameTop: number, baseNll: number): Comparison {
  const mean = new RunningMean();
  for (const value of values) mean.add(value);
  const sorted = values.toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  return {
    mean: mean.mean,
    error: mean.standardError,
    median: quantile(0.5),
    p99: quantile(0.99),
    largest: quantile(1),
    sameTop: sameTop / values.length,
    basePerplexity: Math.exp(baseNll),
  };
}

function report(result: Result): string {
  const { model, window, windows, scored, nll, nllError, perplexity: value, kl } = result;
  const lines = [
    `${model}: ${windows} windows of ${window} tokens, ${scored} scored, ${formatRate(result.tokensPerSecond)} tok/s`,
    `perplexity ${value.toFixed(4)} ± ${(value * nllError).toFixed(4)}   (nll ${nll.toFixed(5)} ± ${nllError.toFixed(5)})`,
  ];
  if (kl) {
    lines.push(
      `against the base: perplexity ${kl.basePerplexity.toFixed(4)}, ratio ${(value / kl.basePerplexity).toFixed(5)}`,
      `KL divergence ${kl.mean.toExponential(3)} ± ${kl.error.toExponential(1)}   median ${kl.median.toExponential(2)}, ` +
        `99 % ${kl.p99.toExponential(2)}, largest ${kl.largest.toExponential(2)}`,
      `same likeliest token ${(100 * kl.sameTop).toFixed(2)} %`,
    );
  }
  return `${lines.join('\n')}\n`;
}
