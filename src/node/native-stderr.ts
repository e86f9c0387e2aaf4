import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';

const { O_APPEND, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;

/**
 * Runs `work` while what native code prints to stderr goes nowhere.
 *
 * Dawn announces two harmless limits of lavapipe ("artificially reduced ...") with `fprintf(stderr)`
 * at every start, below anything that Node could intercept, and has no switch for it. Node has no
 * `dup2` either, so the descriptor is closed and its number taken again by the next `open`. That is
 * sound only while no other thread opens files; hence: `work` is synchronous, and only a command-line
 * program that has nothing else under way asks for it. `MOWGLI_DEBUG` shows everything.
 *
 * What cannot be opened again is left alone: a socket, and a file that is not appended to, whose offset
 * is shared with other writers.
 */
export function withNativeStderrMuted<T>(work: () => T): T {
  if (process.platform !== 'linux' || process.env.MOWGLI_DEBUG) return work();
  let flags: number;
  let kept: number;
  try {
    flags = flagsOfStderr();
    if (!hasNoOffset(flags)) return work();
    kept = openSync('/proc/self/fd/2', flags);
  } catch {
    return work(); // One that we may not open (another user's terminal, after `su`): leave it be.
  }
  closeSync(2);
  const sink = openSync('/dev/null', O_WRONLY);
  try {
    return work();
  } finally {
    closeSync(sink);
    openSync(`/proc/self/fd/${kept}`, flags);
    closeSync(kept);
  }
}

/** How stderr was opened, as far as it matters to who writes there. */
function flagsOfStderr(): number {
  const [, octal] = /^flags:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/2', 'utf8')) ?? [];
  return O_WRONLY | O_NOCTTY | (Number.parseInt(octal!, 8) & (O_APPEND | O_NONBLOCK));
}

/** Whether writes go to the end, wherever others have written to. */
function hasNoOffset(flags: number): boolean {
  return isatty(2) || fstatSync(2).isFIFO() || (flags & O_APPEND) !== 0;
}
