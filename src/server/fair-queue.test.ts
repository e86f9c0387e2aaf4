import { describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { FairQueue, QueueFullError, type Visitor } from './fair-queue.ts';

const never = new AbortController().signal;
const many = { total: 1000, perClient: 1000 };
const visitor = (client: string, user = ''): Visitor => ({ client, user });
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A queue whose visitors say when they are in, and leave at once. */
async function orderOf(visitors: readonly Visitor[]): Promise<string[]> {
  const queue = new FairQueue(many);
  const order: string[] = [];
  const leave = await queue.enter(visitor('first'), never);
  const turns = visitors.map(async (who, i) => {
    const end = await queue.enter(who, never);
    order.push(`${who.client}${who.user}${i}`);
    end();
  });
  leave();
  await Promise.all(turns);
  return order;
}

describe('turns', () => {
  test('one client: in the order of asking', async () => {
    const a = visitor('a');
    expect(await orderOf([a, a, a])).toEqual(['a0', 'a1', 'a2']);
  });

  test('a client with many requests does not come before others have had one', async () => {
    const [a, b, c] = ['a', 'b', 'c'].map((client) => visitor(client));
    expect(await orderOf([a, a, a, a, b, b, c])).toEqual([
      'a0',
      'b4',
      'c6',
      'a1',
      'b5',
      'a2',
      'a3',
    ]);
  });

  test('users share the turns of their client', async () => {
    const [x, y, other] = [visitor('a', 'x'), visitor('a', 'y'), visitor('b')];
    expect(await orderOf([x, x, x, y, other, other])).toEqual([
      ...['ax0', 'b4', 'ay3', 'b5', 'ax1', 'ax2'],
    ]);
  });

  test('whoever comes during a turn of another client is next', async () => {
    const queue = new FairQueue(many);
    const order: string[] = [];
    const turn = async (client: string) => {
      const end = await queue.enter(visitor(client), never);
      order.push(client);
      return end;
    };
    const end = await turn('a');
    const more = [turn('a'), turn('a')];
    const late = turn('b');
    end();
    (await late)();
    for (const next of more) (await next)();
    expect(order).toEqual(['a', 'b', 'a', 'a']);
  });
});

test('one at a time, in turns, and nobody is forgotten: random visits', async () => {
  const random = new Random('fair queue');
  const queue = new FairQueue(many);
  /** Numbers of those who wait, by client and user. */
  const waiting = new Map<string, number[]>();
  const waits = (client: string) =>
    [...waiting].some(([who, numbers]) => who.startsWith(client) && numbers.length > 0);
  /** By client: others who waited when its last turn ended, and have had none since. */
  const owed = new Map<string, Set<string>>();
  const settle = (client: string) => {
    for (const others of owed.values()) others.delete(client);
  };
  let inside = 0;
  let done = 0;
  let left = 0;

  const visit = async (number: number) => {
    const who = visitor(`c${random.below(5)}`, `u${random.below(2)}`);
    const own = waiting.get(who.client + who.user) ?? [];
    waiting.set(who.client + who.user, [...own, number]);
    const out = () => {
      const rest = waiting.get(who.client + who.user)!.filter((other) => other !== number);
      waiting.set(who.client + who.user, rest);
      return rest;
    };
    const leaving = new AbortController();
    if (random.below(4) === 0) setTimeout(() => leaving.abort(), random.below(20));
    let end: () => void;
    try {
      end = await queue.enter(who, leaving.signal);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ABORTED' });
      out();
      if (!waits(who.client)) settle(who.client);
      left++;
      return;
    }
    expect(++inside).toBe(1);
    expect(Math.min(number, ...out())).toBe(number);
    expect([...(owed.get(who.client) ?? [])]).toEqual([]);
    settle(who.client);
    await settled();
    inside--;
    done++;
    const others = ['c0', 'c1', 'c2', 'c3', 'c4'].filter((c) => c !== who.client && waits(c));
    owed.set(who.client, new Set(others));
    end();
    end(); // Twice is once.
  };

  const visits: Promise<void>[] = [];
  for (let number = 0; number < 400; number++) {
    visits.push(visit(number));
    if (random.below(3) === 0) await settled();
  }
  await Promise.all(visits);
  expect(done + left).toBe(400);
  expect(left).toBeGreaterThan(10);
  expect({ size: queue.size, busy: queue.busy }).toEqual({ size: 0, busy: false });
});

describe('leaving', () => {
  test('makes room at once, and the others move up', async () => {
    const queue = new FairQueue({ total: 2, perClient: 2 });
    const end = await queue.enter(visitor('a'), never);
    const leaving = new AbortController();
    const impatient = queue.enter(visitor('b'), leaving.signal);
    const patient = queue.enter(visitor('b'), never);
    await expect(queue.enter(visitor('c'), never)).rejects.toThrow(QueueFullError);
    leaving.abort();
    expect(queue.size).toBe(1);
    await expect(impatient).rejects.toMatchObject({ code: 'ABORTED' });
    const late = queue.enter(visitor('c'), never);
    end();
    (await patient)();
    (await late)();
  });

  test('before entering', async () => {
    const queue = new FairQueue(many);
    await expect(queue.enter(visitor('a'), AbortSignal.abort())).rejects.toThrow('left the queue');
    expect(queue.busy).toBe(false);
  });

  test('leaves no listener at the signal', async () => {
    const queue = new FairQueue(many);
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const [add, remove] = [signal.addEventListener, signal.removeEventListener];
    signal.addEventListener = (...args: unknown[]) => {
      listeners++;
      Reflect.apply(add, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners--;
      Reflect.apply(remove, signal, args);
    };
    const end = await queue.enter(visitor('a'), signal);
    const waiting = queue.enter(visitor('a'), signal);
    expect(listeners).toBe(1);
    end();
    (await waiting)();
    expect(listeners).toBe(0);
  });
});

describe('the limit', () => {
  test('of all, and of one client, and when to come again', async () => {
    const queue = new FairQueue({ total: 3, perClient: 2 });
    const end = await queue.enter(visitor('a'), never);
    const waiting = [
      queue.enter(visitor('a', 'x'), never),
      queue.enter(visitor('a', 'y'), never),
      queue.enter(visitor('b'), never),
    ];
    const full = (await queue.enter(visitor('c'), never).catch((e) => e)) as QueueFullError;
    expect(full).toBeInstanceOf(QueueFullError);
    expect(full.message).toMatch(/queue full \(3 requests wait\)/);
    expect(full.retryAfter).toBeGreaterThanOrEqual(1);
    expect(full.retryAfter).toBeLessThanOrEqual(120);
    end();
    await Promise.all(waiting.map(async (next) => (await next)()));
  });

  test('one client cannot fill the queue, whatever users it names', async () => {
    const queue = new FairQueue({ total: 4, perClient: 3 });
    const end = await queue.enter(visitor('a'), never);
    const waiting = ['x', 'y', 'z'].map((user) => queue.enter(visitor('a', user), never));
    await expect(queue.enter(visitor('a', 'w'), never)).rejects.toThrow(/3 of your requests wait/);
    waiting.push(queue.enter(visitor('b'), never));
    end();
    // Those of `a` and the one of `b` come in turns.
    await Promise.all(waiting.map(async (next) => (await next)()));
  });

  test('zero: nobody waits', async () => {
    const queue = new FairQueue({ total: 0, perClient: 0 });
    const end = await queue.enter(visitor('a'), never);
    await expect(queue.enter(visitor('b'), never)).rejects.toThrow(QueueFullError);
    end();
    (await queue.enter(visitor('b'), never))();
  });
});
