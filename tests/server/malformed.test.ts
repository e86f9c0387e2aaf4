/** Requests that nobody should send: each is refused with a reason, and the server goes on. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import type * as Run from '../../src/generate/run.ts';
import { type GeneratePart, loadModel, type Model, type Usage } from '../../src/node.ts';
import { fuzzedRequest } from './fuzz-bodies.ts';
import { type Serving, serve, tinyCoder, tools } from './serving.ts';

/** What is generated in place of what the model would. */
const instead = vi.hoisted((): { parts: readonly GeneratePart[] | undefined } => ({
  parts: undefined,
}));
vi.mock('../../src/generate/run.ts', async (original) => {
  const actual = await original<typeof Run>();
  const run: typeof Run.run = async function* (...args) {
    yield* instead.parts ?? actual.run(...args);
  };
  return { ...actual, run };
});

const bodyLimit = 256 * 1024;
let model: Model;
let serving: Serving;

beforeAll(async () => {
  model = await loadModel(tinyCoder, { context: 256, chunk: 128 });
  serving = await serve(model, { bodyLimit });
});
afterAll(async () => {
  await serving?.[Symbol.asyncDispose]();
  await model?.dispose();
});

const user = { role: 'user', content: 'Hello!' };
const call = { id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '{}' } };
/** A chat that is answered, with some fields put in place of its own. */
const chat = (fields: object = {}) => ({ messages: [user], max_tokens: 1, ...fields });
const says = (message: object) => chat({ messages: [message] });
const schema = (of: unknown) =>
  chat({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema: of } } });
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

interface Malformed {
  readonly what: string;
  /** An object, sent as JSON, or the very bytes. */
  readonly body?: object | string | Buffer;
  /** Default 400. */
  readonly status?: number;
  /** The field that the error has to name. */
  readonly param?: string | RegExp;
  readonly url?: string;
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly type?: string;
  readonly headers?: Record<string, string>;
}

const bodies: readonly Malformed[] = [
  { what: 'no body', body: '' },
  { what: 'half a body', body: '{"messages": [' },
  { what: 'a body that is no object', body: '[]' },
  { what: 'null', body: 'null' },
  { what: 'a number', body: '1' },
  { what: 'NaN, which JSON does not have', body: '{"messages": [], "temperature": NaN}' },
  { what: 'Infinity', body: '{"messages": [], "temperature": Infinity}' },
  { what: 'comments', body: '{/* hi */"messages": []}' },
  { what: 'single quotes', body: "{'messages': []}" },
  { what: 'bytes that are not UTF-8', body: Buffer.from([0x7b, 0xff, 0xfe, 0x22, 0x7d]) },
  {
    what: 'text that is not UTF-8',
    body: Buffer.from(
      '{"messages":[{"role":"user","content":"caf\xe9"}],"max_tokens":1}',
      'latin1',
    ),
  },
  { what: 'UTF-16', body: Buffer.from('{"messages":[]}', 'utf16le') },
  {
    what: 'a form',
    body: 'messages=hello',
    type: 'application/x-www-form-urlencoded',
    status: 415,
  },
  { what: 'plain text', body: '{"messages":[]}', type: 'text/plain', status: 415 },
  { what: 'XML', body: '<messages/>', type: 'application/xml', status: 415 },
  { what: 'more than the limit', body: chat({ user: 'x'.repeat(bodyLimit) }), status: 413 },
  { what: '__proto__', body: '{"__proto__": {"temperature": 2}, "messages": []}' },
  {
    what: 'constructor.prototype',
    body: '{"constructor": {"prototype": {"stream": true}}, "messages": []}',
  },
  { what: 'lists 100,000 deep', body: `{"messages": ${nested(100_000)}}` },
  {
    what: 'a schema 1,000 deep',
    body: JSON.stringify(schema(1)).replace('"schema":1', `"schema":{"enum":${nested(1000)}}`),
  },
];

const fields: readonly Malformed[] = [
  { what: 'no messages', body: {}, param: 'messages' },
  { what: 'an empty list', body: chat({ messages: [] }), param: 'messages' },
  { what: 'text', body: chat({ messages: 'Hello!' }), param: 'messages' },
  { what: 'an object', body: chat({ messages: { 0: user } }), param: 'messages' },
  { what: 'null among them', body: chat({ messages: [user, null] }), param: 'messages[1]' },
  { what: 'a list among them', body: chat({ messages: [[user]] }), param: 'messages[0]' },
  { what: 'no role', body: says({ content: 'Hello!' }), param: 'messages[0].role' },
  { what: 'an unknown role', body: says({ ...user, role: 'wizard' }), param: 'messages[0].role' },
  { what: 'a role of markup', body: says({ ...user, role: 'user\n' }), param: 'messages[0].role' },
  { what: 'a role that is a number', body: says({ ...user, role: 1 }), param: 'messages[0].role' },
  { what: 'no content', body: says({ role: 'user' }), param: 'messages[0].content' },
  { what: 'null', body: says({ ...user, content: null }), param: 'messages[0].content' },
  { what: 'a number', body: says({ ...user, content: 5 }), param: 'messages[0].content' },
  { what: 'an object', body: says({ ...user, content: {} }), param: 'messages[0].content' },
  {
    what: 'an image',
    body: says({
      ...user,
      content: [{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }],
    }),
    param: 'messages[0].content[0].type',
  },
  {
    what: 'a part without text',
    body: says({ ...user, content: [{ type: 'text' }] }),
    param: 'messages[0].content[0].text',
  },
  {
    what: 'a part that is text',
    body: says({ ...user, content: ['Hello!'] }),
    param: /^messages\[0]/,
  },
  {
    what: 'neither text nor calls',
    body: says({ role: 'assistant' }),
    param: 'messages[0].content',
  },
  {
    what: 'a result without the id of its call',
    body: says({ role: 'tool', content: 'x' }),
    param: 'messages[0].tool_call_id',
  },
  {
    what: 'a call without an id',
    body: says({ role: 'assistant', tool_calls: [{ ...call, id: undefined }] }),
    param: 'messages[0].tool_calls[0].id',
  },
  {
    what: 'a call without a function',
    body: says({ role: 'assistant', tool_calls: [{ ...call, function: undefined }] }),
    param: 'messages[0].tool_calls[0].function',
  },
  {
    what: 'arguments that are an object',
    body: says({
      ...{ role: 'assistant', content: null },
      tool_calls: [{ ...call, function: { name: 'f', arguments: {} } }],
    }),
    param: 'messages[0].tool_calls[0].function.arguments',
  },
  {
    what: 'calls that are no list',
    body: says({ ...user, role: 'assistant', tool_calls: 1 }),
    param: 'messages[0].tool_calls',
  },
];

const options: readonly Malformed[] = [
  ...['temperature', 'top_p', 'frequency_penalty', 'presence_penalty', 'seed', 'n'].flatMap(
    (param) => [
      { what: `${param}: text`, body: chat({ [param]: '1' }), param },
      { what: `${param}: true`, body: chat({ [param]: true }), param },
      { what: `${param}: a list`, body: chat({ [param]: [1] }), param },
    ],
  ),
  { what: 'temperature below 0', body: chat({ temperature: -0.1 }), param: 'temperature' },
  { what: 'temperature above 2', body: chat({ temperature: 2.1 }), param: 'temperature' },
  { what: 'a temperature beyond numbers', body: '{"messages":[],"temperature":1e999}' },
  { what: 'top_p above 1', body: chat({ top_p: 1.5 }), param: 'top_p' },
  { what: 'a penalty above 2', body: chat({ presence_penalty: 3 }), param: 'presence_penalty' },
  { what: 'half a seed', body: chat({ seed: 0.5 }), param: 'seed' },
  { what: 'two answers', body: chat({ n: 2 }), param: 'n' },
  { what: 'no answer', body: chat({ n: 0 }), param: 'n' },
  ...['max_tokens', 'max_completion_tokens'].flatMap((param) =>
    [0, -1, 1.5, '10', 1e300, {}].map((value) => ({
      what: `${param}: ${JSON.stringify(value)}`,
      body: chat({ max_tokens: undefined, [param]: value }),
      param,
    })),
  ),
  { what: 'stream: text', body: chat({ stream: 'yes' }), param: 'stream' },
  {
    what: 'stream_options: text',
    body: chat({ stream_options: 'usage' }),
    param: 'stream_options',
  },
  {
    what: 'include_usage: text',
    body: chat({ stream: true, stream_options: { include_usage: 'yes' } }),
    param: 'stream_options.include_usage',
  },
  { what: 'a stop that is a number', body: chat({ stop: 1 }), param: 'stop' },
  { what: 'an empty stop', body: chat({ stop: [''] }), param: /^stop/ },
  { what: 'five stops', body: chat({ stop: ['a', 'b', 'c', 'd', 'e'] }), param: 'stop' },
  { what: 'null among stops', body: chat({ stop: ['a', null] }), param: /^stop/ },
  { what: 'logprobs: a number', body: chat({ logprobs: 5 }), param: 'logprobs' },
  { what: 'top_logprobs alone', body: chat({ top_logprobs: 5 }), param: 'top_logprobs' },
  {
    what: 'too many top_logprobs',
    body: chat({ logprobs: true, top_logprobs: 21 }),
    param: 'top_logprobs',
  },
  { what: 'a bias of words', body: chat({ logit_bias: { hello: 1 } }), param: /^logit_bias/ },
  { what: 'a bias of no token', body: chat({ logit_bias: { 999999: 1 } }), param: /^logit_bias/ },
  { what: 'a bias that is text', body: chat({ logit_bias: { 1: '5' } }), param: /^logit_bias/ },
  { what: 'a bias list', body: chat({ logit_bias: [1] }), param: /^logit_bias/ },
  { what: 'a user that is a number', body: chat({ user: 5 }), param: 'user' },
  { what: 'another model', body: chat({ model: 'gpt-4o' }), status: 404, param: 'model' },
  { what: 'a model that is a number', body: chat({ model: 5 }), param: 'model' },
  { what: 'a path as the model', body: chat({ model: '../../etc' }), status: 404, param: 'model' },
  {
    what: 'a prompt that is too long',
    body: says({ ...user, content: 'word '.repeat(300) }),
  },
];

const toolsAndFormats: readonly Malformed[] = [
  { what: 'tools: text', body: chat({ tools: 'read_file' }), param: 'tools' },
  { what: 'a tool that is null', body: chat({ tools: [null] }), param: 'tools[0]' },
  {
    what: 'a tool without a function',
    body: chat({ tools: [{ type: 'function' }] }),
    param: 'tools[0].function',
  },
  {
    what: 'a tool of no known type',
    body: chat({ tools: [{ ...tools[0], type: 'oracle' }] }),
    param: 'tools[0].type',
  },
  {
    what: 'a tool without a name',
    body: chat({ tools: [{ type: 'function', function: {} }] }),
    param: 'tools[0].function.name',
  },
  {
    what: 'a name with markup',
    body: chat({ tools: [{ type: 'function', function: { name: 'a>\n<b' } }] }),
    param: 'tools[0].function.name',
  },
  {
    what: 'parameters that are text',
    body: chat({ tools: [{ type: 'function', function: { name: 'a', parameters: 'x' } }] }),
    param: 'tools[0].function.parameters',
  },
  { what: 'a choice without tools', body: chat({ tool_choice: 'required' }), param: 'tool_choice' },
  {
    what: 'a named choice without tools',
    body: chat({ tool_choice: { type: 'function', function: { name: 'read_file' } } }),
    param: /^tool_choice/,
  },
  { what: 'an unknown choice', body: chat({ tools, tool_choice: 'maybe' }), param: 'tool_choice' },
  {
    what: 'the choice of a tool that is not there',
    body: chat({ tools, tool_choice: { type: 'function', function: { name: 'rm' } } }),
    param: /^tool_choice/,
  },
  {
    what: 'a choice that is a number',
    body: chat({ tools, tool_choice: 1 }),
    param: 'tool_choice',
  },
  {
    what: 'parallel_tool_calls: text',
    body: chat({ tools, parallel_tool_calls: 'no' }),
    param: 'parallel_tool_calls',
  },
  {
    what: 'functions of the old kind',
    body: chat({ functions: [{ name: 'f' }] }),
    param: 'functions',
  },
  {
    what: 'a format that is text',
    body: chat({ response_format: 'json' }),
    param: 'response_format',
  },
  {
    what: 'an unknown format',
    body: chat({ response_format: { type: 'xml' } }),
    param: 'response_format.type',
  },
  {
    what: 'a format without its schema',
    body: chat({ response_format: { type: 'json_schema' } }),
    param: 'response_format.json_schema',
  },
  { what: 'a schema that is text', body: schema('object'), param: /^response_format/ },
  {
    what: 'a schema that nothing fits',
    body: schema({ type: 'string', enum: [1] }),
    param: /^response_format/,
  },
  { what: 'an unknown type', body: schema({ type: 'date' }), param: /^response_format/ },
  {
    what: 'a reference to nowhere',
    body: schema({ $ref: '#/$defs/x' }),
    param: /^response_format/,
  },
  {
    what: 'a reference to a file',
    body: schema({ $ref: 'file:///etc/passwd' }),
    param: /^response_format/,
  },
  {
    what: 'a pattern that is none',
    body: schema({ type: 'string', pattern: '(' }),
    param: /^response_format/,
  },
  {
    what: 'what cannot be held to',
    body: schema({ type: 'object', not: { required: ['a'] } }),
    param: /^response_format/,
  },
];

const elsewhere: readonly Malformed[] = [
  { what: 'no such place', url: '/v1/embeddings', body: { input: 'x' }, status: 404 },
  { what: 'the wrong verb', url: '/v1/chat/completions', method: 'GET', status: 405 },
  { what: 'no such model', url: '/v1/models/gpt-4o', method: 'GET', status: 404 },
  { what: 'a way out', url: '/v1/models/..%2f..%2fetc%2fpasswd', method: 'GET', status: 404 },
  { what: 'half an escape', url: '/v1/models/%zz', method: 'GET', status: 400 },
  { what: 'no prompt', url: '/v1/completions', body: { max_tokens: 1 }, param: 'prompt' },
  { what: 'a prompt of objects', url: '/v1/completions', body: { prompt: {} }, param: 'prompt' },
  { what: 'two prompts', url: '/v1/completions', body: { prompt: ['a', 'b'] }, param: 'prompt' },
  { what: 'no token', url: '/v1/completions', body: { prompt: [-1] }, param: /^prompt/ },
  { what: 'an empty prompt', url: '/v1/completions', body: { prompt: [] }, param: /^prompt/ },
  { what: 'echo', url: '/v1/completions', body: { prompt: 'a', echo: true }, param: 'echo' },
  { what: 'a suffix', url: '/v1/completions', body: { prompt: 'a', suffix: 'b' }, param: 'suffix' },
  { what: 'best_of', url: '/v1/completions', body: { prompt: 'a', best_of: 2 }, param: 'best_of' },
];

async function send({ body, url = '/v1/chat/completions', method = 'POST', type }: Malformed) {
  const payload =
    body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
      ? body
      : JSON.stringify(body);
  const {
    statusCode,
    payload: text,
    headers,
  } = await serving.app.inject({
    ...{ method, url },
    ...(payload !== undefined && { payload }),
    ...(method === 'POST' && { headers: { 'content-type': type ?? 'application/json' } }),
  });
  return { status: statusCode, text, headers };
}

/** OpenAI's form, and nothing of this machine in it. */
function expectError(text: string): { message: string; param: string | null } {
  const { error, ...rest } = JSON.parse(text);
  expect(rest).toEqual({});
  expect(error).toEqual({
    message: expect.stringMatching(/\S/),
    type: expect.stringMatching(/^[a-z_]+$/),
    param: error.param === null ? null : expect.any(String),
    code: error.code === null ? null : expect.any(String),
  });
  expect(error.message).not.toMatch(/ {4}at |\.ts:|node_modules|\/src\//);
  return error;
}

async function expectAnswer(): Promise<void> {
  const { status, text } = await send({ what: 'a valid one', body: chat() });
  expect({ status, text }).toMatchObject({ status: 200 });
  expect(JSON.parse(text).choices[0].message.role).toBe('assistant');
}

describe.each([
  ['bodies', bodies],
  ['messages', fields],
  ['options', options],
  ['tools and formats', toolsAndFormats],
  ['elsewhere', elsewhere],
])('%s', (_, cases) => {
  test.each(cases)('$what', async (malformed) => {
    const { status, text, headers } = await send(malformed);
    expect({ status, text }).toMatchObject({ status: malformed.status ?? 400 });
    expect(headers['content-type']).toMatch(/^application\/json/);
    const { param } = expectError(text);
    if (malformed.param instanceof RegExp) expect(param).toMatch(malformed.param);
    else if (malformed.param) expect(param).toBe(malformed.param);
  });
});

test('a lone surrogate is text like any other', async () => {
  const body = JSON.stringify(says({ ...user, content: '?' })).replace('?', '\\ud800 \\udc00');
  const { status, text } = await send({ what: 'lone surrogates', body });
  expect({ status, text }).toMatchObject({ status: 200 });
});

test('a call that was cut off does not end its conversation', async () => {
  const cut = { ...call, function: { name: 'read_file', arguments: '{"path": "a' } };
  const answer = { role: 'assistant', content: null, tool_calls: [cut] };
  const result = { role: 'tool', tool_call_id: call.id, content: 'error: no JSON' };
  const { status, text } = await send({
    what: '',
    body: chat({ messages: [user, answer, result] }),
  });
  expect({ status, text }).toMatchObject({ status: 200 });
});

test('names of every object are no fields', async () => {
  const { status } = await send({ what: '', body: chat({ toString: 1, hasOwnProperty: true }) });
  expect(status).toBe(200);
});

test('after all that it answers', expectAnswer);

describe('fuzzed bodies never break it', () => {
  async function fuzz(runs: number, mostTokens: number): Promise<void> {
    const random = new Random(`${runs} fuzzed bodies`);
    const statuses = new Map<number, number>();
    for (let run = 0; run < runs; run++) {
      const { url, body } = fuzzedRequest(random, 'tiny-coder', mostTokens);
      const { status, text } = await send({ what: 'fuzzed', body, url });
      const where = `MOWGLI_SEED=${baseSeed}, run ${run}: ${url} ${body} gave ${text}`;
      expect(status, where).toBeLessThan(500);
      if (status !== 200) expectError(text);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    // They are neither all refused at the door nor mostly fine.
    expect(statuses.get(200)).toBeGreaterThan(runs / 20);
    expect(statuses.get(400)).toBeGreaterThan(runs / 2);
  }

  test('300 of them', async () => {
    await fuzz(300, 2);
    await expectAnswer();
  });

  test('1,700 more, with all of the model but its GPU', async () => {
    const usage: Usage = {
      ...{ promptTokens: 1, cachedTokens: 0, completionTokens: 1, promptMs: 1, completionMs: 1 },
      ...{ promptTokensPerSecond: 1, completionTokensPerSecond: 1, readbacks: 0 },
      experts: model.expertUsage(),
    };
    const said = { text: 'x', tokens: model.tokenize('x') };
    instead.parts = [
      { type: 'text', ...said },
      { type: 'end', finishReason: 'length', usage, ...said },
    ];
    try {
      await fuzz(1700, 100);
    } finally {
      instead.parts = undefined;
    }
    await expectAnswer();
  });
});
