import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { eitherSignal } from './either-signal.ts';

test.each([0, 1])('fires when signal %i does, with its reason, and once', (which) => {
  const controllers = [new AbortController(), new AbortController()];
  const [one, other] = controllers.map(({ signal }) => signal);
  const { signal } = eitherSignal(one, other!);
  let fired = 0;
  signal.addEventListener('abort', () => fired++);
  expect(signal.aborted).toBe(false);
  controllers[which]!.abort('first');
  controllers[1 - which]!.abort('second');
  expect(signal.reason).toBe('first');
  expect(fired).toBe(1);
});

test.each([0, 1])('has fired where signal %i has', (which) => {
  const signals = [new AbortController().signal, new AbortController().signal];
  signals[which] = AbortSignal.abort('before');
  expect(eitherSignal(signals[0], signals[1]!).signal.reason).toBe('before');
});

test('leaves nothing on its signals once it is released', () => {
  const controllers = [new AbortController(), new AbortController()];
  const [one, other] = controllers.map(({ signal }) => signal);
  const listeners = () => [one, other].map((signal) => getEventListeners(signal!, 'abort').length);
  const { signal, release } = eitherSignal(one, other!);
  expect(listeners()).toEqual([1, 1]);
  release();
  expect(listeners()).toEqual([0, 0]);
  controllers[0]!.abort();
  expect(signal.aborted).toBe(false);
});

test('is the second one where there is no first', () => {
  const { signal } = new AbortController();
  expect(eitherSignal(undefined, signal).signal).toBe(signal);
  expect(eitherSignal(signal, signal).signal).toBe(signal);
});
