import { closeSync, constants, openSync } from 'node:fs';
import { isatty } from 'node:tty';

const { O_WRONLY, O_NOCTTY } = constants;

/**
 * Runs `work` while what native code prints to a terminal's stderr goes nowhere.
 *
 * Dawn announces two harmless limits of lavapipe ("artificially reduced ...") with `fprintf(stderr)`
 * at every start, below anything that Node could intercept, and has no switch for it. Node has no
 * `dup2` either, so the descriptor is closed and its number taken again by the next `open`. That is
 * sound only while no other thread opens files; hence: `work` is synchronous, and only a command-line
 * program that has nothing else under way asks for it. A file or a pipe is left alone (reopening one
 * would lose the offset that it shares with stdout). `MOWGLI_DEBUG` shows everything.
 */
export function withNativeStderrMuted<T>(work: () => T): T {
  if (process.platform !== 'linux' || !isatty(2) || process.env.MOWGLI_DEBUG) return work();
  let terminal: number;
  try {
    terminal = openSync('/proc/self/fd/2', O_WRONLY | O_NOCTTY);
  } catch {
    return work(); // A terminal that we may not reopen (another user's, after `su`): leave it be.
  }
  closeSync(2);
  const sink = openSync('/dev/null', O_WRONLY);
  try {
    return work();
  } finally {
    closeSync(sink);
    openSync(`/proc/self/fd/${terminal}`, O_WRONLY | O_NOCTTY);
    closeSync(terminal);
  }
}
