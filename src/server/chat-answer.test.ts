import { describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { end, FakeModel } from '../../tests/server/fake-model.ts';
import type { RespondEnd, RespondPart, ToolCall } from '../index.ts';
import { ChatAnswer } from './chat-answer.ts';
import type { ChatRequest } from './requests.ts';

const texts = new FakeModel();
const request = (fields: Partial<ChatRequest> = {}): ChatRequest => ({
  ...{ model: 'fake', user: '', stream: true, includeUsage: false, options: {} },
  ...{ messages: [], damagedCalls: [] },
  ...fields,
});

interface Chunk {
  id: string;
  object: string;
  choices: {
    delta: {
      role?: string;
      content?: string;
      reasoning_content?: string;
      tool_calls?: CallDelta[];
    };
    logprobs: { content: { token: string }[] } | null;
    finish_reason: string | null;
  }[];
  usage?: object | null;
}
interface CallDelta {
  index: number;
  id?: string;
  type?: string;
  function: { name?: string; arguments: string };
}

const chunksOf = (parts: readonly RespondPart[], of = request()): Chunk[] => {
  const answer = new ChatAnswer(of, texts);
  return parts.flatMap((part) => [...answer.chunks(part)]) as Chunk[];
};

/** What a client puts together, as OpenAI's does: what comes once is set, what comes in pieces is added. */
function assemble(chunks: readonly Chunk[]) {
  let content = '';
  let reasoning = '';
  const calls: CallDelta[] = [];
  for (const { choices } of chunks) {
    const { delta } = choices[0] ?? { delta: {} };
    content += delta.content ?? '';
    reasoning += delta.reasoning_content ?? '';
    for (const piece of delta.tool_calls ?? []) {
      calls[piece.index] ??= { ...piece, function: { name: '', arguments: '' } };
      const call = calls[piece.index]!;
      call.function.name = (call.function.name ?? '') + (piece.function.name ?? '');
      call.function.arguments += piece.function.arguments;
    }
  }
  const ends = chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? []);
  return { content, reasoning, calls: calls.map(({ index, ...call }) => call), ends };
}

const callParts = (index: number, name: string, given: string, whole = true): RespondPart[] => [
  { type: 'tool-call-start', index, name, id: `call_${index}` },
  ...[...given].map((delta) => ({ type: 'tool-call-delta', index, delta }) as const),
  whole
    ? { type: 'tool-call-end', index, name, arguments: given, id: `call_${index}` }
    : { type: 'tool-call-incomplete', index, name, arguments: given },
];

const call = (id: number, name: string, given: string): ToolCall => ({
  ...{ id: `call_${id}`, type: 'function', function: { name, arguments: given } },
});

test('chunks add up to the whole answer: random answers', () => {
  const random = new Random('chat answers');
  for (let run = 0; run < 300; run++) {
    const parts: RespondPart[] = [];
    const tool_calls: ToolCall[] = [];
    let content = '';
    let reasoning_content = '';
    const incompleteCalls: { name: string; arguments: string }[] = [];
    for (let i = random.below(8); i > 0; i--) {
      const text = 'ab'.repeat(1 + random.below(3));
      const index = tool_calls.length + incompleteCalls.length;
      switch (random.below(4)) {
        case 0:
          parts.push({ type: 'text', text });
          content += text;
          break;
        case 1:
          parts.push({ type: 'reasoning', text });
          reasoning_content += text;
          break;
        case 2:
          parts.push(...callParts(index, text, `{"x":${index}}`));
          tool_calls.push(call(index, text, `{"x":${index}}`));
          break;
        default:
          parts.push(...callParts(index, text, '{"x":', false));
          incompleteCalls.push({ name: text, arguments: '{"x":' });
      }
    }
    const calls = tool_calls.length > 0;
    const last: RespondEnd = {
      ...end(''),
      message: {
        role: 'assistant',
        content: content || (calls ? null : ''),
        ...(reasoning_content && { reasoning_content }),
        ...(calls && { tool_calls }),
      },
      ...{ incompleteCalls, finishReason: calls ? 'tool-calls' : 'length' },
    };
    parts.push(last);
    const whole = new ChatAnswer(request(), texts).whole(parts) as {
      choices: { message: object; finish_reason: string }[];
    };
    const [{ message, finish_reason }] = whole.choices;
    const { content: streamed, reasoning, calls: told, ends } = assemble(chunksOf(parts));
    expect(message).toEqual({ ...last.message, refusal: null });
    expect({ streamed, reasoning, told }).toEqual({
      ...{ streamed: content, reasoning: reasoning_content, told: tool_calls },
    });
    expect(ends).toEqual([finish_reason]);
  }
});

test('a call: who it is, then its arguments', () => {
  const parts = [...callParts(0, 'read', '{"a":1}'), { ...end(''), finishReason: 'tool-calls' }];
  const chunks = chunksOf(parts as RespondPart[]);
  expect(chunks.map(({ choices }) => choices[0]?.delta)).toEqual([
    { role: 'assistant', content: '' },
    {
      tool_calls: [
        { index: 0, id: 'call_0', type: 'function', function: { name: 'read', arguments: '' } },
      ],
    },
    { tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] },
    {},
  ]);
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls');
});

describe('an incomplete call', () => {
  test('is not told, and is no reason to run tools', () => {
    const parts = [...callParts(0, 'write', '{"path":"a', false), end('', 'length')];
    const { calls, content, ends } = assemble(chunksOf(parts));
    expect({ calls, content, ends }).toEqual({ calls: [], content: '', ends: ['length'] });
  });

  test('leaves no gap between those that are whole', () => {
    const parts = [
      ...callParts(0, 'a', '{', false),
      ...callParts(1, 'b', '{}'),
      ...callParts(2, 'c', '{"x":1}'),
      { ...end(''), finishReason: 'tool-calls' } as RespondEnd,
    ];
    const { calls } = assemble(chunksOf(parts));
    expect(calls).toEqual([call(1, 'b', '{}'), call(2, 'c', '{"x":1}')]);
  });
});

describe('usage', () => {
  test('comes last, when it was asked for, and is null until then', () => {
    const chunks = chunksOf(
      [{ type: 'text', text: 'x' }, end('x')],
      request({ includeUsage: true }),
    );
    expect(chunks.slice(0, -1).map(({ usage }) => usage)).toEqual([null, null, null]);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: {
        ...{ prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 },
        prompt_tokens_details: { cached_tokens: 4 },
      },
    });
  });

  test('is not mentioned otherwise', () => {
    for (const chunk of chunksOf([end('')])) expect(chunk).not.toHaveProperty('usage');
  });
});

describe('probabilities', () => {
  const logprobs = (token: number): RespondPart => ({
    ...{
      type: 'logprobs',
      logprobs: [{ token, logprob: -Infinity, top: [{ token, logprob: -1 }] }],
    },
  });
  const options = { logprobs: 1 };

  test('all tokens have them once, those of markup with the chunk that they led to', () => {
    const parts = [
      logprobs(65),
      { type: 'text', text: 'A' },
      ...[66, 67].map(logprobs),
      ...callParts(0, 'f', '{}'),
      logprobs(68),
      end('A'),
    ] as RespondPart[];
    const chunks = chunksOf(parts, request({ options }));
    const told = chunks.map(({ choices }) =>
      choices[0]?.logprobs?.content.map(({ token }) => token).join(''),
    );
    expect(told).toEqual([undefined, 'A', 'BC', undefined, 'D']);
    const whole = new ChatAnswer(request({ options }), texts).whole(parts);
    expect(whole).toMatchObject({
      choices: [{ logprobs: { content: ['A', 'B', 'C', 'D'].map((token) => ({ token })) } }],
    });
  });

  test('are JSON: bytes, and no infinity', () => {
    const [, chunk] = chunksOf([logprobs(0xc3), { type: 'text', text: 'x' }], request({ options }));
    expect(chunk?.choices[0]?.logprobs).toEqual({
      content: [
        {
          ...{ token: '\ufffd', logprob: -9999, bytes: [0xc3] },
          top_logprobs: [{ token: '\ufffd', logprob: -1, bytes: [0xc3] }],
        },
      ],
      refusal: null,
    });
  });
});

test('an id is of one answer, and all of its chunks have it', () => {
  const ids = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const own = new Set(chunksOf([{ type: 'text', text: 'x' }, end('x')]).map(({ id }) => id));
    expect(own.size).toBe(1);
    for (const id of own) ids.add(id);
  }
  expect(ids.size).toBe(100);
});
