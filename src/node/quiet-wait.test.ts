import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { quietWait } from './quiet-wait.ts';

test('settles as the promise does', async () => {
  expect(await quietWait(Promise.resolve(7))).toBe(7);
  expect(await quietWait(sleep(20, 'late'))).toBe('late');
  const error = new Error('no');
  await expect(quietWait(Promise.reject(error))).rejects.toBe(error);
  await expect(quietWait(sleep(20).then(() => Promise.reject(error)))).rejects.toBe(error);
});

test('leaves the CPU to others while it waits', async () => {
  const before = process.cpuUsage();
  const start = performance.now();
  await quietWait(sleep(400));
  const { user, system } = process.cpuUsage(before);
  const busyMs = (user + system) / 1000;
  // Polling without naps takes all of it.
  expect(busyMs).toBeLessThan(0.6 * (performance.now() - start));
});

test('several waits at a time do not lose each other', async () => {
  const values = await Promise.all([30, 10, 20].map((ms) => quietWait(sleep(ms, ms))));
  expect(values).toEqual([30, 10, 20]);
});
