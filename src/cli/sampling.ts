import type { Command } from 'commander';
import type { SamplingOptions, StopOptions } from '../node.ts';
import { biases, integer, number, texts, usageError } from './options.ts';

/** How tokens are chosen, and where an answer ends. */
export interface SamplingFlags {
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
}

/** Adds the options of {@link SamplingFlags} to a command. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option(
      '-n, --max-tokens <n>',
      'tokens to generate at most (default: until the context is full)',
      maxTokens('--max-tokens'),
    )
    .option('--greedy', 'the likeliest token each time: --temperature 0 --repetition-penalty 1')
    .option(
      '--temperature <t>',
      'above 1 more varied, below 1 more predictable, 0 greedy',
      temperature('--temperature'),
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
    .option('--seed <n>', 'same seed, same answer', seed('--seed'))
    .option('--stop <text>', 'end before this text; may be repeated', texts('--stop'));
}

export const maxTokens = (name: string) => integer(name, { min: 1 });
export const temperature = (name: string) => number(name, { min: 0 });
export const seed = (name: string) => integer(name, { min: 0 });

/**
 * The options of a generation. Absent ones stay absent: the model's own defaults apply to them.
 * @throws MowgliError `OPTION_INVALID` for flags that contradict each other
 */
export function toSampling(flags: SamplingFlags): SamplingOptions & StopOptions {
  const { greedy, maxTokens, temperature, topK, topP, minP, repetitionPenalty } = flags;
  const { presencePenalty, frequencyPenalty, logitBias, seed, stop } = flags;
  if (greedy && temperature) {
    throw usageError('--greedy and --temperature contradict each other: leave one of them out');
  }
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
