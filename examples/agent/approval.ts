import { createInterface } from 'node:readline/promises';
import { ToolError } from './sandbox.ts';
import type { PlannedWrite } from './tools.ts';
import { printable } from './transcript.ts';

/** Lines of a file to show before it is written. */
const previewLines = 30;

/**
 * Asks the user before a file is written; `always` is for the rest of the run. Where nobody can be asked,
 * files are written only with `yes`.
 */
export function askBeforeWriting(
  yes: boolean,
): (write: PlannedWrite, signal: AbortSignal) => Promise<void> {
  let always = yes;
  return async (write, signal) => {
    if (always) return;
    if (!process.stdin.isTTY || !process.stderr.isTTY) {
      throw new ToolError('writing was not allowed: there is nobody to ask');
    }
    process.stderr.write(describe(write));
    const answer = await ask('Write it? [y]es, [n]o, [a]lways: ', signal);
    if (/^a(lways)?$/i.test(answer)) always = true;
    else if (!/^y(es)?$/i.test(answer))
      throw new ToolError('the user does not want this to be written');
  };
}

async function ask(question: string, signal: AbortSignal): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new AbortController();
  terminal.on('close', () => closed.abort()); // Ctrl-D, which is no answer.
  // While it is asked, Ctrl-C comes as a key.
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  try {
    const either = AbortSignal.any([signal, closed.signal]);
    return (await terminal.question(question, { signal: either })).trim();
  } catch (error) {
    if (signal.aborted) throw error;
    process.stderr.write('\n');
    return '';
  } finally {
    terminal.close();
  }
}

function describe({ path, content, replacedBytes }: PlannedWrite): string {
  const what = replacedBytes === undefined ? 'a new file' : `in place of ${replacedBytes} bytes`;
  const lines = content.split('\n');
  const shown = lines.slice(0, previewLines).map((line) => `  | ${line}\n`);
  const rest =
    lines.length > previewLines ? [`  (${lines.length - previewLines} more lines)\n`] : [];
  return printable([`${path}, ${what}:\n`, ...shown, ...rest].join(''));
}
