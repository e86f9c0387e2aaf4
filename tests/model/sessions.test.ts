import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type ChatSession,
  loadModel,
  loadSession,
  type Model,
  type RespondEnd,
  saveSession,
} from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { tinyCoder } from './folders.ts';

const options = { context: 1024, kvType: 'f16' } as const;
const answers = { ...greedy, maxTokens: 40 };
const tools = [
  {
    type: 'function',
    function: {
      name: 'read_file',
      description: 'Read a file',
      parameters: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
    },
  },
];
const last = 'And now write a haiku about the sea, please.';

let folder: string;
let path: string;
let model: Model;
/** The conversation that was saved, and what it was answered next. */
let saved: ChatSession;
let expected: RespondEnd;

async function send(chat: ChatSession, text: string): Promise<RespondEnd> {
  for await (const part of chat.send(text)) if (part.type === 'end') return part;
  throw new Error('the answer has no end');
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-sessions-'));
  path = join(folder, 'chat.session');
  {
    await using first = await loadModel(tinyCoder, options);
    saved = first.chat({ ...answers, system: 'You are a poet. Grüße, 世界 🙂', tools });
    await send(saved, 'Hello!');
    await send(saved, 'Write a function that adds two numbers.');
    // Another one in between: what is saved comes from the host.
    await complete(first, 'def fibonacci(n):', { ...answers, reuse: true });
    await saveSession(saved, path);
    expected = await send(saved, last);
  }
  // Only one at a time has to fit the machine's memory.
  model = await loadModel(tinyCoder, { ...options, prefixCache: 0 });
});
afterAll(async () => {
  await model?.dispose();
  await rm(folder, { recursive: true, force: true });
});

test('another instance of the model goes on with the same tokens, and evaluates only what is new', async () => {
  const chat = await loadSession(model, path, answers);
  expect(chat.messages).toEqual(saved.messages.slice(0, -2));
  expect(chat.tools).toEqual(tools);
  const { text, tokens, usage } = await send(chat, last);
  expect(tokens).toEqual(expected.tokens);
  expect(text).toBe(expected.text);
  expect(usage.promptTokens).toBe(expected.usage.promptTokens);
  expect(usage.cachedTokens).toBe(expected.usage.cachedTokens);
  const news = model.tokenize(last).length;
  // Besides what was said: the end of the last answer, and what the template puts around it.
  expect(usage.promptTokens - usage.cachedTokens).toBeLessThan(news + 12);
  expect(usage.cachedTokens).toBeGreaterThan(100);
  expect(chat.messages).toHaveLength(saved.messages.length);
});

test('it is the same answer as without the keys and values', async () => {
  const [system, ...messages] = saved.messages.slice(0, -2);
  const chat = model.chat({ ...answers, tools, system: system.content ?? '', messages });
  const parts = chat.send(last, { reuse: false });
  for await (const part of parts) {
    if (part.type === 'end') expect(part.text).toBe(expected.text);
  }
});

test("the file is the owner's alone, and nothing else is left in the folder", async () => {
  expect(await readdir(folder)).toEqual(['chat.session']);
  if (process.platform !== 'win32') expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('saving that fails leaves the file as it was', async () => {
  const before = await readFile(path);
  const chat = await loadSession(model, path);
  const aborted = saveSession(chat, path, { signal: AbortSignal.abort() });
  await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
  const failing = {
    write: async (sink: (bytes: Uint8Array) => Promise<void>) => {
      await sink(new Uint8Array(100));
      throw new Error('half-way');
    },
  };
  await expect(saveSession(failing, path)).rejects.toThrow('half-way');
  expect(before.equals(await readFile(path))).toBe(true);
  expect(await readdir(folder)).toEqual(['chat.session']);
  const nowhere = saveSession(chat, join(folder, 'none', 'chat.session'));
  await expect(nowhere).rejects.toMatchObject({ code: 'WRITE_FAILED' });
  // Saved again over itself, it is the same.
  await saveSession(chat, path);
  expect(before.equals(await readFile(path))).toBe(true);
});

test('damaged files are refused, and the model goes on', async () => {
  const file = await readFile(path);
  const other = join(folder, 'damaged.session');
  const refusal = async (bytes: Uint8Array) => {
    await writeFile(other, bytes);
    const error = await loadSession(model, other).catch((thrown) => thrown);
    return error.code;
  };
  const middle = Math.floor(0.7 * file.length);
  expect(await refusal(file.subarray(0, middle))).toBe('FILE_TRUNCATED');
  expect(await refusal(file.subarray(0, 0))).toBe('FILE_TRUNCATED');
  const flipped = Uint8Array.from(file);
  flipped[middle] ^= 4; // Among the keys and values, when others are on the GPU.
  expect(await refusal(flipped)).toBe('FILE_INVALID');
  expect(await refusal(await readFile(join(tinyCoder, 'config.json')))).toBe('FILE_INVALID');
  await rm(other);
  await expect(loadSession(model, other)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  const { tokens } = await send(await loadSession(model, path, answers), last);
  expect(tokens).toEqual(expected.tokens);
});

test('a model with other keys and values, or too short a context, refuses it', async () => {
  {
    await using exact = await loadModel(tinyCoder, { context: 1024 });
    await expect(loadSession(exact, path)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('load the model with kvType f16'),
    });
  }
  await using short = await loadModel(tinyCoder, { ...options, context: 64 });
  await expect(loadSession(short, path)).rejects.toMatchObject({ code: 'CONTEXT_EXCEEDED' });
});
