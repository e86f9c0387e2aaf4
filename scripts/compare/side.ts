/**
 * A side of the comparison is a process of its own: its threads and its CPU time are nobody else's,
 * and its crash does not end the comparison.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a side can be asked for. Arguments and results are what the structured clone algorithm takes. */
// biome-ignore lint/suspicious/noExplicitAny: any methods there may be
type Methods = Record<string, (...args: any[]) => Promise<unknown>>;

interface Request {
  readonly method: string;
  readonly args: readonly unknown[];
}

type Answer = { readonly value: unknown } | { readonly error: string };

/** In the side's process: answers requests, one after the other. */
export function serve(methods: Methods): void {
  process.on('message', async ({ method, args }: Request) => {
    let answer: Answer;
    try {
      answer = { value: await methods[method](...args) };
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.send!(answer);
  });
  process.on('disconnect', () => process.exit(0));
}

/** In the comparing process: a side's handle. One request at a time. */
export class Side<M extends Methods> {
  readonly #name: string;
  readonly #process: ChildProcess;
  /** The end of what it wrote to stderr, for the error message of a crash. */
  #complaints = '';

  /** @param file the module, beside this one, that calls `serve` with methods `M` */
  constructor(name: string, file: string, env: NodeJS.ProcessEnv = {}) {
    this.#name = name;
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)), [], {
      env: { ...process.env, ...env },
      serialization: 'advanced', // typed arrays as they are
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      if (process.env.MOWGLI_DEBUG) process.stderr.write(text);
      this.#complaints = (this.#complaints + text).slice(-2000);
    });
  }

  /** @throws Error when the method does, or when the process ends before it answers */
  call<K extends keyof M & string>(
    method: K,
    ...args: Parameters<M[K]>
  ): Promise<Awaited<ReturnType<M[K]>>> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#process.off('message', onAnswer).off('exit', onExit);
      };
      const onAnswer = (answer: Answer) => {
        settle();
        if ('error' in answer) reject(new Error(`${this.#name}: ${answer.error}`));
        else resolve(answer.value as Awaited<ReturnType<M[K]>>);
      };
      const onExit = (code: number | null, signal: string | null) => {
        settle();
        const why = this.#complaints.trim();
        reject(new Error(`${this.#name} ended (${signal ?? code})${why && `:\n${why}`}`));
      };
      this.#process.on('message', onAnswer).on('exit', onExit);
      this.#process.send({ method, args } satisfies Request, (error) => {
        if (!error) return;
        settle();
        reject(new Error(`${this.#name}: ${error.message}`));
      });
    });
  }

  /** Ends the process, and waits for that: an open driver would take time from the next side. */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    await new Promise((resolve) => {
      this.#process.once('exit', resolve);
      this.#process.kill('SIGKILL'); // nothing in it is worth the time of an orderly end
    });
  }
}
