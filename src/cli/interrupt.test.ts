import { afterEach, expect, test, vi } from 'vitest';
import { MowgliError } from '../errors.ts';
import { isInterruption, listenForInterrupt } from './interrupt.ts';

afterEach(() => vi.restoreAllMocks());

/** What would have a process end at signals, without the signals. */
function listen() {
  const handlers = new Map<unknown, () => void>();
  vi.spyOn(process, 'on').mockImplementation((name, handler) => {
    handlers.set(name, handler as () => void);
    return process;
  });
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  const interrupt = listenForInterrupt();
  return { interrupt, exit, send: (name: NodeJS.Signals) => handlers.get(name)!() };
}

test('the first signal asks for a clean stop, the second one ends the process', () => {
  const { interrupt, exit, send } = listen();
  expect(interrupt.exitCode).toBeUndefined();
  send('SIGINT');
  expect(interrupt.signal.aborted).toBe(true);
  expect(interrupt.exitCode).toBe(130);
  expect(exit).not.toHaveBeenCalled();
  send('SIGTERM');
  expect(exit).toHaveBeenCalledWith(143);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('%s asks for a clean stop, and leads to %i', (name, code) => {
  const { interrupt, send } = listen();
  send(name);
  expect(interrupt.signal.aborted).toBe(true);
  expect(interrupt.exitCode).toBe(code);
});

test('what a signal stopped has nothing to explain, another error has', () => {
  const { interrupt, send } = listen();
  const { signal } = interrupt;
  const aborted = new MowgliError('ABORTED', 'loading was aborted');
  expect(isInterruption(aborted, signal)).toBe(false);
  send('SIGTERM');
  expect(isInterruption(aborted, signal)).toBe(true);
  expect(isInterruption(new DOMException('no more', 'AbortError'), signal)).toBe(true);
  expect(isInterruption(signal.reason, signal)).toBe(true);
  expect(isInterruption(new Error('the disk is full'), signal)).toBe(false);
  expect(isInterruption(new MowgliError('DEVICE_LOST', 'lost'), signal)).toBe(false);
});

test('Ctrl-C stops something smaller for as long as that is wanted', () => {
  const { interrupt, send } = listen();
  {
    using smaller = interrupt.redirect();
    send('SIGINT');
    expect(smaller.signal.aborted).toBe(true);
  }
  expect(interrupt.signal.aborted).toBe(false);
  using again = interrupt.redirect();
  expect(again.signal.aborted).toBe(false);
  send('SIGTERM');
  expect(again.signal.aborted).toBe(true);
  expect(interrupt.signal.aborted).toBe(true);
  expect(interrupt.redirect().signal.aborted).toBe(true);
});
