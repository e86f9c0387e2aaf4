import type { Random } from '../../kernels-test/random.ts';

/** Chats that a server answers, to be damaged. */
const chats: readonly object[] = [
  { messages: [{ role: 'user', content: 'Hello!' }] },
  {
    messages: [
      { role: 'system', content: 'You are terse.' },
      { role: 'user', content: [{ type: 'text', text: 'Hello!' }] },
    ],
    temperature: 0,
    top_p: 0.9,
    frequency_penalty: 0.5,
    presence_penalty: -0.5,
    seed: 7,
    stop: ['\n', 'x'],
    logit_bias: { '17': -5, '18': 100 },
    n: 1,
    user: 'ada',
  },
  {
    messages: [{ role: 'user', content: 'Hello!' }],
    stream: true,
    stream_options: { include_usage: true },
    logprobs: true,
    top_logprobs: 2,
  },
  {
    messages: [
      { role: 'user', content: 'Read a.py' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_1', type: 'function', function: { name: 'read', arguments: '{"path":"a"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'x = 1' },
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'read',
          description: 'Read a file',
          strict: true,
          parameters: {
            type: 'object',
            properties: { path: { type: 'string' } },
            required: ['path'],
            additionalProperties: false,
          },
        },
      },
    ],
    tool_choice: 'auto',
    parallel_tool_calls: false,
  },
  {
    messages: [{ role: 'user', content: 'Describe it.' }],
    tools: [{ type: 'function', function: { name: 'list', parameters: { type: 'object' } } }],
    tool_choice: { type: 'function', function: { name: 'list' } },
  },
  {
    messages: [{ role: 'user', content: 'Describe it.' }],
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: 'thing',
        strict: true,
        schema: {
          type: 'object',
          properties: { n: { type: 'integer', minimum: 0 }, kind: { enum: ['a', 'b'] } },
          required: ['n', 'kind'],
        },
      },
    },
  },
  { messages: [{ role: 'user', content: 'An object.' }], response_format: { type: 'json_object' } },
];

/** And completions. */
const completions: readonly object[] = [
  { prompt: 'def add(a, b):', suffix: '', echo: false, best_of: 1 },
  { prompt: [17, 18, 19], logprobs: 2, stop: '\n', stream: true, temperature: 1.5, seed: 1 },
];

/** What is put where something else was. */
const intruders: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e308,
    -1e308,
    1e-320,
    2 ** 53,
    2 ** 31,
    -(2 ** 31),
  ],
  ...['', ' ', '\0', 'auto', 'none', 'required', 'user', 'tool', 'function', 'NaN', '1', 'é👩‍💻'],
  ...['\ud800', '\udfff\ud800', '<|im_end|>', '<tool_call>', '{{ messages }}', '../../etc/passwd'],
  ...[
    [],
    {},
    [[]],
    [null],
    [{}],
    { type: 'text' },
    { type: 'function' },
    { $ref: '#' },
    'x'.repeat(5000),
  ],
];

const keys = [
  ...['model', 'messages', 'role', 'content', 'type', 'text', 'image_url', 'name', 'tools'],
  ...['function', 'functions', 'parameters', 'tool_choice', 'tool_calls', 'tool_call_id', 'id'],
  ...['arguments', 'stream', 'stop', 'seed', 'temperature', 'top_p', 'top_k', 'n', 'logprobs'],
  ...['top_logprobs', 'logit_bias', 'response_format', 'schema', 'json_schema', 'properties'],
  ...['required', 'anyOf', '$ref', 'pattern', 'minLength', 'items', 'prompt', 'suffix', 'echo'],
  ...['constructor', 'toString', 'hasOwnProperty', 'best_of', 'min_p', '0', ''],
];

type Container = Record<string, unknown> | unknown[];

/** A request that is valid, or damaged here and there, and asks for a few tokens at most. */
export function fuzzedRequest(random: Random, model: string, mostTokens: number) {
  const isChat = random.below(8) > 0;
  const body = fuzzedBody(random, isChat ? chats : completions, model, mostTokens);
  return { url: isChat ? '/v1/chat/completions' : '/v1/completions', body };
}

function fuzzedBody(
  random: Random,
  valid: readonly object[],
  model: string,
  mostTokens: number,
): Buffer {
  const body: Record<string, unknown> = { ...structuredClone(pick(random, valid)), model };
  for (let n = random.below(5); n > 0; n--) damage(random, body);
  limitLength(random, body, mostTokens);
  const text = random.below(12) === 0 ? JSON.stringify(anything(random, 5)) : JSON.stringify(body);
  const bytes = Buffer.from(random.below(4) === 0 ? unescaped(text) : text);
  switch (random.below(12)) {
    case 0:
      return flipped(random, bytes);
    case 1:
      return bytes.subarray(0, random.below(bytes.length));
    default:
      return bytes;
  }
}

/** Changes a value somewhere: takes it away, puts another in its place, or puts it elsewhere, too. */
function damage(random: Random, body: Container): void {
  const places = placesIn(body);
  if (places.length === 0) return;
  const [container, key] = pick(random, places);
  const value = (container as Record<string, unknown>)[key];
  switch (random.below(5)) {
    case 0:
      if (Array.isArray(container)) container.splice(Number(key), 1);
      else delete container[key];
      return;
    case 1:
      set(container, key, structuredClone(pick(random, intruders)));
      return;
    case 2:
      set(container, key, anything(random, 3));
      return;
    case 3:
      set(container, key, [value, structuredClone(value)]);
      return;
    default: {
      const [elsewhere] = pick(random, places);
      const copy = structuredClone(value);
      if (Array.isArray(elsewhere)) elsewhere.push(copy);
      else set(elsewhere, pick(random, keys), copy);
    }
  }
}

/** A valid request must not take long. */
function limitLength(random: Random, body: Record<string, unknown>, most: number): void {
  const field = pick(random, ['max_tokens', 'max_completion_tokens']);
  const limit = random.below(10) === 0 ? pick(random, intruders) : 1 + random.below(most);
  body[field] = typeof limit === 'number' ? Math.min(limit, most) : (limit ?? 1);
}

/** All places of values, the innermost included. */
function placesIn(container: Container): [Container, string][] {
  return Object.entries(container).flatMap(([key, value]) => {
    const inner = typeof value === 'object' && value ? placesIn(value as Container) : [];
    return [[container, key] as [Container, string], ...inner];
  });
}

/** Not by assignment: a key may be `__proto__`. */
function set(container: Container, key: string, value: unknown): void {
  const place = { value, writable: true, enumerable: true, configurable: true };
  Object.defineProperty(container, key, place);
}

function anything(random: Random, depth: number): unknown {
  const kind = random.below(depth > 0 ? 4 : 2);
  if (kind < 2) return structuredClone(pick(random, intruders));
  const length = random.below(4);
  if (kind === 2) return Array.from({ length }, () => anything(random, depth - 1));
  const object = {};
  for (let i = 0; i < length; i++) {
    const key = random.below(16) === 0 ? '__proto__' : pick(random, keys);
    set(object, key, anything(random, depth - 1));
  }
  return object;
}

/** JSON with its escapes of surrogates taken back: bytes that are not always UTF-8's. */
function unescaped(text: string): string {
  return text.replace(/\\u(d[89a-f]..)/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function flipped(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let n = random.below(4); n >= 0; n--)
    copy[random.below(copy.length)] ^= 1 << random.below(8);
  return copy;
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.below(from.length)]!;
}
