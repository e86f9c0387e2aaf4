import { addAbortSignal } from 'node:stream';
import { Command } from 'commander';
import type { ChatMessage, GenerateOptions, GeneratePart, Prompt } from '../node.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, type ModelFlags, type OpenedModel, openModel } from './open-model.ts';
import { biases, integer, number, texts, usageError } from './options.ts';
import { note, print, printJson } from './output.ts';
import { type ProgressDisplay, showProgress } from './progress.ts';
import { formatBytes, formatDuration, formatRate } from './units.ts';

interface Flags extends ModelFlags {
  maxTokens?: number;
  greedy?: boolean;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: Map<number, number>;
  seed?: number;
  stop?: string[];
  system?: string;
  raw?: boolean;
  json?: boolean;
}

type EndPart = Extract<GeneratePart, { type: 'end' }>;

const examples = `
Sampling options that are not given come from the model's generation_config.json.

Examples:
  $ mowgli generate "Write a Python function that checks if a number is prime."
  $ mowgli generate --model ~/models/Qwen3-Coder-30B-A3B-Instruct --max-tokens 500 "Explain this regex: ^a+$"
  $ git diff | mowgli generate --system "Review this change." -
  $ mowgli generate --raw --greedy --max-tokens 40 "def fibonacci(n):"
  $ mowgli generate --json --seed 1 "Hello!" | jq .timings

Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (what was generated is kept).`;

/** `mowgli generate`: continues a prompt, and streams the answer to stdout. */
export function generateCommand({ signal }: Interrupt): Command {
  const command = new Command('generate')
    .description('answer a prompt; the answer is streamed to stdout')
    .argument('[prompt]', "the prompt; '-' reads it from stdin");
  return addModelOptions(command)
    .option(
      '-n, --max-tokens <n>',
      'tokens to generate at most (default: until the context is full)',
      integer('--max-tokens', { min: 1 }),
    )
    .option('--greedy', 'the likeliest token each time: --temperature 0 --repetition-penalty 1')
    .option(
      '--temperature <t>',
      'above 1 more varied, below 1 more predictable, 0 greedy',
      number('--temperature', { min: 0 }),
    )
    .option('--top-k <k>', 'keep the k likeliest tokens; 0 = all', integer('--top-k', { min: 0 }))
    .option(
      '--top-p <p>',
      'keep the likeliest tokens that reach this probability together',
      number('--top-p', { min: 0, above: true, max: 1 }),
    )
    .option(
      '--min-p <p>',
      "drop tokens less likely than p times the likeliest's probability",
      number('--min-p', { min: 0, max: 1 }),
    )
    .option(
      '--repetition-penalty <r>',
      'above 1 makes tokens that occurred less likely',
      number('--repetition-penalty', { min: 0, above: true }),
    )
    .option(
      '--presence-penalty <x>',
      'subtracted from the logit of each token generated before',
      number('--presence-penalty'),
    )
    .option(
      '--frequency-penalty <x>',
      'the same, once per time it was generated',
      number('--frequency-penalty'),
    )
    .option(
      '--logit-bias <id=value>',
      'added to the logit of a token id; -inf forbids it; may be repeated',
      biases('--logit-bias'),
    )
    .option('--seed <n>', 'same seed, same answer', integer('--seed', { min: 0 }))
    .option('--stop <text>', 'end before this text; may be repeated', texts('--stop'))
    .option('--system <text>', 'the system message that goes before the prompt')
    .option('--raw', 'continue the prompt as it is, without the chat template')
    .option('--json', 'print one JSON object when done, instead of streaming')
    .addHelpText('after', examples)
    .action((prompt: string | undefined, flags: Flags) => generate(prompt, flags, signal));
}

async function generate(
  argument: string | undefined,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  if (flags.raw && flags.system !== undefined) {
    throw usageError('--system has no place in a --raw prompt: leave one of them out');
  }
  if (flags.greedy && flags.temperature) {
    throw usageError('--greedy and --temperature contradict each other: leave one of them out');
  }
  const prompt = toPrompt(await readPrompt(argument, flags, signal), flags);
  const opened = await openModel(flags, signal);
  const { model } = opened;
  try {
    const progress = showProgress(flags.quiet);
    const onProgress = ({ done, total }: { done: number; total: number }) =>
      progress.update({ phase: 'prompt', done, total });
    const parts = model.generate(prompt, { ...toOptions(flags), onProgress, signal });
    const end = await stream(parts, flags, progress, signal);
    if (flags.json) await printJson(toJson(end, opened));
    else if (!end.text.endsWith('\n')) await print('\n');
    if (!flags.quiet && process.stderr.isTTY) note(statistics(end, opened));
  } finally {
    await model.dispose();
  }
}

/** Prints the text as it comes, and returns how it ended; after Ctrl-C, with what there was until then. */
async function stream(
  parts: AsyncIterable<GeneratePart>,
  { json }: Flags,
  progress: ProgressDisplay,
  signal: AbortSignal,
): Promise<EndPart> {
  let end: EndPart | undefined;
  try {
    for await (const part of parts) {
      progress.clear();
      if (part.type === 'end') end = part;
      else if (!json) await print(part.text);
    }
  } catch (error) {
    if (!signal.aborted || !end) throw error; // Else it only says that it was aborted.
  } finally {
    progress.clear();
  }
  if (!end) throw new Error('the generation ended without saying why');
  return end;
}

async function readPrompt(
  argument: string | undefined,
  { raw }: Flags,
  signal: AbortSignal,
): Promise<string> {
  if (argument === undefined) {
    throw usageError("the prompt is missing: give it as an argument, or '-' to read it from stdin");
  }
  let text = argument;
  if (argument === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Buffer);
    text = Buffer.concat(chunks).toString('utf8');
    // `echo question |` means no newline at its end; code to be continued may well mean its own.
    if (!raw) text = text.replace(/\r?\n$/, '');
  }
  if (text === '') throw usageError('the prompt is empty: give at least one character');
  return text;
}

function toPrompt(text: string, { raw, system }: Flags): Prompt {
  if (raw) return text;
  const messages: ChatMessage[] = [];
  if (system !== undefined) messages.push({ role: 'system', content: system });
  messages.push({ role: 'user', content: text });
  return messages;
}

/** Absent options stay absent: the model's own defaults apply to them. */
function toOptions(flags: Flags): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, presencePenalty, frequencyPenalty } = flags;
  const { repetitionPenalty, logitBias, seed, stop, greedy } = flags;
  return {
    ...(greedy && { temperature: 0, repetitionPenalty: 1 }),
    ...defined({ maxTokens, temperature, topK, topP, minP, repetitionPenalty }),
    ...defined({ presencePenalty, frequencyPenalty, logitBias, seed, stop }),
  };
}

function defined<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}

function toJson(end: EndPart, { model, loadMs }: OpenedModel) {
  const { promptTokens, ...timings } = end.usage;
  return {
    text: end.text,
    tokens: end.tokens,
    promptTokens,
    finishReason: end.finishReason,
    timings: { loadMs, ...timings },
    adapter: model.adapter,
    memory: model.memory(),
  };
}

function statistics({ usage, finishReason }: EndPart, { model, loadMs }: OpenedModel): string {
  const { gpuBytes, gpuPeakBytes } = model.memory();
  return [
    `prompt ${usage.promptTokens} tokens in ${formatDuration(usage.promptMs)} (${formatRate(usage.promptTokensPerSecond)}/s)`,
    `answer ${usage.completionTokens} tokens in ${formatDuration(usage.completionMs)} (${formatRate(usage.completionTokensPerSecond)}/s), ${finishReason}`,
    `loaded in ${formatDuration(loadMs)}, GPU memory ${formatBytes(gpuBytes)}, at most ${formatBytes(gpuPeakBytes)}`,
  ].join('\n');
}
