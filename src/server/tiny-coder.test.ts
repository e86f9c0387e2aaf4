import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadModel } from '../node.ts';
import { createServer } from './index.ts';

test('serves tiny-coder: the same answers as the library gives, and no more memory', async () => {
  const folder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));
  const model = await loadModel(folder, { context: 256, chunk: 64 });
  const app = await createServer(model);
  const post = (body: object) =>
    app.inject({ method: 'POST', url: '/v1/chat/completions', payload: body });
  try {
    const messages = [{ role: 'user' as const, content: 'What is WebGPU?' }];
    let content: string | null = null;
    for await (const part of model.respond(messages, { temperature: 0, maxTokens: 12 })) {
      if (part.type === 'end') content = part.message.content;
    }
    const { gpuBytes } = model.memory();
    const request = { messages, temperature: 0, max_tokens: 12 };
    const whole = (await post(request)).json();
    expect(whole.model).toBe('tiny-coder');
    expect(whole.choices[0]).toMatchObject({ message: { content }, finish_reason: 'length' });
    const { body } = await post({ ...request, stream: true, logprobs: true });
    const chunks = chunksOf(body);
    expect(chunks.map(({ delta }) => delta.content ?? '').join('')).toBe(content);
    const tokens = chunks.flatMap(({ logprobs }) => logprobs?.content ?? []);
    expect(tokens.map(({ token }) => token).join('')).toBe(content);
    const told = tokens.flatMap(({ bytes }) => bytes);
    expect(Buffer.from(told).toString()).toBe(content);
    for (const { logprob } of tokens) expect(logprob).toBeLessThanOrEqual(0);

    // Of a removed stop text nothing is told: only what begins before it.
    const stop = content!.slice(-9);
    const before = content!.slice(0, content!.indexOf(stop));
    const kept = tokens.filter((_, i) => {
      const text = tokens.slice(0, i).map(({ token }) => token);
      return text.join('').length < before.length;
    });
    const asked = { ...request, stop, logprobs: true };
    const [choice] = (await post(asked)).json().choices;
    expect(choice).toMatchObject({ message: { content: before }, finish_reason: 'stop' });
    expect(choice.logprobs.content).toEqual(kept);
    expect(kept.length).toBeLessThan(tokens.length - 1);
    const streamed = chunksOf((await post({ ...asked, stream: true })).body);
    expect(streamed.flatMap(({ logprobs }) => logprobs?.content ?? [])).toEqual(kept);

    const long = 'word '.repeat(300);
    const refused = await post({ messages: [{ role: 'user', content: long }], stream: true });
    expect(refused.statusCode).toBe(400);
    expect(refused.json().error.code).toBe('context_length_exceeded');
    expect(refused.body).not.toContain('/models/');
    expect(model.memory().gpuBytes).toBe(gpuBytes);

    expect((await app.inject('/health')).statusCode).toBe(200);
    await model.dispose();
    expect((await app.inject('/health')).json()).toEqual({ state: 'failed' });
    expect((await post(request)).statusCode).toBe(503);
    expect((await app.inject('/metrics')).body).toContain('\nmowgli_gpu_bytes 0\n');
  } finally {
    await app.close();
    await model.dispose();
  }
});

const chunksOf = (body: string) =>
  body
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)).choices[0]);
