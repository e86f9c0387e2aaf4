/** The official client, as people use it: what it gets is what the model says. */
import { Ajv } from 'ajv';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import type { RunnableToolFunctionWithParse } from 'openai/lib/RunnableFunction';
import type {
  ChatCompletionChunk,
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
} from 'openai/resources';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  type ChatMessage,
  type GeneratedLogprob,
  loadModel,
  type Model,
  type RespondEnd,
} from '../../src/node.ts';
import qwenCode from './qwen-code.json' with { type: 'json' };
import { answerOf, type Serving, serve, TokenCount, tinyCoder, tools, until } from './serving.ts';

let model: Model;
let serving: Serving;
let client: OpenAI;
/** What the server calls the model. */
let name: string;
/** What the model says to a greeting. */
let greeting: RespondEnd;

beforeAll(async () => {
  model = await loadModel(tinyCoder, { context: 1280, chunk: 256 });
  serving = await serve(model);
  client = serving.client();
  name = (await client.models.list()).data[0].id;
  greeting = await reference(hello);
});
afterAll(async () => {
  await serving?.[Symbol.asyncDispose]();
  await model?.dispose();
});

const hello: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Hello!' }];
const read: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Read src/app.py' }];
const greedy = { temperature: 0 };
/** The end tokens, forbidden: an answer then goes on until something else ends it. */
const endless = { logit_bias: { 4084: -100, 4086: -100 } };

const reference = (messages: readonly ChatCompletionMessageParam[], options = {}) =>
  answerOf(model, messages as readonly ChatMessage[], options);

async function chunksOf(
  stream: AsyncIterable<ChatCompletionChunk>,
): Promise<readonly ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks: readonly ChatCompletionChunk[]) =>
  chunks.map(({ choices: [choice] }) => choice?.delta.content ?? '').join('');

describe('models', () => {
  test('the list has the model, and it can be asked for by its name', async () => {
    const { data } = await client.models.list();
    expect(data).toMatchObject([{ id: name, object: 'model' }]);
    expect(await client.models.retrieve(name)).toEqual(data[0]);
    expect(name).toBe('tiny-coder');
  });
});

describe('chat', () => {
  test('a whole answer is what the model says', async () => {
    const completion = await client.chat.completions.create({
      ...{ model: name, messages: hello, ...greedy },
    });
    const { promptTokens, completionTokens } = greeting.usage;
    expect(completion).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      created: expect.closeTo(Date.now() / 1000, -3),
      model: name,
      choices: [
        {
          index: 0,
          finish_reason: 'stop',
          logprobs: null,
          message: { role: 'assistant', content: greeting.message.content, refusal: null },
        },
      ],
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: completionTokens,
        total_tokens: promptTokens + completionTokens,
      },
    });
    expect(completion.choices[0].message.content).toMatch(/^[A-Z].*\.$/);
    expect(completion.choices[0].message).not.toHaveProperty('tool_calls');
  });

  test('a streamed one is the same, in pieces', async () => {
    const stream = await client.chat.completions.create({
      ...{ model: name, messages: hello, stream: true, ...greedy },
    });
    const chunks = await chunksOf(stream);
    expect(textOf(chunks)).toBe(greeting.message.content);
    expect(chunks.length, 'streamed, not at once').toBeGreaterThan(5);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(new Set(chunks.map(({ object }) => object))).toEqual(new Set(['chat.completion.chunk']));
    expect(chunks[0].choices[0].delta.role).toBe('assistant');
    const reasons = chunks.map(({ choices }) => choices[0].finish_reason);
    expect(reasons.filter((reason) => reason)).toEqual(['stop']);
    expect(reasons.at(-1)).toBe('stop');
    expect(chunks.filter(({ usage }) => usage)).toEqual([]);
  });

  test('usage comes with the last chunk when it is asked for', async () => {
    const { usage } = greeting;
    const stream = await client.chat.completions.create({
      ...{ model: name, messages: hello, stream: true, ...greedy },
      stream_options: { include_usage: true },
    });
    const chunks = await chunksOf(stream);
    const last = chunks.at(-1)!;
    expect(last.choices).toEqual([]);
    expect(last.usage).toMatchObject({
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      total_tokens: usage.promptTokens + usage.completionTokens,
    });
    expect(chunks.slice(0, -1).filter((chunk) => chunk.usage)).toEqual([]);
  });

  test("the client's own stream gathers the whole answer", async () => {
    const stream = client.chat.completions.stream({ model: name, messages: hello, ...greedy });
    let text = '';
    stream.on('content', (delta) => {
      text += delta;
    });
    const { choices } = await stream.finalChatCompletion();
    expect(text).toBe(greeting.message.content);
    expect(choices[0].message.content).toBe(text);
  });

  test('messages of every role and form', async () => {
    const plain: ChatCompletionMessageParam[] = [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: 'Hello!' },
      { role: 'assistant', content: 'Hello! What would you like to do?' },
      { role: 'user', content: 'Good\nmorning!' },
    ];
    const parts: ChatCompletionMessageParam[] = [
      { role: 'developer', content: 'You are a helpful assistant.' },
      { role: 'user', name: 'ada', content: [{ type: 'text', text: 'Hello!' }] },
      {
        role: 'assistant',
        content: [{ type: 'text', text: 'Hello! What would you like to do?' }],
        refusal: null,
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Good' },
          { type: 'text', text: 'morning!' },
        ],
      },
    ];
    const [a, b] = await Promise.all(
      [plain, parts].map((messages) =>
        client.chat.completions.create({ model: name, messages, ...greedy }),
      ),
    );
    expect(b.choices[0].message).toEqual(a.choices[0].message);
    expect(a.choices[0].message.content).toBe((await reference(plain)).message.content);
  });

  test('the length is limited by either name', async () => {
    for (const limit of [{ max_tokens: 5 }, { max_completion_tokens: 5 }]) {
      const { choices, usage } = await client.chat.completions.create({
        ...{ model: name, messages: hello, ...greedy, ...limit },
      });
      expect(choices[0].finish_reason).toBe('length');
      expect(usage?.completion_tokens).toBe(5);
      const text = choices[0].message.content!;
      expect(text.length).toBeGreaterThan(0);
      expect(greeting.message.content!.startsWith(text)).toBe(true);
    }
  });

  test.each([['short'], [['tools', ' que']]])('ends before the stop text %j', async (stop) => {
    const whole = greeting.message.content!;
    const ends = [stop].flat().map((text) => whole.indexOf(text));
    const request = { model: name, messages: hello, stop, ...greedy };
    const { choices } = await client.chat.completions.create(request);
    expect(choices[0].message.content).toBe(whole.slice(0, Math.min(...ends)));
    expect(choices[0].finish_reason).toBe('stop');
    const chunks = await chunksOf(
      await client.chat.completions.create({ ...request, stream: true }),
    );
    expect(textOf(chunks)).toBe(choices[0].message.content);
  });

  test('the same seed gives the same text, and others give others', async () => {
    const say = async (seed: number) => {
      const { choices } = await client.chat.completions.create({
        ...{ model: name, messages: hello, seed, temperature: 2, top_p: 1, max_tokens: 8 },
        ...endless,
      });
      return choices[0].message.content;
    };
    const seeds = [1, 2, 3];
    const texts = await Promise.all(seeds.map(say));
    expect(new Set(texts).size).toBe(seeds.length);
    expect(await Promise.all(seeds.map(say))).toEqual(texts);
  });

  test('a token can be forbidden', async () => {
    const { tokens } = greeting;
    const { choices } = await client.chat.completions.create({
      ...{ model: name, messages: hello, max_tokens: 1, logprobs: true, ...greedy },
      logit_bias: { [tokens[0]]: -100 },
    });
    expect(choices[0].logprobs?.content?.[0].token).not.toBe(model.detokenize([tokens[0]]));
  });

  test('logprobs tell of each token, whole and streamed alike', async () => {
    const expected: GeneratedLogprob[] = [];
    const options = { logprobs: 3, ...greedy };
    for await (const part of model.respond([{ role: 'user', content: 'Hello!' }], options)) {
      if (part.type === 'logprobs') expected.push(...part.logprobs);
    }
    const request = {
      ...{ model: name, messages: hello, logprobs: true, top_logprobs: 3, ...greedy },
    };
    const { choices, usage } = await client.chat.completions.create(request);
    const content = choices[0].logprobs!.content!;
    expect(content.length).toBe(usage!.completion_tokens);
    expect(content.map(({ logprob }) => logprob)).toEqual(expected.map(({ logprob }) => logprob));
    expect(content.map(({ token }) => token).join('')).toBe(greeting.message.content);
    const bytes = content.flatMap((entry) => entry.bytes!);
    expect(new TextDecoder().decode(new Uint8Array(bytes))).toBe(greeting.message.content);
    for (const { token, logprob, top_logprobs } of content) {
      expect(top_logprobs.length).toBe(3);
      // Greedy: the likeliest, as far as the model's repetition penalty lets it.
      expect(logprob).toBeLessThanOrEqual(top_logprobs[0].logprob);
      const likely = top_logprobs.map((entry) => entry.logprob);
      expect(likely).toEqual([...likely].sort((a, b) => b - a));
      expect(likely.map(Math.exp).reduce((a, b) => a + b)).toBeLessThan(1 + 1e-6);
      const same = top_logprobs.find((entry) => entry.token === token);
      if (same) expect(same.logprob).toBe(logprob);
    }
    const chunks = await chunksOf(
      await client.chat.completions.create({ ...request, stream: true }),
    );
    expect(chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? [])).toEqual(content);
  });

  test('a conversation evaluates only what is new', async () => {
    const first = await client.chat.completions.create({
      ...{ model: name, messages: hello, ...greedy },
    });
    const second = await client.chat.completions.create({
      model: name,
      messages: [...hello, first.choices[0].message, { role: 'user', content: 'Hello!' }],
      ...greedy,
    });
    const before = first.usage!.prompt_tokens + first.usage!.completion_tokens;
    const cached = second.usage!.prompt_tokens_details!.cached_tokens!;
    // The last token of an answer is never evaluated before it is asked for again.
    expect(cached).toBeGreaterThanOrEqual(before - 1);
    expect(cached).toBeLessThan(second.usage!.prompt_tokens);
  });
});

describe('text completions', () => {
  const prompt = 'def add(a, b):\n';
  const continued = async (options = {}) => {
    for await (const part of model.generate(prompt, {
      temperature: 0,
      maxTokens: 12,
      ...options,
    })) {
      if (part.type === 'end') return part;
    }
    throw new Error('no end');
  };

  test('whole and streamed, what the model goes on with', async () => {
    const { text, usage } = await continued();
    const request = { model: name, prompt, max_tokens: 12, ...greedy };
    const completion = await client.completions.create(request);
    expect(completion).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      choices: [{ index: 0, text, finish_reason: 'length', logprobs: null }],
      usage: { prompt_tokens: usage.promptTokens, completion_tokens: 12 },
    });
    let streamed = '';
    for await (const { choices } of await client.completions.create({ ...request, stream: true })) {
      streamed += choices[0]?.text ?? '';
    }
    expect(streamed).toBe(text);
  });

  test('token ids are a prompt, too', async () => {
    const { text } = await continued();
    const request = { model: name, prompt: model.tokenize(prompt), max_tokens: 12, ...greedy };
    expect((await client.completions.create(request)).choices[0].text).toBe(text);
  });

  test('ends before a stop text', async () => {
    const { text } = await continued();
    const stop = text.slice(text.length / 2);
    const request = { model: name, prompt, stop, max_tokens: 12, ...greedy };
    const { choices } = await client.completions.create(request);
    expect(choices).toMatchObject([{ text: text.slice(0, text.indexOf(stop)) }]);
    expect(choices[0].finish_reason).toBe('stop');
  });
});

describe('tools', () => {
  const result = (id: string): ChatCompletionMessageParam => ({
    ...{ role: 'tool', tool_call_id: id, content: 'def add(a, b):\n    return a + b\n' },
  });

  test('several turns: a call, its result, an answer, another call', async () => {
    const messages = [...read];
    for (const then of ['List the files in src', undefined]) {
      const expected = (await reference(messages, { tools })).message;
      const asked = await client.chat.completions.create({
        ...{ model: name, messages, tools, tool_choice: 'auto', ...greedy },
      });
      const [{ message, finish_reason }] = asked.choices;
      expect(finish_reason).toBe('tool_calls');
      expect(message.content).toBeNull();
      expect(message.tool_calls?.length).toBe(1);
      const [call] = message.tool_calls!;
      const { function: named } = expected.tool_calls![0];
      expect(call).toMatchObject({ type: 'function', function: named });
      expect(call.id).toMatch(/^call_\w{8,}$/);
      messages.push(message, result(call.id));
      const told = await client.chat.completions.create({
        ...{ model: name, messages, tools, ...greedy },
      });
      const { content } = (await reference(messages, { tools })).message;
      expect(told.choices[0]).toMatchObject({ message: { content }, finish_reason: 'stop' });
      messages.push(told.choices[0].message);
      if (then) messages.push({ role: 'user', content: then });
    }
    const calls = messages.flatMap(
      (message) => ('tool_calls' in message && message.tool_calls) || [],
    );
    expect(calls).toMatchObject([
      { function: { name: 'read_file', arguments: '{"path":"src/app.py"}' } },
      { function: { name: 'list_directory' } },
    ]);
  });

  test('streamed: the deltas add up to the call', async () => {
    const stream = client.chat.completions.stream({
      ...{ model: name, messages: read, tools, ...greedy },
    });
    const chunks: ChatCompletionChunk[] = [];
    const deltas: string[] = [];
    const done: unknown[] = [];
    stream.on('chunk', (chunk) => {
      chunks.push(chunk);
    });
    stream.on('tool_calls.function.arguments.delta', ({ arguments_delta }) => {
      deltas.push(arguments_delta);
    });
    stream.on('tool_calls.function.arguments.done', (event) => {
      done.push(event);
    });
    const { choices } = await stream.finalChatCompletion();
    expect(choices[0].finish_reason).toBe('tool_calls');
    const call = { name: 'read_file', arguments: '{"path":"src/app.py"}' };
    expect(choices[0].message.tool_calls).toMatchObject([{ type: 'function', function: call }]);
    expect(done).toMatchObject([{ index: 0, ...call }]);
    expect(deltas.join('')).toBe(call.arguments);
    expect(textOf(chunks), 'no markup in the text').toBe('');
    // The id and the name come once, with the first piece.
    const pieces = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    expect(pieces[0]).toMatchObject({ index: 0, type: 'function', function: { name: call.name } });
    expect(pieces.slice(1).filter(({ id, function: f }) => id || f?.name)).toEqual([]);
  });

  test('runTools calls the function, and has the last word of the model', async () => {
    const calls: unknown[] = [];
    const [{ function: definition }] = tools;
    const { name: called, description = '', parameters = {} } = definition;
    const runnable: RunnableToolFunctionWithParse<{ path: string }> = {
      type: 'function',
      function: {
        ...{ name: called, description, parameters },
        parse: JSON.parse,
        function: (args) => {
          calls.push(args);
          return 'def add(a, b):\n    return a + b\n';
        },
      },
    };
    const runner = client.chat.completions.runTools({
      ...{ model: name, messages: read, tools: [runnable], stream: true, ...greedy },
    });
    const content = await runner.finalContent();
    expect(calls).toEqual([{ path: 'src/app.py' }]);
    const messages = runner.messages.slice(0, -1) as ChatCompletionMessageParam[];
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool']);
    const offered = [{ type: 'function', function: definition }];
    expect(content).toBe((await reference(messages, { tools: offered })).message.content);
  });

  /** Each call that was asked for is of an offered function, with arguments of its schema. */
  function expectValid(message: OpenAI.ChatCompletionMessage): void {
    const ajv = new Ajv();
    for (const call of message.tool_calls ?? []) {
      if (call.type !== 'function') throw new Error(`a call of the type ${call.type}`);
      const tool = tools.find(({ function: { name } }) => name === call.function.name);
      expect(tool).toBeDefined();
      const validate = ajv.compile(tool!.function.parameters!);
      expect(validate(JSON.parse(call.function.arguments)), call.function.arguments).toBe(true);
    }
  }

  test('required: a greeting is answered by a call', async () => {
    const request = { model: name, messages: hello, tools, max_tokens: 60, ...greedy };
    const free = await client.chat.completions.create(request);
    expect(free.choices[0].message.tool_calls).toBeUndefined();
    const { choices } = await client.chat.completions.create({
      ...{ ...request, tool_choice: 'required', parallel_tool_calls: false },
    });
    expect(choices[0].finish_reason).toBe('tool_calls');
    expect(choices[0].message.tool_calls?.length).toBe(1);
    expectValid(choices[0].message);
  });

  test('named: the function is the one that was named', async () => {
    for (const tool of tools.slice(1)) {
      const { choices } = await client.chat.completions.create({
        ...{ model: name, messages: hello, tools, max_tokens: 60, ...greedy },
        tool_choice: { type: 'function', function: { name: tool.function.name } },
      });
      const { message } = choices[0];
      expect(message.tool_calls).toMatchObject([{ function: { name: tool.function.name } }]);
      expectValid(message);
    }
  });

  test('none: text, whatever is asked', async () => {
    const { choices } = await client.chat.completions.create({
      ...{ model: name, messages: read, tools, tool_choice: 'none', max_tokens: 40, ...greedy },
    });
    const { message, finish_reason } = choices[0];
    expect(message.tool_calls).toBeUndefined();
    expect(message.content).not.toContain('<tool_call>');
    expect(['stop', 'length']).toContain(finish_reason);
  });

  test('a call that is cut off is none', async () => {
    const whole = await reference(read, { tools });
    for (const max_tokens of [whole.usage.completionTokens - 8, 12]) {
      const request = { model: name, messages: read, tools, max_tokens, ...greedy };
      const { choices } = await client.chat.completions.create(request);
      expect(choices[0].finish_reason).toBe('length');
      expect(choices[0].message.tool_calls).toBeUndefined();
      const chunks = await chunksOf(
        await client.chat.completions.create({ ...request, stream: true }),
      );
      expect(chunks.at(-1)?.choices[0].finish_reason).toBe('length');
    }
  });
});

describe('Qwen Code', () => {
  test('its requests are answered: a call, and a text after the result', async () => {
    const [ask, tell] = qwenCode.requests as unknown as ChatCompletionCreateParamsStreaming[];
    // It leaves the temperature to the model.
    const first = await chunksOf(await client.chat.completions.create({ ...ask, ...greedy }));
    const pieces = first.flatMap(({ choices: [choice] }) => choice?.delta.tool_calls ?? []);
    expect(pieces[0].function?.name).toBe('read_file');
    const given = pieces.map((piece) => piece.function?.arguments ?? '').join('');
    expect(JSON.parse(given)).toEqual({ file_path: '/tmp/app/src/app.py' });
    expect(textOf(first)).toBe('');
    expect(first.at(-2)?.choices[0].finish_reason).toBe('tool_calls');
    expect(first.at(-1)?.usage?.completion_tokens).toBeGreaterThan(0);

    // More tokens than there is room for, as it asks for them, are no error.
    expect(tell.max_tokens).toBeGreaterThan(model.context);
    const second = await chunksOf(
      await client.chat.completions.create({ ...tell, ...greedy, stop: '\n' }),
    );
    expect(textOf(second)).toMatch(/\S/);
    expect(second.at(-1)?.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(900);
  });
});

describe('formats', () => {
  const schema = z.object({
    language: z.enum(['python', 'typescript']),
    lines: z.int().min(1).max(99),
    async: z.boolean(),
  });
  const format = zodResponseFormat(schema, 'snippet');
  const messages: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Describe the file.' }];

  test('a schema of zod: the answer is parsed', async () => {
    const { choices } = await client.chat.completions.parse({
      ...{ model: name, messages, response_format: format, max_tokens: 60, ...greedy },
    });
    expect(choices[0].finish_reason).toBe('stop');
    const { parsed, content } = choices[0].message;
    expect(schema.parse(parsed)).toEqual(JSON.parse(content!));
  });

  test('and streamed', async () => {
    const { choices } = await client.chat.completions
      .stream({ model: name, messages, response_format: format, max_tokens: 60, ...greedy })
      .finalChatCompletion();
    const { parsed } = choices[0].message;
    expect(schema.parse(parsed)).toEqual(parsed);
  });

  test('an object of any kind, even when it is short of room', async () => {
    for (const max_tokens of [8, 40]) {
      const { choices } = await client.chat.completions.create({
        ...{ model: name, messages, response_format: { type: 'json_object' }, ...greedy },
        max_tokens,
      });
      const value: unknown = JSON.parse(choices[0].message.content!);
      expect(value).toBeTypeOf('object');
      expect(Array.isArray(value)).toBe(false);
    }
  });
});

describe('what is aborted ends', () => {
  test('a stream: within a token, and the next one is answered', async () => {
    using count = new TokenCount(model);
    const stream = await client.chat.completions.create({
      ...{ model: name, messages: hello, max_tokens: 800, stream: true, ...endless },
    });
    let atAbort = 0;
    let chunks = 0;
    for await (const _chunk of stream) {
      if (++chunks < 6) continue;
      atAbort = count.tokens;
      stream.controller.abort();
      break;
    }
    await until('the generation ended', () => count.running === 0);
    // One is under way when the connection closes, and more are until the server hears of it.
    expect(count.tokens).toBeLessThanOrEqual(atAbort + 3);
    expect(count.tokens).toBeLessThan(100);
    const { choices } = await client.chat.completions.create({
      ...{ model: name, messages: hello, ...greedy },
    });
    expect(choices[0].message.content).toBe(greeting.message.content);
  });

  test('a request whose client left before the answer', async () => {
    using count = new TokenCount(model);
    const leaving = new AbortController();
    const request = { model: name, messages: hello, max_tokens: 800, ...endless };
    const answer = client.chat.completions.create(request, { signal: leaving.signal });
    const refused = expect(answer).rejects.toThrow(OpenAI.APIUserAbortError);
    await until('it is under way', () => count.tokens > 2);
    const atAbort = count.tokens;
    leaving.abort();
    await refused;
    await until('the generation ended', () => count.running === 0);
    expect(count.tokens).toBeLessThanOrEqual(atAbort + 3);
  });
});

describe('errors are those that the client knows', () => {
  const create = (options: object, by = client) =>
    by.chat.completions.create({ model: name, messages: hello, max_tokens: 1, ...options });

  test('a key that is wrong or missing', async () => {
    await using locked = await serve(model, { apiKey: 'sesame' });
    expect((await create({}, locked.client('sesame'))).choices.length).toBe(1);
    for (const key of ['sesam', 'sesames', 'Sesame']) {
      const error = await create({}, locked.client(key)).catch((e) => e);
      expect(error, key).toBeInstanceOf(OpenAI.AuthenticationError);
      expect(error).toMatchObject({ status: 401, code: 'invalid_api_key' });
    }
    await expect(locked.client('no').models.list()).rejects.toThrow(OpenAI.AuthenticationError);
    expect((await fetch(`${locked.url}/v1/models`)).status).toBe(401);
  });

  test('a model that is not there', async () => {
    const error = await create({ model: 'gpt-4o' }).catch((e) => e);
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({ status: 404, code: 'model_not_found' });
    expect(error.message).toContain('gpt-4o');
    await expect(client.models.retrieve('gpt-4o')).rejects.toThrow(OpenAI.NotFoundError);
  });

  test.each([
    ['a field of the wrong type', { temperature: 'warm' }, 'temperature'],
    ['a value out of range', { top_p: 2 }, 'top_p'],
    ['more than one answer', { n: 2 }, 'n'],
    ['no message', { messages: [] }, 'messages'],
  ])('%s', async (_, options, param) => {
    const error = await create(options).catch((e) => e);
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param });
    expect(error.message).toContain(param);
  });

  test('a prompt that is too long', async () => {
    const content = 'word '.repeat(model.context);
    for (const stream of [false, true]) {
      const error = await create({ messages: [{ role: 'user', content }], stream }).catch((e) => e);
      expect(error).toBeInstanceOf(OpenAI.BadRequestError);
      expect(error).toMatchObject({ status: 400, code: 'context_length_exceeded' });
    }
  });

  test('more requests than wait in line', async () => {
    await using narrow = await serve(model, { maxQueue: 1 });
    using count = new TokenCount(model);
    const leaving = new AbortController();
    try {
      const by = narrow.client();
      const slow = { max_tokens: 800, ...endless };
      const first = by.chat.completions.create(
        { model: name, messages: hello, ...slow },
        { signal: leaving.signal },
      );
      const ended = first.catch((error) => error);
      await until('the first one is under way', () => count.tokens > 0);
      const answers = await Promise.all(
        [1, 2, 3].map(() =>
          create({ max_tokens: 1 }, by).then(
            () => undefined,
            (error) => {
              leaving.abort();
              return error;
            },
          ),
        ),
      );
      const errors = answers.filter((answer) => answer);
      expect(errors.length).toBe(2);
      for (const error of errors) {
        expect(error).toBeInstanceOf(OpenAI.RateLimitError);
        expect(error).toMatchObject({ status: 429 });
      }
      expect(await ended).toBeInstanceOf(OpenAI.APIUserAbortError);
    } finally {
      leaving.abort();
    }
  });
});
