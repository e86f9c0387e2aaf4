import { describe, expect, test } from 'vitest';
import { ApiError } from './api-error.ts';
import { readChatRequest, readCompletionRequest, type Serving } from './requests.ts';
import { ServedNames } from './served-names.ts';

const serving: Serving = {
  names: new ServedNames('/models/Qwen3-Coder-30B.gguf', ['coder']),
  vocabSize: 1000,
  hasTokenizer: true,
  mostCharacters: 50_000,
};
const messages = [{ role: 'user', content: 'Hello!' }];
const chat = (fields: object = {}) => readChatRequest({ messages, ...fields }, serving);
const completion = (fields: object = {}) =>
  readCompletionRequest({ prompt: 'a', ...fields }, serving);
const says = (message: object) => chat({ messages: [message] });

const tool = { type: 'function', function: { name: 'read', parameters: { type: 'object' } } };
const call = { id: 'call_1', type: 'function', function: { name: 'read', arguments: '{}' } };
const format = (json_schema: unknown) => ({
  response_format: { type: 'json_schema', json_schema },
});

/** The status, field and code of the error that reading throws. */
function refusal(read: () => unknown): Pick<ApiError, 'status' | 'param' | 'code'> {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { status, param, code, message } = error;
    expect(message.length).toBeGreaterThan(10);
    return { status, param, code };
  }
  throw new Error('nothing was refused');
}

describe('what is left out takes the defaults of the model', () => {
  test('chat', () => {
    expect(chat()).toEqual({
      ...{ messages, damagedCalls: [], options: {} },
      ...{ model: 'coder', user: '', stream: false, includeUsage: false },
    });
    const nothing = { temperature: null, stop: null, tools: null, seed: null, logprobs: null };
    expect(chat({ ...nothing, tool_choice: null, stream: null, response_format: null })).toEqual(
      chat(),
    );
    expect(chat({ tools: [] })).toEqual(chat());
  });

  test('completion', () => {
    expect(completion()).toEqual({
      ...{ prompt: 'a', options: { maxTokens: 16 } },
      ...{ model: 'coder', user: '', stream: false, includeUsage: false },
    });
  });

  test('what means nothing here is not looked at', () => {
    const fields = { store: true, metadata: { a: 'b' }, service_tier: 'auto', whatever: [1] };
    expect(chat({ ...fields, reasoning_effort: 'high', toString: 1 })).toEqual(chat());
  });
});

test('every option reaches the model', () => {
  const { options, stream, includeUsage, user } = chat({
    ...{ temperature: 0.5, top_p: 0.9, top_k: 40, min_p: 0.1, repetition_penalty: 1.1 },
    ...{ presence_penalty: 1, frequency_penalty: -1, seed: -7, stop: 'END', max_tokens: 9 },
    ...{ logit_bias: { 5: -100 }, logprobs: true, top_logprobs: 3, n: 1, user: 'ada' },
    ...{ stream: true, stream_options: { include_usage: true } },
  });
  expect(options).toEqual({
    ...{ temperature: 0.5, topP: 0.9, topK: 40, minP: 0.1, repetitionPenalty: 1.1 },
    ...{ presencePenalty: 1, frequencyPenalty: -1, seed: -7, stop: ['END'], maxTokens: 9 },
    ...{ logitBias: new Map([[5, -100]]), logprobs: 3 },
  });
  expect({ stream, includeUsage, user }).toEqual({ stream: true, includeUsage: true, user: 'ada' });
  expect(chat({ max_tokens: 9, max_completion_tokens: 5 }).options.maxTokens).toBe(5);
  expect(chat({ top_k: -1 }).options.topK).toBe(0);
  expect(chat({ logprobs: true }).options.logprobs).toBe(0);
  expect(chat({ logprobs: false, top_logprobs: 0 }).options.logprobs).toBeUndefined();
});

describe('messages', () => {
  test('parts are lines, a developer is the system, unknown fields stay behind', () => {
    const parts = ['Hello', 'world'].map((text) => ({ type: 'text', text }));
    const given = [
      { role: 'developer', content: 'Be brief.', path: '/etc/passwd' },
      { role: 'user', content: parts, name: 'ada' },
      { role: 'assistant', content: null, tool_calls: [{ ...call, index: 0 }], refusal: null },
      { role: 'tool', content: 'x = 1', tool_call_id: 'call_1' },
      { role: 'assistant', content: 'One.', reasoning_content: 'Hm.', tool_calls: [] },
    ];
    expect(chat({ messages: given }).messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello\nworld', name: 'ada' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', content: 'x = 1', tool_call_id: 'call_1' },
      { role: 'assistant', content: 'One.', reasoning_content: 'Hm.' },
    ]);
  });

  test('arguments of calls stay as they were written', () => {
    const given = '{"n": 12345678901234567890, "a":1.0}';
    const inner = { ...call, function: { name: 'read', arguments: given } };
    const [message] = says({ role: 'assistant', tool_calls: [inner] }).messages;
    expect(message).toMatchObject({ tool_calls: [{ function: { arguments: given } }] });
  });

  test.each(['{"path":"a', '[1]', '"{}"', '5', '{}}', 'path=a'])(
    'a call whose arguments are %s has none for the model',
    (given) => {
      const broken = { ...call, function: { name: 'read', arguments: given } };
      const answer = { role: 'assistant', tool_calls: [call, broken] };
      const { messages: read, damagedCalls } = chat({ messages: [...messages, answer] });
      expect(read[1]).toEqual({ role: 'assistant', content: null, tool_calls: [call, call] });
      expect(damagedCalls).toEqual(['messages[1].tool_calls[1].function.arguments']);
    },
  );

  test.each(['', ' ', 'null', ' {"a": [1]} '])('arguments that are %j stay so', (given) => {
    const asked = { ...call, function: { name: 'read', arguments: given } };
    const { messages: read, damagedCalls } = says({ role: 'assistant', tool_calls: [asked] });
    expect(read).toMatchObject([{ tool_calls: [asked] }]);
    expect(damagedCalls).toEqual([]);
  });

  test.each([
    [{ content: 'x' }, 'messages[0].role'],
    [{ role: 'function', content: 'x' }, 'messages[0].role'],
    [{ role: 'user' }, 'messages[0].content'],
    [{ role: 'user', content: 5 }, 'messages[0].content'],
    [
      { role: 'user', content: [{ type: 'image_url', image_url: {} }] },
      'messages[0].content[0].type',
    ],
    [{ role: 'user', content: [{ type: 'text' }] }, 'messages[0].content[0].text'],
    [{ role: 'user', content: 'x', name: 5 }, 'messages[0].name'],
    [{ role: 'tool', content: 'x' }, 'messages[0].tool_call_id'],
    [{ role: 'assistant' }, 'messages[0].content'],
    [{ role: 'assistant', tool_calls: [{ ...call, id: 1 }] }, 'messages[0].tool_calls[0].id'],
    [
      { role: 'assistant', tool_calls: [{ ...call, type: 'custom' }] },
      'messages[0].tool_calls[0].type',
    ],
    [
      { role: 'assistant', tool_calls: [{ ...call, function: { name: 'f', arguments: {} } }] },
      'messages[0].tool_calls[0].function.arguments',
    ],
  ])('%j is refused', (message, param) => {
    expect(refusal(() => says(message))).toMatchObject({ status: 400, param });
  });
});

describe('tools and formats', () => {
  test('definitions go to the template as they are', () => {
    const tools = [{ ...tool, extra: 1, function: { ...tool.function, strict: true } }];
    const { options } = chat({ tools, tool_choice: 'required', parallel_tool_calls: false });
    expect(options).toEqual({ tools, toolChoice: 'required', parallelToolCalls: false });
    const named = { type: 'function', function: { name: 'read' } };
    expect(chat({ tools, tool_choice: named }).options.toolChoice).toEqual({ name: 'read' });
  });

  test('formats', () => {
    const schema = { type: 'object' };
    expect(chat(format({ name: 'x', schema, strict: true })).options.responseFormat).toEqual({
      ...{ type: 'json_schema', name: 'x', schema },
    });
    const { options } = chat({ response_format: { type: 'json_object' } });
    expect(options.responseFormat).toEqual({ type: 'json_object' });
  });

  const named = (name: string) => ({ type: 'function', function: { name } });
  test.each([
    [{ tools: [{ ...tool, type: 'custom' }] }, 'tools[0].type'],
    [{ tools: [named('a b')] }, 'tools[0].function.name'],
    [{ tools: [named('x'.repeat(129))] }, 'tools[0].function.name'],
    [{ tools: [named('</function>')] }, 'tools[0].function.name'],
    [{ tools: Array(129).fill(tool) }, 'tools'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ tools: [tool], tool_choice: 'any' }, 'tool_choice'],
    [{ tools: [tool], tool_choice: named('write') }, 'tool_choice.function.name'],
    [{ tools: [tool], tool_choice: { type: 'allowed_tools' } }, 'tool_choice.type'],
    [{ functions: [] }, 'functions'],
    [{ function_call: 'auto' }, 'function_call'],
    [{ response_format: 'json' }, 'response_format'],
    [{ response_format: { type: 'xml' } }, 'response_format.type'],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
    [format({ schema: {} }), 'response_format.json_schema.name'],
    [format({ name: 'x' }), 'response_format.json_schema.schema'],
    [format({ name: 'x', schema: [] }), 'response_format.json_schema.schema'],
  ])('%j is refused', (fields, param) => {
    expect(refusal(() => chat(fields))).toMatchObject({ status: 400, param });
  });
});

describe('options', () => {
  test.each([
    [{ temperature: '1' }, 'temperature', 'invalid_type'],
    [{ temperature: 2.5 }, 'temperature', 'invalid_value'],
    [{ top_p: -0.1 }, 'top_p', 'invalid_value'],
    [{ top_k: 1.5 }, 'top_k', 'invalid_type'],
    [{ max_tokens: 0 }, 'max_tokens', 'invalid_value'],
    [{ max_tokens: 0, max_completion_tokens: 5 }, 'max_tokens', 'invalid_value'],
    [{ seed: 0.5 }, 'seed', 'invalid_type'],
    [{ seed: Infinity }, 'seed', 'invalid_type'],
    [{ max_tokens: 1e300 }, 'max_tokens', 'invalid_value'],
    [{ n: 2 }, 'n', 'unsupported_value'],
    [{ stop: ['a', 1] }, 'stop[1]', 'invalid_type'],
    [{ stop: '' }, 'stop', 'invalid_value'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'invalid_value'],
    [{ top_logprobs: 2 }, 'top_logprobs', 'invalid_value'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs', 'invalid_value'],
    [{ logit_bias: { 1000: 1 } }, 'logit_bias', 'invalid_value'],
    [{ logit_bias: { '01x': 1 } }, 'logit_bias', 'invalid_value'],
    [{ logit_bias: { 1: 101 } }, 'logit_bias.1', 'invalid_value'],
    [{ stream: 1 }, 'stream', 'invalid_type'],
    [{ stream_options: { include_usage: 1 } }, 'stream_options.include_usage', 'invalid_type'],
    [{ user: 1 }, 'user', 'invalid_type'],
    [{ model: 1 }, 'model', 'invalid_type'],
    [{ messages: {} }, 'messages', 'invalid_type'],
    [{ messages: undefined }, 'messages', 'missing_required_parameter'],
    [{ messages: Array(10_001).fill(1) }, 'messages', 'invalid_value'],
  ])('%j is refused', (fields, param, code) => {
    expect(refusal(() => chat(fields))).toEqual({ status: 400, param, code });
  });

  test('messages name both bounds', () => {
    const most = Number.MAX_SAFE_INTEGER;
    expect(() => chat({ max_tokens: 1e300 })).toThrow(
      `max_tokens must be from 1 to ${most}, not 1e+300`,
    );
    expect(() => chat({ top_logprobs: 21 })).toThrow('top_logprobs must be from 0 to 20, not 21');
  });

  test('seeds of 64 bits are taken, and stay apart', () => {
    const seedOf = (seed: number) => chat({ seed }).options.seed!;
    for (const seed of [0, -7, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      expect(seedOf(seed)).toBe(seed);
    }
    // Neighbours among the numbers that JSON can tell apart.
    const large = Array.from({ length: 1000 }, (_, i) => 2 ** 62 + i * 2 ** 10);
    const seeds = [...large, ...large.map((seed) => -seed), 2 ** 63, -(2 ** 63)].map(seedOf);
    expect(new Set(seeds).size).toBe(2002);
    expect(seeds.filter((seed) => !Number.isSafeInteger(seed))).toEqual([]);
    expect(seedOf(2 ** 63)).toBe(seedOf(2 ** 63));
  });

  test.each([null, 1, 'x', []])('a body that is %j is refused', (body) => {
    const expected = { status: 400, param: undefined, code: 'invalid_type' };
    expect(refusal(() => readChatRequest(body, serving))).toEqual(expected);
  });

  test('what is nested too deep is refused, however wide', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep, 2];
    expect(refusal(() => chat({ metadata: deep })).status).toBe(400);
    expect(chat({ metadata: Array(100_000).fill([1]) })).toEqual(chat());
  });
});

describe('prompts of completions', () => {
  test('text, token ids, or a list of one', () => {
    expect(completion({ prompt: ['b'] }).prompt).toBe('b');
    expect(completion({ prompt: [1, 2] }).prompt).toEqual({ tokens: [1, 2] });
    expect(completion({ prompt: [[1, 2]] }).prompt).toEqual({ tokens: [1, 2] });
    expect(completion({ echo: false, suffix: '', best_of: 1, logprobs: 2 }).options).toEqual({
      ...{ maxTokens: 16, logprobs: 2 },
    });
    for (const nothing of [
      { response_format: null, tools: null, tool_choice: null },
      { response_format: { type: 'text' }, tools: [], tool_choice: 'none' },
    ]) {
      expect(completion(nothing)).toEqual(completion());
    }
  });

  test.each([
    [{ prompt: undefined }, 'prompt'],
    [{ prompt: '' }, 'prompt'],
    [{ prompt: [] }, 'prompt'],
    [{ prompt: [[]] }, 'prompt'],
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: [[1], [2]] }, 'prompt'],
    [{ prompt: [1, 1000] }, 'prompt[1]'],
    [{ prompt: [1, 'a'] }, 'prompt[1]'],
    [{ prompt: {} }, 'prompt'],
    [{ echo: true }, 'echo'],
    [{ suffix: 'x' }, 'suffix'],
    [{ best_of: 2 }, 'best_of'],
    [{ response_format: { type: 'json_object' } }, 'response_format'],
    [format({ name: 'x', schema: {} }), 'response_format'],
    [{ response_format: 'json' }, 'response_format'],
    [{ tools: [tool] }, 'tools'],
    [{ tool_choice: 'auto' }, 'tool_choice'],
    [{ tool_choice: { type: 'function', function: { name: 'read' } } }, 'tool_choice'],
    [{ logprobs: true }, 'logprobs'],
    [{ logprobs: 21 }, 'logprobs'],
  ])('%j is refused', (fields, param) => {
    expect(refusal(() => completion(fields))).toMatchObject({ status: 400, param });
  });
});

test('a text that cannot fit is refused before it is cut into tokens', () => {
  const code = 'context_length_exceeded';
  const content = 'x'.repeat(30_000);
  const both = [1, 2].map(() => ({ role: 'user', content }));
  expect(refusal(() => chat({ messages: both }))).toEqual({ status: 400, param: 'messages', code });
  expect(chat({ messages: both.slice(1) }).messages.length).toBe(1);
  // Characters that are composed count once.
  expect(completion({ prompt: 'e\u0301'.repeat(30_000) }).prompt).toHaveLength(60_000);
  const prompt = 'x'.repeat(60_000);
  expect(refusal(() => completion({ prompt }))).toEqual({ status: 400, param: 'prompt', code });
});

describe('names', () => {
  test('the chosen one and that of the file; the path is not told', () => {
    expect(serving.names.all).toEqual(['coder', 'Qwen3-Coder-30B']);
    expect(chat({ model: 'Qwen3-Coder-30B' }).model).toBe('Qwen3-Coder-30B');
    for (const model of ['gpt-4o', '/models/Qwen3-Coder-30B.gguf', '', '../Qwen3-Coder-30B']) {
      expect(refusal(() => chat({ model }))).toEqual({
        ...{ status: 404, param: 'model', code: 'model_not_found' },
      });
    }
    expect(() => chat({ model: 'gpt-4o' })).toThrow("use 'coder', 'Qwen3-Coder-30B'");
  });
});
