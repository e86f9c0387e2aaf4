import { writeFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { Command } from 'commander';
import { MowgliError } from '../errors.ts';
import type { Model } from '../node.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, type ModelFlags, openModel } from './open-model.ts';
import { integer, integers, usageError } from './options.ts';
import { printJson } from './output.ts';

interface Flags extends ModelFlags {
  tokens: number[];
  top: number;
  every?: boolean;
  dump?: string;
  generate: number;
}

/** The likeliest tokens to follow one position of the input, best first. */
interface Position {
  position: number;
  ids: number[];
  logits: number[];
}

const examples = `
For comparisons with another engine on the same token ids. Prints one JSON object:
  positions   per position: its index, the ids with the highest logits, and these logits
  generated   with --generate: the ids of the greedy continuation (end tokens do not stop it)

Examples:
  $ mowgli logits --tokens 343,655,65 --top 5
  $ mowgli logits --tokens 343,655,65 --every --dump logits.f32
  $ mowgli logits --tokens 343,655,65 --generate 48`;

/** `mowgli logits`: what the model makes of given token ids, before any sampling. */
export function logitsCommand({ signal }: Interrupt): Command {
  const command = new Command('logits')
    .description('print the logits that follow given token ids, as JSON')
    .requiredOption(
      '--tokens <ids>',
      'the input: token ids, with commas between them',
      integers('--tokens', { min: 0 }),
    );
  return addModelOptions(command)
    .option('--top <n>', 'how many ids to print per position', integer('--top', { min: 0 }), 20)
    .option('--every', 'print each position, not only the last')
    .option(
      '--dump <file>',
      'write the whole logits: little-endian float32, row-major [positions, vocabulary]',
    )
    .option('--generate <n>', 'continue greedily by n tokens', integer('--generate', { min: 0 }), 0)
    .addHelpText('after', examples)
    .action((flags: Flags) => logits(flags, signal));
}

async function logits(flags: Flags, signal: AbortSignal): Promise<void> {
  const { model } = await openModel(flags, signal);
  try {
    const { vocabSize } = model.config;
    const beyond = flags.tokens.find((id) => id >= vocabSize);
    if (beyond !== undefined) {
      throw usageError(`--tokens holds ${beyond}; this model's ids end at ${vocabSize - 1}`);
    }
    const every = flags.every ?? false;
    const rows = await model.logits(flags.tokens, { every, signal });
    const first = every ? 0 : flags.tokens.length - 1;
    const positions = Array.from({ length: rows.length / vocabSize }, (_, row) => {
      const logits = rows.subarray(row * vocabSize, (row + 1) * vocabSize);
      return likeliest(logits, first + row, flags.top);
    });
    if (flags.dump !== undefined) await dump(flags.dump, rows);
    const generated =
      flags.generate > 0
        ? await continueGreedily(model, flags.tokens, flags.generate, signal)
        : undefined;
    await printJson({ positions, ...(generated && { generated }) });
  } finally {
    await model.dispose();
  }
}

/** The `count` highest logits. Of equal ones the lower id goes first, as everywhere. */
function likeliest(logits: Float32Array, position: number, count: number): Position {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (ids.length === count && !(logit > logits[ids.at(-1) ?? id]!)) continue;
    let rank = ids.length;
    while (rank > 0 && logits[ids[rank - 1]!]! < logit) rank--;
    ids.splice(rank, 0, id);
    if (ids.length > count) ids.pop();
  }
  return { position, ids, logits: ids.map((id) => logits[id]!) };
}

/**
 * The likeliest token, again and again. An end token, at which `generate` stops and which it leaves
 * out, is put in from the logits, and the continuation goes on behind it: as an oracle does that
 * knows of no end tokens.
 */
async function continueGreedily(
  model: Model,
  prompt: readonly number[],
  count: number,
  signal: AbortSignal,
): Promise<number[]> {
  const greedy = { temperature: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 };
  const generated: number[] = [];
  while (generated.length < count) {
    signal.throwIfAborted();
    const tokens = [...prompt, ...generated];
    const maxTokens = count - generated.length;
    for await (const part of model.generate({ tokens }, { ...greedy, maxTokens, signal })) {
      if (part.type === 'end') generated.push(...part.tokens);
    }
    if (generated.length < count) {
      const last = await model.logits([...prompt, ...generated], { signal });
      generated.push(likeliest(last, 0, 1).ids[0]!);
    }
  }
  return generated;
}

async function dump(file: string, logits: Float32Array): Promise<void> {
  const bytes = Buffer.from(logits.buffer, logits.byteOffset, logits.byteLength);
  const littleEndian = endianness() === 'LE' ? bytes : Buffer.from(bytes).swap32();
  try {
    await writeFile(file, littleEndian);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MowgliError('OPTION_INVALID', `--dump: ${reason}; name a file that can be written`, {
      cause,
    });
  }
}
