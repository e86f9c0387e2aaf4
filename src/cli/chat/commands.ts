import { usageError } from '../options.ts';
import type { Entry } from './message-reader.ts';

/** What can be done besides talking: the argument, and what it does. */
const commands = {
  help: ['', 'list these commands'],
  system: ['[TEXT]', 'show the system message, or replace it; - takes it away'],
  save: ['FILE', 'save the conversation with its KV cache'],
  load: ['FILE', 'go on with a saved conversation'],
  reset: ['', 'forget everything but the system message'],
  undo: ['', 'take the last exchange back'],
  regenerate: ['', 'answer once more; also /retry'],
  stats: ['', 'tokens in the context, speed of the last answer, memory'],
  tools: ['', 'show the functions that the model may call'],
  set: ['[NAME VALUE]', 'show or set temperature, seed or max-tokens; default gives up a setting'],
  exit: ['', 'end the chat; also /quit, Ctrl-D, or Ctrl-C twice'],
} as const;

export type CommandName = keyof typeof commands;

const aliases: ReadonlyMap<string, CommandName> = new Map([
  ['retry', 'regenerate'],
  ['quit', 'exit'],
]);

/** What a user wants: to say something, or something to be done. */
export type Wish =
  | { readonly type: 'message'; readonly text: string }
  | { readonly type: 'command'; readonly name: CommandName; readonly argument: string };

/**
 * Tells commands (`/name argument`) from messages. `//text` is the message `/text`.
 * @throws MowgliError `OPTION_INVALID` for a command that there is not, or that was given too much or
 * too little
 */
export function toWish({ text, verbatim }: Entry): Wish {
  if (verbatim || !text.startsWith('/')) return { type: 'message', text };
  if (text.startsWith('//')) return { type: 'message', text: text.slice(1) };
  const [, word, rest] = /^\/(\S*)\s*(.*)$/s.exec(text)!;
  const name = Object.hasOwn(commands, word!) ? (word as CommandName) : aliases.get(word!);
  if (name === undefined) {
    throw usageError(
      `there is no command /${word}, and nothing was sent; /help lists the commands, and a second ` +
        'slash in front sends it as text',
    );
  }
  const argument = rest!.trim();
  const [wanted] = commands[name];
  if (wanted === '' && argument !== '') {
    throw usageError(`/${word} takes nothing after it; enter it without '${argument}'`);
  }
  if (wanted !== '' && !wanted.startsWith('[') && argument === '') {
    throw usageError(`/${word} needs a name after it: /${word} ${wanted}`);
  }
  return { type: 'command', name, argument };
}

/** The text of /help. */
export function helpText(): string {
  const lines = Object.entries(commands).map(([name, [argument, does]]) =>
    [`  /${name} ${argument}`.padEnd(22), does].join('  '),
  );
  return [
    'A message ends with the line. A \\ at the end of a line goes on in the next one; """ begins and',
    'ends a message of several lines; text pasted into a terminal is one message. //text sends /text.',
    'Ctrl-C stops an answer; what it said until then stays.',
    ...lines,
  ].join('\n');
}
