import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';

/** Starts the compiled program; see compile-sources.ts. */
export const launcher = join(inject('packageFolder'), 'bin', 'mowgli.js');

/** Starts the program from its sources. */
export const sourceLauncher = fileURLToPath(new URL('../bin/mowgli.js', import.meta.url));

export interface CliResult {
  code: number | null;
  stdout: string;
  /** Without what Dawn's native code prints by itself. */
  stderr: string;
}

export interface CliOptions {
  /** Text for stdin; closed at once when absent. */
  input?: string;
  cwd?: string;
  env?: Record<string, string>;
  /** Another copy of the launcher. */
  launcher?: string;
  /** Sees stdout as it grows, to act while the program runs. */
  onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void;
  /** Interrupts it, as Ctrl-C does, after so many milliseconds. */
  killAfterMs?: number;
}

/** Runs `mowgli` as a process of its own, with no terminal. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [options.launcher ?? launcher, ...args], {
      cwd: options.cwd,
      env: { ...process.env, NO_COLOR: '1', ...options.env },
      timeout: 100_000, // Less than a test has: one that hangs must not outlive it.
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      options.onOutput?.(stdout, (signal) => child.kill(signal));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    if (options.killAfterMs !== undefined) {
      const timer = setTimeout(() => child.kill('SIGINT'), options.killAfterMs);
      child.on('close', () => clearTimeout(timer));
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr: withoutDawnsWarnings(stderr) }));
    child.stdin.on('error', () => {}); // It may exit without reading.
    child.stdin.end(options.input ?? '');
  });
}

/** "Warning: ..." and its indented second line, printed below Node; see src/node/native-stderr.ts. */
function withoutDawnsWarnings(stderr: string): string {
  return stderr.replace(/^Warning: .*\n(?: {4}at .*\n\n?)?/gm, '');
}
