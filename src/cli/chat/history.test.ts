import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { History, historySize } from './history.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-history-'));
  file = join(folder, 'below', 'history');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

test('keeps lines from run to run, the newest first, without blank and repeated ones', async () => {
  const first = await History.open(file);
  expect(first.lines).toEqual([]);
  for (const line of ['a', 'b', 'b', ' ', 'a']) first.add(line);
  const second = await History.open(file);
  expect(second.lines).toEqual(['a', 'b', 'a']);
  second.add('a');
  second.add('c');
  expect((await History.open(file)).lines).toEqual(['c', 'a', 'b', 'a']);
});

test('only its owner can read it, even if that was otherwise before', async () => {
  const mode = async () => (await stat(file)).mode & 0o777;
  (await History.open(file)).add('a');
  expect(await mode()).toBe(0o600);
  await rm(file);
  await writeFile(file, 'a\n', { mode: 0o644 });
  await History.open(file);
  expect(await mode()).toBe(0o600);
});

test('is cut to its newest lines when it is opened', async () => {
  const history = await History.open(file);
  for (let i = 0; i < historySize + 5; i++) history.add(`line ${i}`);
  const { lines } = await History.open(file);
  expect(lines).toHaveLength(historySize);
  expect(lines[0]).toBe(`line ${historySize + 4}`);
  expect(lines.at(-1)).toBe('line 5');
  expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(historySize + 1);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test('a place that cannot be used is told of once, and does no harm', async () => {
  const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const history = await History.open(join('/dev/null', 'history'));
  history.add('a');
  history.add('b');
  expect(history.lines).toEqual([]);
  expect(told).toHaveBeenCalledTimes(1);
  expect(told.mock.calls[0]![0]).toMatch(/^mowgli: lines typed are not kept: .*--no-history/);
});
