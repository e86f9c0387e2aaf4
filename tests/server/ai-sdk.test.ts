/** Vercel's AI SDK with its provider for servers that speak OpenAI's protocol. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  APICallError,
  generateText,
  type LanguageModel,
  NoObjectGeneratedError,
  Output,
  stepCountIs,
  streamText,
  tool,
} from 'ai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type ChatMessage, loadModel, type Model, type RespondOptions } from '../../src/node.ts';
import { answerOf, type Serving, serve, TokenCount, tinyCoder, until } from './serving.ts';

let model: Model;
let serving: Serving;
let tiny: LanguageModel;

beforeAll(async () => {
  model = await loadModel(tinyCoder, { context: 1024, chunk: 256 });
  serving = await serve(model, { apiKey: 'sesame' });
  tiny = provider('sesame')('tiny-coder');
});
afterAll(async () => {
  await serving?.[Symbol.asyncDispose]();
  await model?.dispose();
});

const provider = (apiKey: string) =>
  createOpenAICompatible({
    ...{ name: 'mowgli', baseURL: `${serving.url}/v1`, apiKey },
    ...{ includeUsage: true, supportsStructuredOutputs: true },
  });

const once = { temperature: 0, maxRetries: 0 } as const;
const question = 'What is WebGPU?';
const asked: ChatMessage[] = [{ role: 'user', content: question }];

describe('text', () => {
  test('whole', async () => {
    const { message, usage } = await answerOf(model, asked);
    const result = await generateText({ model: tiny, prompt: question, ...once });
    expect(result.text).toBe(message.content);
    expect(result.finishReason).toBe('stop');
    expect(result.usage).toMatchObject({
      inputTokens: usage.promptTokens,
      outputTokens: usage.completionTokens,
      totalTokens: usage.promptTokens + usage.completionTokens,
    });
    expect(result.response.modelId).toBe('tiny-coder');
  });

  test('streamed', async () => {
    const { message, usage } = await answerOf(model, asked);
    const result = streamText({ model: tiny, prompt: question, ...once });
    const pieces: string[] = [];
    for await (const piece of result.textStream) pieces.push(piece);
    expect(pieces.join('')).toBe(message.content);
    expect(pieces.length, 'streamed, not at once').toBeGreaterThan(5);
    expect(await result.finishReason).toBe('stop');
    expect((await result.usage).outputTokens).toBe(usage.completionTokens);
  });

  test('a system message, a limit, a stop text and a seed are heeded', async () => {
    const system = 'You are a helpful assistant.';
    const whole = await answerOf(model, [{ role: 'system', content: system }, ...asked]);
    const text = whole.message.content!;
    const short = await generateText({
      ...{ model: tiny, system, prompt: question, maxOutputTokens: 4, ...once },
    });
    expect(short.finishReason).toBe('length');
    expect(text.startsWith(short.text)).toBe(true);
    const stop = text.slice(text.length / 2, text.length / 2 + 6);
    const stopped = await generateText({
      ...{ model: tiny, system, prompt: question, stopSequences: [stop], ...once },
    });
    expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
    const say = async () =>
      (
        await generateText({
          ...{ model: tiny, prompt: question, seed: 7, temperature: 2, topP: 1, maxRetries: 0 },
          maxOutputTokens: 8,
        })
      ).text;
    expect(await say()).toBe(await say());
  });
});

describe('tools', () => {
  const file = 'def add(a, b):\n    return a + b\n';
  const offered = (onCall: (input: unknown) => void) => ({
    read_file: tool({
      description: 'Read a file',
      inputSchema: z.object({ path: z.string().describe('Path to the file') }),
      execute: (input) => {
        onCall(input);
        return file;
      },
    }),
    list_directory: tool({
      description: 'List a directory',
      inputSchema: z.object({ path: z.string().describe('Directory path') }),
      execute: () => 'src',
    }),
  });

  const request = (onCall: (input: unknown) => void) => ({
    ...{ model: tiny, prompt: 'Read src/app.py', tools: offered(onCall), ...once },
    ...{ stopWhen: stepCountIs(3), maxOutputTokens: 30 },
  });

  /** The messages and tools that the SDK has sent: as text, or as an object for a stream. */
  const sent = ({ request: { body } }: { request: { body?: unknown } }) =>
    (typeof body === 'string' ? JSON.parse(body) : body) as Pick<RespondOptions, 'tools'> & {
      messages: readonly ChatMessage[];
    };

  const answerTo = async (step: { request: { body?: unknown } }) => {
    const { messages, tools = [] } = sent(step);
    return (await answerOf(model, messages, { tools, maxTokens: 30 })).message;
  };

  test('steps: the call, its result, the answer', async () => {
    const inputs: unknown[] = [];
    const { steps, text } = await generateText(request((input) => inputs.push(input)));
    expect(inputs).toEqual([{ path: 'src/app.py' }]);
    expect(steps.length).toBe(2);
    expect(steps[0].finishReason).toBe('tool-calls');
    expect(steps[0].toolCalls).toMatchObject([
      { toolName: 'read_file', input: { path: 'src/app.py' } },
    ]);
    expect(steps[0].text).toBe('');
    expect(sent(steps[1]).messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool']);
    expect(text).toBe((await answerTo(steps[1])).content);
    expect(text).toMatch(/^The file /);
  });

  test('streamed: the input comes in pieces, and whole', async () => {
    const inputs: unknown[] = [];
    const { fullStream, steps } = streamText(request((input) => inputs.push(input)));
    const deltas: string[] = [];
    const calls: unknown[] = [];
    let text = '';
    for await (const part of fullStream) {
      if (part.type === 'tool-input-delta') deltas.push(part.delta);
      if (part.type === 'tool-call') calls.push(part.input);
      if (part.type === 'text-delta') text += part.text;
      expect(part.type).not.toBe('error');
    }
    expect(inputs).toEqual([{ path: 'src/app.py' }]);
    expect(calls).toEqual(inputs);
    expect(JSON.parse(deltas.join(''))).toEqual(calls[0]);
    expect(text).toBe((await answerTo((await steps)[1])).content);
  });

  test.each([
    ['required', (names: string[]) => names.length > 0],
    ['none', (names: string[]) => names.length === 0],
    [
      { type: 'tool', toolName: 'list_directory' },
      (names: string[]) => names.length > 0 && names.every((name) => name === 'list_directory'),
    ],
  ] as const)('choice %j', async (toolChoice, holds) => {
    const prompt = toolChoice === 'none' ? 'Read src/app.py' : 'Hello!';
    const { toolCalls } = await generateText({
      ...{ model: tiny, prompt, tools: offered(() => {}), toolChoice, ...once },
      maxOutputTokens: 60,
    });
    const names = toolCalls.map(({ toolName }) => toolName);
    expect(holds(names), names.join()).toBe(true);
  });
});

describe('output', () => {
  const schema = z.object({
    language: z.enum(['python', 'typescript']),
    tags: z.array(z.enum(['web', 'cli'])).max(2),
    tested: z.boolean(),
  });
  const request = () => ({
    ...{ model: tiny, prompt: 'Describe the project.', maxOutputTokens: 60, ...once },
    output: Output.object({ schema }),
  });

  test('an object of a schema', async () => {
    const { output } = await generateText(request());
    expect(schema.parse(output)).toEqual(output);
  });

  test('streamed, it grows to the same', async () => {
    const { output } = await generateText(request());
    const result = streamText(request());
    let last: unknown;
    for await (const partial of result.partialOutputStream) last = partial;
    expect(last).toEqual(output);
    expect(await result.output).toEqual(output);
  });

  test('a choice', async () => {
    const options = ['python', 'typescript', 'rust'] as const;
    const { output } = await generateText({
      ...request(),
      output: Output.choice({ options: [...options] }),
    });
    expect(options).toContain(output);
  });

  test('what has no room is told of, not made up', async () => {
    const long = z.object({ text: z.string().min(200) });
    const result = generateText({
      ...{ ...request(), maxOutputTokens: 8 },
      output: Output.object({ schema: long }),
    }).then(({ output }) => output);
    const error = await result.catch((e) => e);
    expect(NoObjectGeneratedError.isInstance(error) || APICallError.isInstance(error)).toBe(true);
  });
});

test('an abort ends the generation within a token', async () => {
  using count = new TokenCount(model);
  const leaving = new AbortController();
  // Source code, which tiny-coder continues for hundreds of tokens.
  const prompt = 'Write a Python function that checks if a number is prime.';
  const { textStream } = streamText({
    ...{ model: tiny, prompt, abortSignal: leaving.signal, ...once },
    onError: () => {},
  });
  let pieces = 0;
  let atAbort = 0;
  for await (const _piece of textStream) {
    if (++pieces !== 5) continue;
    atAbort = count.tokens;
    leaving.abort();
  }
  await until('the generation ended', () => count.running === 0);
  expect(count.tokens).toBeLessThanOrEqual(atAbort + 3);
  const whole = await answerOf(model, [{ role: 'user', content: prompt }]);
  expect(whole.tokens.length, 'it would have gone on').toBeGreaterThan(count.tokens - 20);
});

describe('errors carry the status and our message', () => {
  const failure = async (of: LanguageModel, options: object = {}) => {
    const error = await generateText({ model: of, prompt: 'Hello!', ...once, ...options }).catch(
      (e) => e,
    );
    if (!APICallError.isInstance(error)) throw error;
    return error;
  };

  test('a wrong key', async () => {
    const { statusCode, isRetryable } = await failure(provider('other')('tiny-coder'));
    expect({ statusCode, isRetryable }).toEqual({ statusCode: 401, isRetryable: false });
  });

  test('another model', async () => {
    const { statusCode, message } = await failure(provider('sesame')('gpt-4o'));
    expect(statusCode).toBe(404);
    expect(message).toContain('gpt-4o');
  });

  test('a value out of range', async () => {
    const { statusCode, message } = await failure(tiny, { topP: 7 });
    expect(statusCode).toBe(400);
    expect(message).toContain('top_p');
  });

  test('a prompt that is too long, also of a stream', async () => {
    const prompt = 'word '.repeat(model.context);
    expect((await failure(tiny, { prompt })).statusCode).toBe(400);
    const errors: unknown[] = [];
    const { textStream } = streamText({
      ...{ model: tiny, prompt, ...once },
      onError: ({ error }) => {
        errors.push(error);
      },
    });
    for await (const _piece of textStream) throw new Error('text of a prompt that is too long');
    expect(errors).toMatchObject([{ statusCode: 400 }]);
  });
});
