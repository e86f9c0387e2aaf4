import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { end, FakeModel, Gate, until } from '../../tests/server/fake-model.ts';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { createServer, type ServerOptions } from './index.ts';

const chat = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'Hello!' }];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(options: ServerOptions = {}, model = new FakeModel()) {
  const app = await createServer(model, options);
  cleanups.push(() => app.close());
  const post = (payload: object | string, url = chat, headers = {}) =>
    app.inject({
      ...{ method: 'POST', url },
      headers: { 'content-type': 'application/json', ...headers },
      payload,
    });
  return { app, model, post };
}

/** The same, listening. */
async function listen(options: ServerOptions = {}, model = new FakeModel()) {
  const opened = await open(options, model);
  await opened.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = opened.app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const ask = (body: object, init: RequestInit = {}) =>
    fetch(url + chat, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ messages, ...body }),
      ...init,
    });
  const get = async (path: string) => {
    const response = await fetch(url + path);
    return { status: response.status, text: await response.text() };
  };
  return { ...opened, url, port, ask, get };
}

const dataOf = (text: string): unknown[] =>
  text.split('\n\n').flatMap((event) => {
    if (!event.startsWith('data: ')) return [];
    const data = event.slice(6);
    return [data === '[DONE]' ? data : JSON.parse(data)];
  });

/** Says a word every few milliseconds, for ever. */
const endless: FakeModel['script'] = async function* () {
  for (;;) {
    yield { type: 'text', text: 'word ' };
    await sleep(2);
  }
};

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

describe('errors', () => {
  const statuses: Partial<Record<ErrorCode, number>> = {
    ...{ OPTION_INVALID: 400, CONTEXT_EXCEEDED: 400, TEMPLATE_FAILED: 400 },
    ...{ TOKENIZER_INVALID: 400, DEVICE_LOST: 500, GPU_ERROR: 500, OUT_OF_MEMORY: 500 },
    ...{ READ_FAILED: 500, DISPOSED: 503 },
  };
  test.each(Object.entries(statuses))('%s is %i', async (code, status) => {
    const { post, model } = await open();
    model.script = () => {
      throw new MowgliError(code as ErrorCode, `tools: ${model.name} has none at /secret`);
    };
    const { statusCode, body } = await post({ messages });
    const { error } = JSON.parse(body);
    expect(statusCode).toBe(status);
    if (status === 400) {
      expect(error.message).toMatch(/^tools: fake-model has none/);
      expect(error.type).toBe('invalid_request_error');
    } else expect(body).not.toContain('secret');
  });

  test('of an option: by the name that a request has for it', async () => {
    const { post, model } = await open();
    const messageOf = { 'responseFormat json_object: no; raise maxTokens': 'response_format' };
    Object.assign(messageOf, {
      'tools[1] ("f"), parameters: no': 'tools[1]',
      'topology: no': null,
    });
    for (const [message, param] of Object.entries(messageOf)) {
      model.script = () => {
        throw new MowgliError('OPTION_INVALID', message);
      };
      const { error } = (await post({ messages })).json();
      expect(error.param).toBe(param);
      expect(error.message).not.toMatch(/responseFormat|maxTokens/);
    }
  });

  test('one that nobody foresaw tells nothing of itself', async () => {
    const lines: string[] = [];
    const logger = { level: 'error', stream: { write: (line: string) => void lines.push(line) } };
    const { post, model } = await open({ logger });
    model.script = () => {
      throw new TypeError('cannot read /secret of undefined');
    };
    const { statusCode, body } = await post({ messages });
    expect(statusCode).toBe(500);
    expect(body).not.toMatch(/secret|TypeError|\.ts/);
    expect(lines.join('')).toContain('cannot read /secret of undefined');
  });

  test.each([
    [404, 'GET', '/v1/nothing', {}, ''],
    [404, 'POST', '/chat/completions', { 'content-type': 'application/json' }, '{}'],
    [405, 'GET', chat, {}, ''],
    [405, 'DELETE', '/v1/models', {}, ''],
    [405, 'PUT', '/health', { 'content-type': 'text/plain' }, 'x'],
    [400, 'POST', chat, { 'content-type': 'application/json' }, '{"messages": ['],
    [400, 'POST', chat, { 'content-type': 'application/json' }, ''],
    [400, 'POST', chat, { 'content-type': 'application/json' }, '{"__proto__": {}}'],
    [400, 'POST', chat, { 'content-type': 'application/json' }, Buffer.from([0x22, 0xff, 0x22])],
    [415, 'POST', chat, { 'content-type': 'text/plain' }, '{}'],
    [415, 'POST', chat, { 'content-type': 'application/x-www-form-urlencoded' }, 'a=b'],
    [413, 'POST', chat, { 'content-type': 'application/json' }, `"${'x'.repeat(2000)}"`],
    [400, 'GET', '/v1/models/%zz', {}, ''],
  ] as const)('%i: %s %s %j', async (status, method, url, headers, payload) => {
    const { app } = await open({ bodyLimit: 1000 });
    const response = await app.inject({ method, url, headers, payload });
    expect(response.statusCode).toBe(status);
    expect(response.headers['x-request-id']).toMatch(/^req_/);
    if (status === 405) expect(response.headers.allow).toMatch(/^(GET|POST)$/);
    expect(response.json()).toEqual({
      error: {
        message: expect.stringMatching(/.{10}/),
        type: 'invalid_request_error',
        param: null,
        code: status === 404 || status === 405 ? expect.any(String) : null,
      },
    });
  });

  test('what is no HTTP is answered in the same form', async () => {
    const { port } = await listen();
    const text = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('HELLO\r\n\r\n'));
      let all = '';
      socket.on('data', (piece) => {
        all += piece;
      });
      socket.on('close', () => resolve(all));
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(text.split('\r\n\r\n')[1]!)).toMatchObject({
      error: { type: 'invalid_request_error' },
    });
  });
});

describe('API keys', () => {
  const key = (value?: string) => (value === undefined ? {} : { authorization: value });

  test('any of them opens, nothing else does', async () => {
    const { post, app } = await open({ apiKey: ['sesame', 'ключ'] });
    for (const right of ['Bearer sesame', 'bearer sesame', 'Bearer ключ']) {
      expect((await post({ messages }, chat, key(right))).statusCode, right).toBe(200);
    }
    for (const wrong of [
      undefined,
      'sesame',
      'Bearer',
      'Bearer ',
      'Bearer sesam',
      'Basic sesame',
    ]) {
      const { statusCode, headers, body } = await post({ messages }, chat, key(wrong));
      expect(statusCode, wrong).toBe(401);
      expect(headers['www-authenticate']).toBe('Bearer');
      expect(JSON.parse(body)).toMatchObject({ error: { code: 'invalid_api_key' } });
    }
    for (const url of ['/v1/models', '/metrics', '/nothing']) {
      expect((await app.inject(url)).statusCode, url).toBe(401);
    }
    expect((await app.inject('/health')).statusCode).toBe(200);
  });

  test('an empty one is refused: it would open to everybody', async () => {
    for (const apiKey of ['', ' ', ['a', '']]) {
      await expect(createServer(new FakeModel(), { apiKey })).rejects.toThrow(/apiKey is empty/);
    }
  });

  test('is never logged', async () => {
    const lines: string[] = [];
    const logger = { level: 'trace', stream: { write: (line: string) => void lines.push(line) } };
    const { post } = await open({ apiKey: 'sesame', logger });
    await post({ messages }, chat, key('Bearer sesame'));
    await post({ messages }, chat, key('Bearer sesamo'));
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.join('')).not.toContain('sesam');
  });
});

describe('a name that was made to mean this machine', () => {
  const status = (port: number, host: string, path = '/v1/models') =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path, headers: { host } };
      httpRequest(options, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });

  test('is refused; names and addresses of this machine are not', async () => {
    const { port } = await listen();
    for (const host of ['localhost', `LOCALHOST:${port}`, '127.0.0.1', '[::1]:80', 'a.localhost']) {
      expect(await status(port, host), host).toBe(200);
    }
    for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example']) {
      expect(await status(port, host), host).toBe(403);
    }
    expect(await status(port, 'evil.example', '/health')).toBe(200);
  });

  test('does no harm where a key is needed', async () => {
    const { port } = await listen({ apiKey: 'sesame' });
    expect(await status(port, 'my-proxy.example')).toBe(401);
  });
});

describe('pages of other origins', () => {
  const preflight = {
    ...{ method: 'OPTIONS', url: chat },
    headers: {
      origin: 'https://a.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  } as const;
  const allowed = 'access-control-allow-origin';

  test('are let in when they are named, before they show a key', async () => {
    const { app, post } = await open({ corsOrigin: 'https://a.example', apiKey: 'sesame' });
    const asked = await app.inject(preflight);
    expect(asked.statusCode).toBe(204);
    expect(asked.headers[allowed]).toBe('https://a.example');
    expect(asked.headers['access-control-allow-headers']).toBe('authorization,content-type');
    const { origin } = preflight.headers;
    const answered = await post({ messages, stream: true }, chat, {
      ...{ origin, authorization: 'Bearer sesame' },
    });
    expect(answered.headers[allowed]).toBe(origin);
    expect((await post({ messages }, chat, { origin })).headers[allowed]).toBe(origin);
    const other = await post({ messages }, chat, { origin: 'https://b.example' });
    expect(other.headers[allowed]).not.toBe('https://b.example');
  });

  test('are not, by default', async () => {
    const { app, post } = await open();
    const asked = await app.inject(preflight);
    expect(asked.statusCode).toBe(404);
    expect(asked.headers[allowed]).toBeUndefined();
    const { headers } = await post({ messages }, chat, { origin: 'https://a.example' });
    expect(headers[allowed]).toBeUndefined();
  });
});

describe('a client that leaves', () => {
  test('ends its generation within a token', async () => {
    const { ask, model, get } = await listen();
    let said = 0;
    model.script = async function* (...args) {
      for await (const part of endless(...args)) {
        said++;
        yield part;
      }
    };
    for (const stream of [true, false]) {
      const leaving = new AbortController();
      const answer = ask({ stream }, { signal: leaving.signal }).then((r) => r.text());
      const left = expect(answer).rejects.toThrow(/abort/);
      said = 0;
      await until(() => said >= 3);
      leaving.abort();
      await left;
      await until(() => model.running === 0);
      expect(said).toBeLessThan(20);
    }
    model.script = new FakeModel().script;
    expect((await ask({})).status).toBe(200);
    const { text } = await get('/metrics');
    expect(text).toContain('mowgli_requests_cancelled_total{reason="disconnected"} 2');
    expect(text).toContain(`route="${chat}",status="499"} 2`);
  });

  test('leaves the queue at once', async () => {
    const { ask, model, get } = await listen();
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'x' };
    };
    const first = ask({});
    await until(() => model.running === 1);
    const leaving = new AbortController();
    const impatient = ask({}, { signal: leaving.signal });
    const left = expect(impatient).rejects.toThrow();
    const depth = async () => /mowgli_queue_depth (\d+)/.exec((await get('/metrics')).text)?.[1];
    while ((await depth()) !== '1') await sleep(1);
    leaving.abort();
    await left;
    while ((await depth()) !== '0') await sleep(1);
    gate.open();
    expect((await first).status).toBe(200);
    expect(model.asked.length).toBe(1);
  });

  test('while it does not read is dropped, and the model goes on to others', async () => {
    const { port, ask, model, get } = await listen({ unreadBytes: 100_000 });
    let said = 0;
    model.script = async function* ({ messages: given }) {
      if (given?.at(-1)?.content !== 'long') return;
      for (;;) {
        said++;
        yield { type: 'text', text: 'word '.repeat(1000) };
        if (said % 10 === 0) await sleep(0);
      }
    };
    const body = JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'long' }] });
    const dropping = new Gate();
    const dropped = new Promise<void>((resolve) => {
      const slow = httpRequest({ port, host: '127.0.0.1', path: chat, method: 'POST' });
      slow.setHeader('content-type', 'application/json');
      slow.on('response', (response) => {
        response.pause();
        response.on('error', () => {});
        response.on('close', () => resolve());
        void dropping.opened.then(() => response.resume());
      });
      slow.on('error', () => resolve());
      slow.end(body);
    });
    await until(() => said > 0);
    await until(() => model.running === 0);
    expect((await ask({})).status).toBe(200);
    expect((await get('/metrics')).text).toContain('cancelled_total{reason="slow-reader"} 1');
    // What the system holds for it can still be read; then the connection ends.
    dropping.open();
    await dropped;
  });

  test('leaves no listeners on a connection that is used again', async () => {
    const { port, app } = await listen();
    const counts: number[] = [];
    app.server.on('connection', (socket) => {
      socket.on('data', () => counts.push(socket.listenerCount('close')));
    });
    const socket = connect(port, '127.0.0.1');
    const body = JSON.stringify({ messages });
    const message = `POST ${chat} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    for (let i = 0; i < 20; i++) {
      await new Promise<void>((resolve) => {
        socket.once('data', () => resolve());
        socket.write(message);
      });
    }
    socket.destroy();
    expect(counts.length).toBe(20);
    expect(counts.at(-1)).toBe(counts[0]);
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
