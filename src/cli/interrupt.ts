import { MowgliError } from '../errors.ts';
import { exitCodes } from './exit.ts';

/** Turns Ctrl-C into an `AbortSignal`, so that what there is so far is kept. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** The exit status to end with once a signal came; `undefined` before. */
  readonly exitCode: number | undefined;
  /** Lets Ctrl-C stop something smaller than the program. SIGTERM still ends the program. */
  redirect(): Redirection;
  /** Makes the first signal the command's regular end: the exit status is then the command's own. */
  expect(): void;
}

/** Until it is disposed of, Ctrl-C fires its signal, and not the program's. */
export interface Redirection extends Disposable {
  /** Fires when the program's does, too. */
  readonly signal: AbortSignal;
}

/** Listens for SIGINT, SIGTERM and SIGHUP. The first one asks for a clean stop, the second ends the process. */
export function listenForInterrupt(): Interrupt {
  const controller = new AbortController();
  let exitCode: number | undefined;
  let expected = false;
  let smaller: AbortController | undefined;
  const listen = (name: NodeJS.Signals, code: number) => {
    process.on(name, () => {
      const reason = new Error(`interrupted by ${name}`);
      smaller?.abort(reason);
      if (name === 'SIGINT' && smaller) return;
      if (exitCode !== undefined) process.exit(code);
      exitCode = code;
      controller.abort(reason);
    });
  };
  listen('SIGINT', exitCodes.interrupted);
  listen('SIGTERM', exitCodes.terminated);
  listen('SIGHUP', exitCodes.hungUp); // The terminal was closed.
  return {
    signal: controller.signal,
    get exitCode() {
      return expected ? undefined : exitCode;
    },
    expect() {
      expected = true;
    },
    redirect() {
      const own = new AbortController();
      smaller = own;
      if (controller.signal.aborted) own.abort(controller.signal.reason);
      return {
        signal: own.signal,
        [Symbol.dispose]() {
          smaller = undefined;
        },
      };
    },
  };
}

/** Whether an error is how an operation ended because a signal had fired, and says nothing more. */
export function isInterruption(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  if (error instanceof MowgliError) return error.code === 'ABORTED';
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}
