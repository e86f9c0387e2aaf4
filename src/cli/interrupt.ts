import { exitCodes } from './exit.ts';

/** Turns Ctrl-C into an `AbortSignal`, so that what there is so far is kept. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** The exit status to end with once a signal came; `undefined` before. */
  readonly exitCode: number | undefined;
  /**
   * Lets Ctrl-C stop something smaller than the program, until the function that this returns is
   * called. SIGTERM still ends the program.
   */
  redirect(stop: () => void): () => void;
  /** Makes the first signal the command's regular end: the exit status is then the command's own. */
  expect(): void;
}

/** Listens for SIGINT and SIGTERM. The first one asks for a clean stop, the second ends the process. */
export function listenForInterrupt(): Interrupt {
  const controller = new AbortController();
  let exitCode: number | undefined;
  let expected = false;
  let stopSmaller: (() => void) | undefined;
  const listen = (name: NodeJS.Signals, code: number) => {
    process.on(name, () => {
      if (name === 'SIGINT' && stopSmaller) return stopSmaller();
      if (exitCode !== undefined) process.exit(code);
      exitCode = code;
      controller.abort(new Error(`interrupted by ${name}`));
    });
  };
  listen('SIGINT', exitCodes.interrupted);
  listen('SIGTERM', exitCodes.terminated);
  return {
    signal: controller.signal,
    get exitCode() {
      return expected ? undefined : exitCode;
    },
    expect() {
      expected = true;
    },
    redirect(stop) {
      stopSmaller = stop;
      return () => {
        stopSmaller = undefined;
      };
    },
  };
}
