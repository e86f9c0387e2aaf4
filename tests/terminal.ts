import { spawn, spawnSync } from 'node:child_process';

const { stdout: version } = spawnSync('script', ['--version'], { encoding: 'utf8' });

/** Whether there is a `script` that runs programs in terminals; that of other systems takes other arguments. */
export const hasTerminals = version?.includes('util-linux') ?? false;

/** A program of Node that runs in a terminal of its own. */
export class Terminal {
  readonly exit: Promise<number | null>;
  readonly #child;
  #output = '';
  #notify = () => {};

  /** @param args As `node` takes them, without quotes in them. */
  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const words = [process.execPath, ...args].map((word) => `'${word}'`);
    // `exec`: a shell that stays, as Debian's does, gets each Ctrl-C as well, and ends with 130 for it.
    const command = `exec ${words.join(' ')}`;
    this.#child = spawn('script', ['-qefc', command, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '1', ...env },
      timeout: 100_000, // Less than a test has: one that hangs must not outlive it.
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#notify();
    });
    this.exit = new Promise((resolve) => this.#child.on('close', resolve));
  }

  readonly type = (keys: string): void => {
    this.#child.stdin.write(keys);
  };

  /** Waits for output that was not waited for before. */
  readonly sees = async (pattern: RegExp): Promise<void> => {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match) {
        this.#output = this.#output.slice(match.index + match[0].length);
        return;
      }
      const more = new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
      const ended = await Promise.race([more, this.exit.then(() => true)]);
      if (ended) throw new Error(`it ended before ${pattern}, after:\n${this.#output}`);
    }
  };
}
