/** Many clients at once, some of which leave: nobody notices the others, and nothing stays behind. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { type ChatMessage, loadModel, type Model } from '../../src/node.ts';
import { eventsOf, post, type Reply } from './raw-client.ts';
import { answerOf, type Serving, serve, TokenCount, tinyCoder, tools, until } from './serving.ts';

let model: Model;
let serving: Serving;

beforeAll(async () => {
  // A prefix cache so small that what one request leaves there is evicted by others.
  model = await loadModel(tinyCoder, { context: 1024, chunk: 128, prefixCache: 2 ** 20 });
  serving = await serve(model, { maxQueue: 64 });
});
afterAll(async () => {
  await serving?.[Symbol.asyncDispose]();
  await model?.dispose();
});

interface Asked {
  readonly messages: readonly ChatMessage[];
  readonly tools?: typeof tools;
  readonly max_tokens: number;
  readonly temperature: 0;
}

const system = { role: 'system', content: 'You are a helpful assistant.' } as const;
const source = `def load(path):\n    with open(path) as file:\n        return file.read()\n`;
const conversations: readonly Pick<Asked, 'messages' | 'tools'>[] = [
  { messages: [{ role: 'user', content: 'Hello!' }] },
  { messages: [{ role: 'user', content: 'What is WebGPU?' }] },
  { messages: [system, { role: 'user', content: 'What is WebGPU?' }] },
  {
    messages: [
      system,
      { role: 'user', content: 'Hello!' },
      { role: 'assistant', content: 'Hello! What would you like to do?' },
      { role: 'user', content: 'Write a Python function that checks if a number is prime.' },
    ],
  },
  { messages: [{ role: 'user', content: 'Read src/app.py' }], tools },
  { messages: [{ role: 'user', content: 'List the files in src' }], tools },
  { messages: [{ role: 'user', content: `Explain this:\n${source.repeat(3)}` }] },
];

function randomRequest(random: Random, lengths: readonly number[], among = conversations): Asked {
  const conversation = among[random.below(among.length)]!;
  return { ...conversation, max_tokens: lengths[random.below(lengths.length)]!, temperature: 0 };
}

/** The same, streamed, with no end in sight: the end tokens are forbidden. */
function goesOn(request: Asked) {
  const logit_bias = { 4084: -100, 4086: -100 };
  return { ...request, logit_bias, max_tokens: 600, stream: true };
}

interface Said {
  readonly content: string;
  readonly calls: readonly { name: string; arguments: string }[];
  readonly finish: string;
}

/** What the model says to it alone, the whole prompt evaluated anew. */
async function alone({ messages, tools = [], max_tokens }: Asked): Promise<Said> {
  const end = await answerOf(model, messages, { tools, maxTokens: max_tokens, reuse: false });
  return {
    content: end.message.content ?? '',
    calls: (end.message.tool_calls ?? []).map((call) => call.function),
    finish: end.finishReason.replace('-', '_'),
  };
}

function saidIn({ text }: Reply, streamed: boolean): Said {
  if (!streamed) {
    const [{ message, finish_reason: finish }] = JSON.parse(text).choices;
    const calls = (message.tool_calls ?? []).map((call: { function: object }) => call.function);
    return { content: message.content ?? '', calls, finish };
  }
  const events = eventsOf(text);
  expect(events.at(-1)).toBe('[DONE]');
  const choices = events.slice(0, -1).map((event) => JSON.parse(event).choices[0]);
  const calls: { name: string; arguments: string }[] = [];
  for (const { index, function: piece } of choices.flatMap(({ delta }) => delta.tool_calls ?? [])) {
    calls[index] ??= { name: piece.name, arguments: '' };
    calls[index].arguments += piece.arguments ?? '';
  }
  const content = choices.map(({ delta }) => delta.content ?? '').join('');
  return { content, calls, finish: choices.at(-1).finish_reason };
}

test('32 clients, of whom a third leave half-way: the others hear what they would hear alone', async () => {
  const random = new Random('32 clients');
  const asked = Array.from({ length: 32 }, () => randomRequest(random, [2, 5, 16]));
  const expected = new Map<string, Said>();
  for (const [i, request] of asked.entries()) {
    const key = JSON.stringify(request);
    if (i % 3 !== 0 && !expected.has(key)) expected.set(key, await alone(request));
  }
  const gpuBytes = model.memory().gpuBytes;

  const replies = await Promise.all(
    asked.map((request, i) => {
      const leaves = i % 3 === 0;
      const stream = leaves || i % 2 === 0;
      if (!leaves) return post(serving.port, { ...request, stream });
      return post(serving.port, goesOn(request), { leaveAfterEvents: 1 + random.below(4) });
    }),
  );

  for (const [i, request] of asked.entries()) {
    const reply = replies[i];
    if (i % 3 === 0) {
      expect(reply, 'one that left').toBeUndefined();
      continue;
    }
    expect(reply?.status).toBe(200);
    const key = JSON.stringify(request);
    expect(saidIn(reply!, i % 2 === 0), key).toEqual(expected.get(key));
  }
  expect(model.memory().gpuBytes).toBe(gpuBytes);
});

test('300 requests leave nothing behind', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const random = new Random('300 requests');
  using count = new TokenCount(model);
  const load = async (requests: number) => {
    for (let done = 0; done < requests; done += 30) {
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => {
          const stream = random.below(2) === 0;
          const among = i === 0 ? conversations : conversations.slice(0, 3);
          const body = { ...randomRequest(random, [1, 2], among), stream };
          if (i % 3 !== 0) return post(serving.port, body);
          return post(serving.port, goesOn(body), { leaveAfterEvents: 1 });
        }),
      );
    }
    await until('all have ended', () => count.running === 0);
    collect();
    collect();
    return { gpuBytes: model.memory().gpuBytes, ...process.memoryUsage() };
  };
  const before = await load(30); // What is allocated once is there then.
  const after = await load(300);
  expect(after.gpuBytes).toBe(before.gpuBytes);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(4 * 2 ** 20);
  expect(after.rss - before.rss).toBeLessThan(48 * 2 ** 20);
  const { server } = serving.app;
  const connections = () =>
    new Promise<number>((resolve) => server.getConnections((_, n) => resolve(n)));
  await until('no connection is open', async () => (await connections()) === 0);
});

describe('the queue', () => {
  const short: Asked = { ...conversations[0]!, max_tokens: 1, temperature: 0 };
  /** Each key is a client's. */
  const apiKey = ['first', 'many', 'one'];

  /** Keeps the model busy as a client of its own, until it is told to leave. */
  async function occupy(port: number) {
    using count = new TokenCount(model);
    const leaving = new AbortController();
    const left = post(port, goesOn(short), { apiKey: 'first', signal: leaving.signal });
    await until('it is answered', () => count.tokens > 0);
    return async () => {
      leaving.abort();
      expect(await left).toBeUndefined();
    };
  }

  test('has a limit; past it one is told to come back', async () => {
    await using narrow = await serve(model, { apiKey, maxQueue: 4, maxQueuePerClient: 4 });
    const leave = await occupy(narrow.port);
    const status = new Map<number, number>();
    const waiting = Array.from({ length: 12 }, async () => {
      const reply = await post(narrow.port, short, { apiKey: 'many' });
      status.set(reply!.status, (status.get(reply!.status) ?? 0) + 1);
      return reply!;
    });
    await until('those past the limit are refused', () => status.get(429) === 8);
    await leave();
    for (const { status, headers, text } of await Promise.all(waiting)) {
      if (status === 200) continue;
      expect(status).toBe(429);
      expect(Number(headers['retry-after'])).toBeGreaterThan(0);
      expect(JSON.parse(text).error).toMatchObject({ type: 'rate_limit_error' });
    }
    expect(status).toEqual(
      new Map([
        [429, 8],
        [200, 4],
      ]),
    );
    expect((await post(narrow.port, short, { apiKey: 'many' }))?.status).toBe(200);
  });

  test('lets clients take turns: one does not wait behind twenty of another', async () => {
    await using fair = await serve(model, { apiKey });
    const leave = await occupy(fair.port);
    const order: string[] = [];
    const ask = async (key: string) => {
      const reply = await post(fair.port, short, { apiKey: key });
      expect(reply?.status).toBe(200);
      order.push(key);
    };
    const many = Array.from({ length: 20 }, () => ask('many'));
    await until('they wait', async () => (await depth(fair)) === 20);
    const one = ask('one');
    await until('it waits, too', async () => (await depth(fair)) === 21);
    await leave();
    await Promise.all([...many, one]);
    expect(order.indexOf('one')).toBeLessThanOrEqual(2);
  });

  test('who leaves it is not answered', async () => {
    await using left = await serve(model, { apiKey });
    const leave = await occupy(left.port);
    using count = new TokenCount(model);
    const leaving = new AbortController();
    const waiting = Array.from({ length: 5 }, () =>
      post(left.port, short, { apiKey: 'many', signal: leaving.signal }),
    );
    await until('they wait', async () => (await depth(left)) === 5);
    leaving.abort();
    await Promise.all(waiting);
    await until('the queue is empty', async () => (await depth(left)) === 0);
    await leave();
    expect((await post(left.port, short, { apiKey: 'one' }))?.status).toBe(200);
    expect(count.tokens, 'of the last one only').toBe(1);
  });

  /** How many wait, as the server's own figures have it. */
  async function depth({ url }: Serving): Promise<number> {
    const headers = { authorization: 'Bearer first' };
    const text = await (await fetch(`${url}/metrics`, { headers })).text();
    return Number(/^mowgli_queue_depth (\d+)$/m.exec(text)?.[1]);
  }
});
