import { basename, join } from 'node:path';
import { Command } from 'commander';
import { isSynthetic } from '../node/find-model.ts';
import { cacheFolder } from '../node/tuning-store.ts';
import { helpText, toWish, type Wish } from './chat/commands.ts';
import { Conversation } from './chat/conversation.ts';
import { History } from './chat/history.ts';
import type { LineSource } from './chat/line-source.ts';
import { type Entry, MessageReader } from './chat/message-reader.ts';
import { PipedLines } from './chat/piped-lines.ts';
import { changeSetting, describeSettings } from './chat/settings.ts';
import { TerminalLines } from './chat/terminal-lines.ts';
import { explain } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, addPrefixCacheOption, type ModelFlags, openModel } from './open-model.ts';
import { usageError } from './options.ts';
import { note } from './output.ts';
import { addSamplingOptions, type SamplingFlags, toSampling } from './sampling.ts';
import { readTools } from './tools.ts';

interface Flags extends ModelFlags, SamplingFlags {
  system?: string;
  tools?: string;
  /** `--no-history` makes it false. */
  history: boolean;
}

const examples = `
In the chat:
${helpText()}

Sampling options that are not given come from the model's generation_config.json.
Lines typed are remembered from chat to chat, in chat-history in the cache folder (MOWGLI_CACHE_DIR, or
the system's); only its owner can read the file, and --no-history leaves it alone.

With --tools, calls are printed as lines of JSON, {"name": ..., "arguments": {...}}, and what is entered
next is the result of the first one, and so on. Calls are not run.

When stdin is no terminal, its lines are messages and commands, only answers go to stdout, and the first
error ends the chat.

Examples:
  $ mowgli chat
  $ mowgli chat --model ~/models/Qwen3-Coder-30B-A3B-Instruct --context 16384 --system "Be brief."
  $ mowgli chat --greedy --tools tools.json
  $ printf '%s\\n' "Hello!" "What is WebGPU?" /stats | mowgli chat --greedy

Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C before the chat or without a terminal.`;

/** `mowgli chat`: a conversation. */
export function chatCommand(interrupt: Interrupt): Command {
  const command = new Command('chat')
    .description('talk with a model')
    .option('--system <text>', 'the system message that the conversation begins with')
    .option(
      '--tools <file>',
      "functions that the model may call, as a JSON list in OpenAI's form; you enter their results",
    )
    .option('--no-history', 'neither read nor keep lines typed');
  return addSamplingOptions(addPrefixCacheOption(addModelOptions(command)))
    .addHelpText('after', examples)
    .action((flags: Flags) => chat(flags, interrupt));
}

async function chat(flags: Flags, interrupt: Interrupt): Promise<void> {
  const settings = toSampling(flags);
  const tools = flags.tools === undefined ? [] : await readTools(flags.tools);
  if (isSynthetic(flags.model ?? '')) {
    throw usageError(
      `${flags.model} has no tokenizer, and cannot talk; name a model that was trained`,
    );
  }
  const { signal } = interrupt;
  const { model } = await openModel(flags, signal);
  try {
    const { system } = flags;
    const session = model.chat({ tools, ...(system !== undefined && { system }) });
    using lines = await openLines(flags, signal);
    const quiet = flags.quiet ?? false;
    if (lines.interactive && !quiet) {
      const name = basename(model.name);
      note(`${name}, with a context of ${model.context} tokens. /help lists the commands.`);
    }
    const conversation = new Conversation(model, session, settings, quiet);
    await converse(lines, conversation, interrupt, () => model.failure !== undefined);
  } finally {
    await model.dispose();
  }
}

/** Goes on until the user ends it, or until the model `failed`. */
async function converse(
  lines: LineSource,
  conversation: Conversation,
  interrupt: Interrupt,
  failed: () => boolean,
): Promise<void> {
  const { signal } = interrupt;
  const reader = new MessageReader();
  for (;;) {
    const entry = await readEntry(lines, reader, conversation);
    if (!entry) return;
    lines.rest();
    const { unanswered: before } = conversation;
    using stop = lines.interactive ? interrupt.redirect() : undefined;
    try {
      if (!(await fulfil(toWish(entry), conversation, stop?.signal ?? signal))) return;
    } catch (error) {
      // Without anybody to correct it, what follows would be said in another conversation than meant.
      if (!stop || signal.aborted || failed()) throw error;
      note(stop.signal.aborted ? '(stopped)' : `mowgli: ${explain(error).message}`);
      const { unanswered } = conversation;
      if (unanswered && unanswered !== before) {
        note('(the message is not part of the conversation; /regenerate sends it again)');
      }
    }
  }
}

async function openLines({ history }: Flags, signal: AbortSignal): Promise<LineSource> {
  const { stdin, stdout, stderr } = process;
  if (!stdin.isTTY || !(stdout.isTTY || stderr.isTTY)) return new PipedLines(signal);
  const file = join(cacheFolder(), 'chat-history');
  return new TerminalLines(history ? await History.open(file) : undefined, signal);
}

/** Reads what is next, as many lines as it has; `undefined` at the end of the chat. */
async function readEntry(
  lines: LineSource,
  reader: MessageReader,
  { awaited }: Conversation,
): Promise<Entry | undefined> {
  const prompt = awaited ? `result of ${awaited.function.name}> ` : '> ';
  let warned = false;
  for (;;) {
    const line = await lines.next(reader.unfinished ? '... ' : prompt);
    if (line === undefined) return lines.interactive ? undefined : endOf(reader);
    if ('interrupted' in line) {
      const dropped = line.dropped || reader.unfinished;
      reader.clear();
      if (warned && !dropped) return undefined;
      warned = !dropped;
      if (warned) note('(Ctrl-C once more, Ctrl-D or /exit ends the chat)');
      continue;
    }
    warned = false;
    const entry = reader.push(line);
    // A call may well have an empty result, if it is entered as an empty block.
    if (entry && (entry.text.trim() !== '' || (awaited && entry.verbatim))) return entry;
  }
}

function endOf(reader: MessageReader): Entry | undefined {
  if (reader.unfinished === 'block') {
    throw usageError('the input ends in a block; close it with """');
  }
  return reader.end();
}

/** Says or does it, and returns whether to go on. */
async function fulfil(
  wish: Wish,
  conversation: Conversation,
  signal: AbortSignal,
): Promise<boolean> {
  if (wish.type === 'message') {
    await conversation.say(wish.text, signal);
    return true;
  }
  const { name, argument } = wish;
  switch (name) {
    case 'help':
      note(helpText());
      break;
    case 'system':
      conversation.system(argument);
      break;
    case 'save':
      await conversation.save(argument, signal);
      break;
    case 'load':
      await conversation.load(argument, signal);
      break;
    case 'reset':
      conversation.reset();
      break;
    case 'undo':
      conversation.undo();
      break;
    case 'regenerate':
      await conversation.regenerate(signal);
      break;
    case 'stats':
      note(conversation.statistics());
      break;
    case 'tools':
      note(describeTools(conversation));
      break;
    case 'set':
      if (argument !== '') conversation.settings = changeSetting(conversation.settings, argument);
      else note(describeSettings(conversation.settings));
      break;
    case 'exit':
      return false;
  }
  return true;
}

function describeTools({ tools }: Conversation): string {
  if (tools.length === 0) return 'there are none; begin with --tools FILE to offer some';
  return JSON.stringify(tools, null, 2);
}
