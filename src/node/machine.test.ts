import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { describeMachine, measureReadSpeed } from './machine.ts';

async function fileOf(bytes: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mowgli-machine-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'data');
  await writeFile(file, Buffer.alloc(bytes, 1));
  return file;
}

test('a machine has memory, part of it free, and at least one core', () => {
  const { cores, memory } = describeMachine();
  expect(cores).toBeGreaterThan(0);
  expect(memory.totalBytes).toBeGreaterThan(2 ** 28);
  expect(memory.availableBytes).toBeGreaterThan(0);
  expect(memory.availableBytes).toBeLessThanOrEqual(memory.totalBytes);
});

test('reads to the end of a file, or as far as it is told', async () => {
  const bytes = 9 * 2 ** 20 + 123;
  const file = await fileOf(bytes);
  const whole = await measureReadSpeed(file);
  expect(whole.bytes).toBe(bytes);
  expect(whole.bytesPerSecond).toBeCloseTo(bytes / (whole.ms / 1000), 3);
  expect((await measureReadSpeed(file, { maxBytes: 1000 })).bytes).toBe(1000);
});

test.runIf(process.platform === 'linux')('what was just written is in the page cache', async () => {
  expect((await measureReadSpeed(await fileOf(2 ** 20))).from).toMatch(/^(page cache|unknown)$/);
});

test('can be aborted', async () => {
  const reading = measureReadSpeed(await fileOf(2 ** 20), { signal: AbortSignal.abort() });
  await expect(reading).rejects.toThrow(/abort/i);
});
