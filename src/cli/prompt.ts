import { addAbortSignal } from 'node:stream';
import type { Command } from 'commander';
import { isSynthetic } from '../node/find-model.ts';
import type { ChatMessage, Model, Prompt } from '../node.ts';
import { type AnswerFlags, givenAnswerFlags } from './answer-options.ts';
import { integer, integers, usageError } from './options.ts';
import { randomTokens } from './random-tokens.ts';

/** What to continue, besides the text of the argument. */
export interface PromptFlags {
  model?: string;
  promptTokens?: number[];
  randomPrompt?: number;
  seed?: number;
  system?: string;
  raw?: boolean;
}

/** Adds the options of {@link PromptFlags} to a command that has a seed and a model. */
export function addPromptOptions(command: Command): Command {
  return command
    .option('--system <text>', 'the system message that goes before the prompt')
    .option('--raw', 'continue the prompt as it is, without the chat template')
    .option(
      '--prompt-tokens <ids>',
      'token ids to continue instead of a text, with commas between them',
      integers('--prompt-tokens', { min: 0 }),
    )
    .option(
      '--random-prompt <n>',
      'continue n random token ids instead of a text; --seed gives others',
      integer('--random-prompt', { min: 1 }),
    );
}

/**
 * What the argument and the options ask to continue: read and checked as far as it goes before the model
 * is loaded, which may take minutes, and made of it afterwards: messages, unless the options say otherwise.
 */
export async function readPrompt(
  argument: string | undefined,
  flags: PromptFlags & AnswerFlags,
  signal: AbortSignal,
): Promise<(model: Model) => Prompt> {
  const { promptTokens, randomPrompt, raw, system } = flags;
  const forAnswers = givenAnswerFlags(flags);
  const own = Object.entries({
    '--prompt-tokens': promptTokens,
    '--random-prompt': randomPrompt,
    'the prompt': argument,
    '--system': system,
    '--raw': raw,
  }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const given = [...own, ...forAnswers];
  if (given.length > 1 && (promptTokens || randomPrompt)) {
    throw usageError(
      `${given[0]} is a whole prompt and leaves no place for ${given[1]}: leave one of them out`,
    );
  }
  if (promptTokens) return ({ config }) => ({ tokens: known(promptTokens, config.vocabSize) });
  if (randomPrompt) {
    return ({ config }) => {
      const random = randomTokens(config.vocabSize, config.eosTokenIds, flags.seed);
      return { tokens: random(randomPrompt) };
    };
  }
  if (raw && system !== undefined) {
    throw usageError('--system has no place in a --raw prompt: leave one of them out');
  }
  if (raw && forAnswers.length > 0) {
    throw usageError(
      `${forAnswers[0]} has no place in a --raw prompt, which is no conversation: leave one of them out`,
    );
  }
  const text = await readText(argument, raw, signal);
  if (isSynthetic(flags.model ?? '')) throw noTokenizer(flags.model!);
  return (model) => {
    if (!model.hasTokenizer) throw noTokenizer(model.name);
    return toPrompt(text, flags);
  };
}

function known(tokens: readonly number[], vocabSize: number): readonly number[] {
  const beyond = tokens.find((id) => id >= vocabSize);
  if (beyond === undefined) return tokens;
  throw usageError(`--prompt-tokens holds ${beyond}; this model's ids end at ${vocabSize - 1}`);
}

function noTokenizer(model: string): Error {
  return usageError(
    `${model} has no tokenizer to read a text with: give token ids with --prompt-tokens 1,2,3, or let --random-prompt 16 choose some`,
  );
}

async function readText(
  argument: string | undefined,
  raw: boolean | undefined,
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

function toPrompt(text: string, { raw, system }: PromptFlags): Prompt {
  if (raw) return text;
  const messages: ChatMessage[] = [];
  if (system !== undefined) messages.push({ role: 'system', content: system });
  messages.push({ role: 'user', content: text });
  return messages;
}
