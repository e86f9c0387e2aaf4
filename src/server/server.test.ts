import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { end, FakeModel, Gate, until } from '../../tests/server/fake-model.ts';
import { chat, dataOf, endless, listen, messages, open } from '../../tests/server/fake-server.ts';
import { MowgliError } from '../errors.ts';
import { createServer } from './index.ts';

describe('a whole answer', () => {
  test('of a chat', async () => {
    const { post, model } = await open({ modelName: 'tiny' });
    const response = await post({ messages, model: 'fake-model', temperature: 0 });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({
      id: expect.stringMatching(/^chatcmpl-[\w-]{24}$/),
      object: 'chat.completion',
      created: expect.closeTo(Date.now() / 1000, -1),
      model: 'fake-model',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello!', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        ...{ prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 },
        prompt_tokens_details: { cached_tokens: 4 },
      },
    });
    expect(model.asked[0]).toMatchObject({ temperature: 0, signal: expect.any(AbortSignal) });
  });

  test('of a completion, with probabilities in its own form', async () => {
    const { post } = await open();
    const { statusCode, body } = await post({ prompt: 'Hi', logprobs: 1 }, '/v1/completions');
    expect(statusCode).toBe(200);
    expect(JSON.parse(body)).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      choices: [
        {
          ...{ index: 0, text: 'Hi', finish_reason: 'stop' },
          logprobs: {
            ...{ tokens: ['H', 'i'], token_logprobs: [-0.5, -0.5], text_offset: [0, 1] },
            top_logprobs: [{ H: -0.5 }, { i: -0.5 }],
          },
        },
      ],
    });
  });
});

describe('a stream', () => {
  test('of a chat: headers, events, the end', async () => {
    const { ask } = await listen();
    const response = await ask({ stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    const text = await response.text();
    expect(text).toMatch(/^(data: [^\n]+\n\n)+$/);
    const events = dataOf(text);
    expect(events.at(-1)).toBe('[DONE]');
    const chunks = events.slice(0, -1) as { choices: { delta: { content?: string } }[] }[];
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('Hello!');
  });

  test('of a completion: offsets go on', async () => {
    const { post } = await open();
    const { body } = await post({ prompt: 'abc', stream: true, logprobs: 0 }, '/v1/completions');
    const chunks = dataOf(body).slice(0, -1) as {
      choices: { text: string; logprobs: { text_offset: number[] } }[];
    }[];
    expect(chunks.map(({ choices }) => choices[0]?.text)).toEqual(['a', 'b', 'c', '']);
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs.text_offset)).toEqual([0, 1, 2]);
  });

  test('text with line breaks stays within its event', async () => {
    const { ask } = await listen();
    const content = 'a\n\nb\r\n\u2028data: x\n\n';
    const response = await ask({ stream: true, messages: [{ role: 'user', content }] });
    const chunks = dataOf(await response.text()) as {
      choices?: { delta: { content?: string } }[];
    }[];
    const said = chunks.map(({ choices }) => choices?.[0]?.delta.content ?? '').join('');
    expect(said).toBe(content);
  });

  test('gives signs of life while it waits, and while a prompt is evaluated', async () => {
    const { ask, model } = await listen({ keepAliveMs: 10 });
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'late' };
    };
    const responses = [await ask({ stream: true }), await ask({ stream: true })];
    await sleep(50);
    gate.open();
    for (const response of responses) {
      const text = await response.text();
      expect(text).toMatch(/^(: keep-alive\n\n){2,}data: /);
      expect(dataOf(text).at(-1)).toBe('[DONE]');
    }
  });

  test('that fails after it began ends with the error', async () => {
    const { ask, model } = await listen();
    model.script = async function* () {
      yield { type: 'text', text: 'He' };
      await sleep(1);
      throw new MowgliError('DEVICE_LOST', 'the GPU device was lost (in /secret/driver.so)');
    };
    const response = await ask({ stream: true });
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(text).not.toContain('secret');
    expect(dataOf(text).at(-1)).toEqual({
      error: {
        message: expect.stringContaining('the model cannot answer (device_lost)'),
        ...{ type: 'server_error', param: null, code: 'device_lost' },
      },
    });
  });

  test('that fails before it began has a status', async () => {
    const { ask, model } = await listen();
    model.script = () => {
      throw new MowgliError('CONTEXT_EXCEEDED', 'the prompt has 9 tokens and the context holds 8');
    };
    const response = await ask({ stream: true });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'context_length_exceeded' } });
  });
});

describe('the queue', () => {
  test('is full: 429, and when to come again', async () => {
    const { ask, model } = await listen({ maxQueue: 1 });
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'x' };
    };
    const first = ask({});
    await until(() => model.running === 1);
    const answered: Response[] = [];
    const others = [1, 2, 3].map(async () => answered.push(await ask({ stream: true })));
    await until(() => answered.length === 2);
    for (const refused of answered) {
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expect(await refused.json()).toMatchObject({
        error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
      });
    }
    gate.open();
    await Promise.all(others);
    expect((await first).status).toBe(200);
    expect(answered.at(-1)?.status).toBe(200);
  });

  test.each([{ drainMs: 2 ** 31 }, { drainMs: -1 }, { keepAliveMs: Number.NaN }])(
    'refuses %j, which a timer would not take',
    async (options) => {
      await expect(createServer(new FakeModel(), options)).rejects.toThrow(/milliseconds/);
    },
  );

  test.each([{ maxQueue: -1 }, { maxQueue: 1.5 }, { maxQueuePerClient: Number.NaN }])(
    '%j is refused',
    async (options) => {
      await expect(createServer(new FakeModel(), options)).rejects.toThrow(/maxQueue/);
    },
  );
});

describe('close', () => {
  test('lets requests be answered, those that wait, too; new ones are refused', async () => {
    const { ask, app, model, get } = await listen();
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'done' };
    };
    const answers = [ask({}), ask({ stream: true }), ask({})];
    await until(() => model.running === 1);
    await sleep(20);
    const closed = app.close();
    await until(() => app.server.listening);
    await sleep(5);
    expect(await get('/health')).toEqual({ status: 503, text: '{"state":"draining"}' });
    const refused = await ask({});
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: 'shutting_down' } });
    gate.open();
    for (const answer of answers) expect(await (await answer).text()).toContain('done');
    await closed;
    await expect(ask({})).rejects.toThrow();
  });

  test('cuts short what takes too long, and says so', async () => {
    const { ask, app, model } = await listen({ drainMs: 30 });
    model.script = endless;
    const streamed = await ask({ stream: true });
    const whole = ask({});
    await until(() => model.running === 1);
    await sleep(10);
    const start = performance.now();
    await app.close();
    expect(performance.now() - start).toBeLessThan(1500);
    const text = await streamed.text();
    expect(dataOf(text).at(-1)).toMatchObject({ error: { code: 'shutting_down' } });
    expect((await whole).status).toBe(503);
    expect(model.running).toBe(0);
  });

  test('waits as long as it was told to, longer than the framework would', async () => {
    const { post, app, model } = await open({ drainMs: 60_000 });
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'done' };
    };
    const answer = post({ messages }).then(({ body }) => body);
    await until(() => model.running === 1);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const closed = app.close();
      await vi.advanceTimersByTimeAsync(50_000);
      gate.open();
      expect(await answer).toContain('done');
      await vi.advanceTimersByTimeAsync(5000);
      await closed;
    } finally {
      vi.useRealTimers();
    }
  });

  test('does not wait for connections that are kept open', async () => {
    const { app, port, ask } = await listen();
    await (await ask({})).text();
    const idle = connect(port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    idle.on('error', () => {});
    const start = performance.now();
    await app.close();
    expect(performance.now() - start).toBeLessThan(1500);
    idle.destroy();
  });
});

describe('what is told of the server', () => {
  test('models', async () => {
    const { app } = await open({ modelName: 'tiny' });
    const model = (id: string) => ({
      ...{ id, object: 'model', owned_by: 'mowgli', max_model_len: 1000 },
      created: expect.any(Number),
    });
    const list = await app.inject('/v1/models');
    expect(list.json()).toEqual({ object: 'list', data: [model('tiny'), model('fake-model')] });
    expect((await app.inject('/v1/models/fake-model')).json()).toEqual(model('fake-model'));
    const missing = await app.inject('/v1/models/Qwen/Qwen3');
    expect(missing.statusCode).toBe(404);
    expect(missing.json()).toMatchObject({ error: { code: 'model_not_found' } });
  });

  test('a slash more in the base URL does no harm', async () => {
    const { app } = await open();
    for (const url of ['/v1/models/', '//v1//models']) {
      expect((await app.inject(url)).statusCode, url).toBe(200);
    }
  });

  test('names with slashes, encoded or not', async () => {
    const { app } = await open({ modelName: 'Qwen/Qwen3-Coder' });
    for (const id of ['Qwen/Qwen3-Coder', 'Qwen%2FQwen3-Coder']) {
      expect((await app.inject(`/v1/models/${id}`)).json()).toMatchObject({
        id: 'Qwen/Qwen3-Coder',
      });
    }
  });

  test('health: a model that failed is not healthy', async () => {
    const { app, model } = await open();
    expect((await app.inject('/health')).json()).toEqual({ state: 'ready' });
    model.failure = new MowgliError('DEVICE_LOST', 'lost');
    const { statusCode, body } = await app.inject('/health');
    expect({ statusCode, body }).toEqual({ statusCode: 503, body: '{"state":"failed"}' });
  });

  test('metrics', async () => {
    const { app, post, model } = await open();
    await post({ messages });
    await post({ messages, stream: true });
    await post({ messages: [] });
    await app.inject('/nothing');
    model.script = function* () {
      yield { ...end('x'), incompleteCalls: [{ name: 'f', arguments: '{' }] };
    };
    await post({ messages });
    const { body, headers } = await app.inject('/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    const values = Object.fromEntries(
      body
        .split('\n')
        .filter((line) => /^[a-z]/.test(line))
        .map((line) => [
          line.slice(0, line.lastIndexOf(' ')),
          line.slice(line.lastIndexOf(' ') + 1),
        ]),
    );
    const route = `method="POST",route="${chat}"`;
    expect(values).toMatchObject({
      [`mowgli_http_requests_total{${route},status="200"}`]: '3',
      [`mowgli_http_requests_total{${route},status="400"}`]: '1',
      'mowgli_http_requests_total{method="GET",route="unknown",status="404"}': '1',
      mowgli_prompt_tokens_total: '30',
      mowgli_cached_prompt_tokens_total: '12',
      mowgli_generated_tokens_total: '9',
      mowgli_incomplete_tool_calls_total: '1',
      mowgli_queue_depth: '0',
      mowgli_generating: '0',
      mowgli_queue_wait_seconds_count: '3',
      mowgli_time_to_first_token_seconds_count: '3',
      mowgli_time_per_token_seconds_count: '3',
      mowgli_gpu_bytes: '123456',
      mowgli_gpu_peak_bytes: '234567',
      mowgli_prefix_cache_bytes: '4567',
      mowgli_expert_hits_total: '17',
      mowgli_expert_misses_total: '3',
      mowgli_expert_file_bytes_total: '1000',
    });
    expect(Number(values.process_resident_memory_bytes)).toBeGreaterThan(1e6);
    // A second server counts for itself.
    const other = await open();
    const { body: fresh } = await other.app.inject('/metrics');
    expect(fresh).toContain('mowgli_prompt_tokens_total 0');
  });
});
