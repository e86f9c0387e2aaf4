import { CommanderError } from 'commander';
import { MowgliError } from '../errors.ts';
import { withFlags } from './flag-names.ts';

/** What the program's exit status means. 128 + n: ended by signal n, as shells have it. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const;

/** The exit status that an error leads to, and the line that tells of it (none for `--help`). */
export function explain(error: unknown): { code: number; message: string | undefined } {
  if (error instanceof CommanderError) {
    // Commander has printed these itself: the help, the version, or the help for want of a command.
    if (/^commander\.(help|helpDisplayed|version)$/.test(error.code)) {
      return { code: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage, message: undefined };
    }
    return { code: exitCodes.usage, message: oneLine(error.message.replace(/^error: /, '')) };
  }
  if (error instanceof MowgliError && error.code === 'OPTION_INVALID') {
    return { code: exitCodes.usage, message: oneLine(withFlags(error.message)) };
  }
  const message = error instanceof Error ? error.message || error.name : String(error);
  return { code: exitCodes.failed, message: oneLine(message) };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
