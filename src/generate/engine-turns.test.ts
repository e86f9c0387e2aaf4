import { getEventListeners } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import { EngineTurns } from './engine-turns.ts';

afterEach(() => vi.restoreAllMocks());

test('one at a time, in the order of asking', async () => {
  const turns = new EngineTurns('small');
  const seen: string[] = [];
  const work = (name: string) => async () => {
    seen.push(`${name} begins`);
    await new Promise(setImmediate);
    seen.push(`${name} ends`);
  };
  await Promise.all(['a', 'b'].map((name) => turns.take(undefined, work(name))));
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

test('disposal fires the signals of all turns, and refuses everybody', async () => {
  const turns = new EngineTurns('small');
  const { signal } = new AbortController();
  const first = await turns.begin(signal);
  const waiting = turns.begin(signal);
  const refusal = { code: 'DISPOSED', message: expect.stringContaining('small was disposed of') };
  expect(turns.refusal).toBeUndefined();
  turns.dispose();
  expect(first.signal.aborted).toBe(true);
  await expect(waiting).rejects.toMatchObject(refusal);
  first.end();
  await expect(turns.take(undefined, async () => {})).rejects.toMatchObject(refusal);
  expect(turns.refusal).toMatchObject(refusal);
});

test('what fails because of the disposal says so', async () => {
  const turns = new EngineTurns('small');
  const work = turns.take(undefined, async () => {
    turns.dispose();
    throw new Error('some consequence');
  });
  await expect(work).rejects.toMatchObject({ code: 'DISPOSED' });
});

test('turns leave nothing on the signals of callers and model', async () => {
  const heard = listenersHeard();
  const turns = new EngineTurns('small');
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) {
    await turns.take(signal, async () => {});
    await turns.take(signal, () => Promise.reject(new Error('fails'))).catch(() => {});
    const turn = await turns.begin(signal);
    const giveUp = new AbortController();
    const waiting = turns.begin(giveUp.signal);
    giveUp.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    turn.end();
  }
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect(heard.size).toBeGreaterThan(20);
  expect([...heard.values()].flatMap((listeners) => [...listeners])).toEqual([]);
});

/** From now on, who listens to which signal of the process: the model's own cannot be asked. */
function listenersHeard(): ReadonlyMap<EventTarget, ReadonlySet<unknown>> {
  const heard = new Map<EventTarget, Set<unknown>>();
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  vi.spyOn(EventTarget.prototype, 'addEventListener').mockImplementation(function (
    this: EventTarget,
    ...args
  ) {
    heard.set(this, (heard.get(this) ?? new Set()).add(args[1]));
    return addEventListener.apply(this, args);
  });
  vi.spyOn(EventTarget.prototype, 'removeEventListener').mockImplementation(function (
    this: EventTarget,
    ...args
  ) {
    heard.get(this)?.delete(args[1]);
    return removeEventListener.apply(this, args);
  });
  return heard;
}
