import { getEventListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { uniform } from '../../kernels-test/reference/random.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import {
  type GenerateOptions,
  loadModel,
  loadModelOn,
  type Model,
  NodeFolder,
  openGpuInNode,
} from '../../src/node.ts';
import { complete, completion, greedy } from './complete.ts';
import {
  madeModel,
  Overlay,
  type ReferencePrompt,
  referencePrompts,
  tinyCoder,
} from './folders.ts';

const context = 512;
const chunk = 64;
let gpu: Gpu;
let model: Model;
let prompts: ReadonlyMap<string, ReferencePrompt>;

beforeAll(async () => {
  prompts = new Map((await referencePrompts()).map((prompt) => [prompt.name, prompt]));
  const open = async () => {
    gpu = await openGpuInNode();
    return gpu;
  };
  model = await loadModelOn(open, await NodeFolder.open(tinyCoder), { context, chunk });
});
afterAll(() => model?.dispose());

const tokensOf = (name: string) => ({ tokens: prompts.get(name)!.ids });
const greedyOf = (name: string) => prompts.get(name)!.greedy_ids;

describe('what comes out', () => {
  test('the parts add up to the end', async () => {
    const { end, text, tokens, parts } = await complete(model, tokensOf('chat_hello'), greedy);
    expect(end?.finishReason).toBe('stop');
    expect(parts.at(-1)).toBe(end);
    expect(text).toBe('Hello! What would you like to do?');
    expect(end?.text).toBe(text);
    expect(end?.tokens).toEqual(tokens);
    expect(model.detokenize(tokens)).toBe(text);
    expect(parts.length, 'streamed, not at once').toBeGreaterThan(5);
  });

  test('text and messages are prompts too', async () => {
    const prompt = prompts.get('chat_hello')!;
    const messages = [{ role: 'user', content: 'Hello!' }] as const;
    const text = model.renderChat(messages);
    const expected = await complete(model, { tokens: model.tokenize(text) }, greedy);
    expect((await complete(model, messages, greedy)).end?.text).toBe(expected.end?.text);
    expect((await complete(model, text, greedy)).end?.text).toBe(expected.end?.text);
    const { error } = await completion(model, '');
    expect(error).toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('there are no tokens to evaluate; give at least one'),
    });
    expect(prompt.ids).toEqual(model.tokenize(model.detokenize(prompt.ids)));
  });

  test('a model without a tokenizer gives ids', async () => {
    await using toy = await loadModel(await madeModel(), { context: 32, chunk: 8 });
    const options = { ...greedy, maxTokens: 5 };
    const { parts, tokens, end } = await complete(toy, { tokens: [1] }, options);
    expect(parts).toHaveLength(6);
    expect(parts.slice(0, 5)).toEqual(
      tokens.map((id) => ({ type: 'text', text: '', tokens: [id] })),
    );
    expect(end).toMatchObject({ text: '', tokens, finishReason: 'length' });
  });

  test('usage counts tokens and waits', async () => {
    const before = gpu.readbacks;
    const prompt = tokensOf('tool_read'); // several chunks
    const { end } = await complete(model, prompt, { ...greedy, maxTokens: 10 });
    const { usage } = end!;
    expect(usage.promptTokens).toBe(prompt.tokens.length);
    expect(usage.completionTokens).toBe(10);
    // The first token comes with the prompt's readback, each other one with one of its own.
    expect(usage.readbacks).toBe(9);
    expect(gpu.readbacks - before).toBe(10);
    expect(usage.promptMs).toBeGreaterThan(0);
    expect(usage.completionMs).toBeGreaterThan(0);
    expect(usage.promptTokensPerSecond).toBeCloseTo((1000 * 377) / usage.promptMs, 6);
    expect(usage.completionTokensPerSecond).toBeCloseTo(9000 / usage.completionMs, 6);
  });

  test.each<[string, GenerateOptions]>([
    ['candidates', { temperature: 1, topK: 20, seed: 1 }],
    ['all logits', { temperature: 1, topK: 0, topP: 0.9, seed: 1 }],
    ['penalties', { temperature: 0, repetitionPenalty: 1.2, logitBias: { 5: 1 } }],
  ])('one readback per token with %s', async (_, options) => {
    const before = gpu.readbacks;
    const { end } = await complete(model, tokensOf('py_short'), { ...options, maxTokens: 6 });
    const stopped = end!.finishReason === 'stop' ? 1 : 0;
    expect(gpu.readbacks - before).toBe(end!.tokens.length + stopped);
  });

  test('a long prompt reports its progress', async () => {
    const seen: number[] = [];
    const { end } = await complete(model, tokensOf('tool_read'), {
      ...greedy,
      maxTokens: 1,
      onProgress: ({ done, total }) => {
        expect(total).toBe(377);
        seen.push(done);
      },
    });
    expect(end?.tokens).toEqual(greedyOf('tool_read').slice(0, 1));
    expect(seen).toEqual([64, 128, 192, 256, 320]);
  });
});

describe('sampling', () => {
  test.each<[string, GenerateOptions]>([
    ['candidates', { temperature: 1.5, topK: 40 }],
    ['all logits', { temperature: 1.5, topK: 0, topP: 1 }],
  ])('the same seed gives the same text, others differ (%s)', async (_, options) => {
    // An answer that ends at once is like any other such.
    const endless = Object.fromEntries(model.config.eosTokenIds.map((id) => [id, -Infinity]));
    const run = async (seed?: number) => {
      const fixed = { ...options, maxTokens: 12, logitBias: endless };
      const seeded = { ...fixed, ...(seed !== undefined && { seed }) };
      return (await complete(model, tokensOf('py_class'), seeded)).end!.tokens;
    };
    const first = await run(1);
    expect(await run(1)).toEqual(first);
    expect(await run(2)).not.toEqual(first);
    expect(await run()).not.toEqual(await run());
  });

  test('the CPU and the GPU adjust logits alike', async () => {
    const [a, b] = greedyOf('py_short');
    const adjust: GenerateOptions = {
      repetitionPenalty: 1.3,
      presencePenalty: 0.5,
      frequencyPenalty: 0.4,
      logitBias: new Map([
        [a, -1.5],
        [b, Number.NEGATIVE_INFINITY],
        [436, 2],
      ]),
      maxTokens: 16,
    };
    const run = async (options: GenerateOptions) =>
      (await complete(model, tokensOf('py_short'), { ...adjust, ...options })).end!.tokens;
    const onGpu = await run({ temperature: 0 });
    // A top-p so small that only the best token is left, of 30 candidates or of all logits.
    const almost = { temperature: 1, topP: 1e-9, seed: 1 };
    expect(await run({ ...almost, topK: 30 })).toEqual(onGpu);
    expect(await run({ ...almost, topK: 0 })).toEqual(onGpu);
    expect(onGpu).not.toContain(b);
    expect(onGpu).not.toEqual(greedyOf('py_short').slice(0, 16));
  });

  test('a repetition penalty ends repetition', async () => {
    const plain = greedyOf('py_short').slice(0, 16);
    const { end } = await complete(model, tokensOf('py_short'), {
      temperature: 0,
      repetitionPenalty: 1.5,
      maxTokens: 16,
    });
    expect(new Set(end!.tokens).size).toBeGreaterThan(new Set(plain).size);
  });

  test.each<[string, GenerateOptions]>([
    ['greedy', { temperature: 0 }],
    ['candidates', { temperature: 1, topK: 10, seed: 3 }],
    ['all logits', { temperature: 1, topK: 0, topP: 1, seed: 3 }],
  ])('logitBias forces and forbids (%s)', async (_, options) => {
    const prompt = tokensOf('py_class');
    const forced = await complete(model, prompt, {
      ...options,
      repetitionPenalty: 1,
      logitBias: { 1000: 100 },
      maxTokens: 4,
    });
    expect(forced.tokens).toEqual([1000, 1000, 1000, 1000]);
    const allowed = [11, 22, 33];
    const logitBias = new Map<number, number>();
    for (let id = 0; id < model.config.vocabSize; id++) {
      if (!allowed.includes(id)) logitBias.set(id, Number.NEGATIVE_INFINITY);
    }
    const forbidden = await complete(model, prompt, { ...options, logitBias, maxTokens: 4 });
    for (const id of forbidden.tokens) expect(allowed).toContain(id);
  });

  test('rows of the vocabulary beyond the tokenizer are never chosen', async () => {
    const vocab = model.config.vocabSize; // as many as tokens
    const made = await madeModel({
      config: { vocab_size: vocab + 64 },
      edit: (tensor, values, columns) => {
        if (tensor !== 'lm_head.weight') return;
        for (let i = vocab * columns; i < values.length; i++) values[i] *= 1000;
      },
    });
    const tokenizer = await readFile(`${tinyCoder}/tokenizer.json`);
    const folder = new Overlay(made, { 'tokenizer.json': tokenizer });
    await using trap = await loadModel(folder, { context: 64, chunk: 8 });
    const prompt = { tokens: [1, 2, 3] };
    const logits = await trap.logits(prompt.tokens);
    expect(logits.indexOf(Math.max(...logits)), 'the trap').toBeGreaterThanOrEqual(vocab);
    for (const options of [
      { temperature: 0 },
      { temperature: 0, repetitionPenalty: 1.1 },
      { temperature: 1, topK: 50 },
      { temperature: 5, topK: 0 },
    ]) {
      const { tokens } = await complete(trap, prompt, { ...options, seed: 1, maxTokens: 12 });
      expect(tokens).toHaveLength(12);
      for (const id of tokens) expect(id).toBeLessThan(vocab);
    }
  });

  test('what is not said comes from generation_config.json', async () => {
    const run = async (options: GenerateOptions) =>
      (await complete(model, tokensOf('py_class'), { ...options, seed: 4, maxTokens: 12 })).tokens;
    const spelledOut = { temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05 };
    expect(await run({})).toEqual(await run(spelledOut));
    expect(await run({ temperature: 2 })).not.toEqual(await run({}));
  });

  test('more candidates than tokens', async () => {
    await using toy = await loadModel(await madeModel({ config: { vocab_size: 9 } }), {
      context: 64,
      chunk: 8,
    });
    const { tokens } = await complete(toy, { tokens: [1] }, { temperature: 9, topK: 40, seed: 1 });
    expect(new Set(tokens)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7, 8]));
  });
});

describe('where it ends', () => {
  const maxTokens = 24;
  const run = (options: GenerateOptions) =>
    complete(model, tokensOf('py_class'), { ...greedy, maxTokens, ...options });

  test('before a stop text, wherever it is', async () => {
    const { text } = await run({});
    expect(text.length).toBeGreaterThan(40);
    const random = uniform(5);
    for (let i = 0; i < 8; i++) {
      const at = i === 0 ? 0 : Math.floor(random() * (text.length - 8));
      const length = 1 + Math.floor(random() * 8);
      const stop = text.slice(at, at + length);
      const cut = text.slice(0, text.indexOf(stop));
      const { end, text: shown, parts } = await run({ stop: ['never in there', stop] });
      expect(end?.text, `stop ${JSON.stringify(stop)}`).toBe(cut);
      expect(shown).toBe(cut);
      expect(end?.finishReason).toBe('stop');
      let sofar = '';
      for (const part of parts) if (part.type === 'text') sofar += part.text;
      expect(text.startsWith(sofar)).toBe(true);
    }
  });

  test('not before the beginning of a stop text that does not go on', async () => {
    const { text } = await run({});
    const last = `${text.slice(-6)}and more`;
    const { end } = await run({ stop: last });
    expect(end?.text).toBe(text);
    expect(end?.finishReason).toBe('length');
  });

  test('at stopTokenIds', async () => {
    const ids = greedyOf('py_class');
    const { end } = await run({ stopTokenIds: [ids[5]] });
    expect(end?.tokens).toEqual(ids.slice(0, ids.indexOf(ids[5])));
    expect(end?.finishReason).toBe('stop');
  });

  test.each([1, 2, 7])('after maxTokens %i', async (tokens) => {
    const { end } = await run({ maxTokens: tokens });
    expect(end?.tokens).toEqual(greedyOf('py_class').slice(0, tokens));
    expect(end?.finishReason).toBe('length');
  });
});

describe('the end of the context', () => {
  test.each([
    [32, 1],
    [31, 2],
    [20, 13],
  ])('a prompt of %i tokens in a context of 32 gives %i', async (length, expected) => {
    await using small = await loadModel(await madeModel(), { context: 32, chunk: 16 });
    const tokens = Array.from({ length }, (_, i) => i);
    const { end } = await complete(small, { tokens }, greedy);
    expect(end?.tokens).toHaveLength(expected);
    expect(end?.finishReason).toBe('length');
    const fewer = await complete(small, { tokens }, { ...greedy, maxTokens: 100 });
    expect(fewer.end?.tokens).toEqual(end?.tokens);
  });

  test('a longer prompt is refused, and nothing is broken by it', async () => {
    await using small = await loadModel(await madeModel(), { context: 32, chunk: 16 });
    const tokens = Array.from({ length: 33 }, (_, i) => i);
    const refused = {
      code: 'CONTEXT_EXCEEDED',
      message: expect.stringMatching(/33 tokens.*context.*32.*shorten the prompt/s),
    };
    const { error, parts } = await completion(small, { tokens });
    expect(error).toMatchObject(refused);
    expect(parts).toEqual([]);
    await expect(small.logits(tokens)).rejects.toMatchObject({
      ...refused,
      message: expect.stringMatching(/33 tokens do not fit the context of 32.*shorten/s),
    });
    expect(
      (await complete(small, { tokens: [1] }, { ...greedy, maxTokens: 3 })).tokens,
    ).toHaveLength(3);
  });
});

describe('taking turns', () => {
  test('leaving the loop lets the next one in', async () => {
    for await (const part of model.generate(tokensOf('py_class'), greedy)) {
      expect(part.type).toBe('text');
      break;
    }
    const { end } = await complete(model, tokensOf('py_short'), { ...greedy, maxTokens: 4 });
    expect(end?.tokens).toEqual(greedyOf('py_short').slice(0, 4));
  });

  test('an error in the loop does too', async () => {
    const fail = async () => {
      for await (const _ of model.generate(tokensOf('py_class'), greedy)) throw new Error('mine');
    };
    await expect(fail()).rejects.toThrow('mine');
    const { end } = await complete(model, tokensOf('py_short'), { ...greedy, maxTokens: 4 });
    expect(end?.tokens).toEqual(greedyOf('py_short').slice(0, 4));
  });

  test('an error of the listener does too', async () => {
    const mine = new Error('mine');
    const { error, parts } = await completion(model, tokensOf('tool_read'), {
      onProgress: () => {
        throw mine;
      },
    });
    expect(error).toBe(mine);
    expect(parts).toEqual([]);
    const { end } = await complete(model, tokensOf('py_short'), { ...greedy, maxTokens: 4 });
    expect(end?.tokens).toEqual(greedyOf('py_short').slice(0, 4));
  });

  test('generations at the same time give what they give alone', async () => {
    const options = { temperature: 1, topK: 20, maxTokens: 10 };
    const both = () => [
      complete(model, tokensOf('py_class'), { ...options, seed: 1 }),
      complete(model, tokensOf('tool_read'), { ...greedy, maxTokens: 6 }),
      complete(model, tokensOf('py_short'), { ...options, seed: 2 }),
    ];
    const alone = [];
    for (let i = 0; i < 3; i++) alone.push((await both()[i]).tokens);
    const together = await Promise.all(both());
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
    expect(together[1].tokens).toEqual(greedyOf('tool_read').slice(0, 6));
  });

  test('logits do not disturb a generation that waits', async () => {
    const generation = complete(model, tokensOf('py_short'), { ...greedy, maxTokens: 6 });
    const logits = await model.logits(prompts.get('py_class')!.ids);
    const { top20_ids, top20_logits } = prompts.get('py_class')!;
    for (const [i, id] of top20_ids.entries()) expect(logits[id]).toBeCloseTo(top20_logits[i], 3);
    expect((await generation).tokens).toEqual(greedyOf('py_short').slice(0, 6));
  });
});

describe('aborting', () => {
  const aborted = { code: 'ABORTED', message: expect.stringContaining('aborted') };
  afterAll(async () => {
    const { tokens } = await complete(model, tokensOf('py_short'), { ...greedy, maxTokens: 4 });
    expect(tokens, 'the model is fine').toEqual(greedyOf('py_short').slice(0, 4));
  });

  test('before it begins', async () => {
    const signal = AbortSignal.abort('why');
    const { end, error, parts } = await completion(model, tokensOf('py_short'), { signal });
    expect(error).toMatchObject({ ...aborted, cause: 'why' });
    expect(parts).toEqual([end]);
    expect(end).toMatchObject({ finishReason: 'aborted', text: '', tokens: [] });
    expect(end?.usage).toMatchObject({ promptTokens: 9, completionTokens: 0, readbacks: 0 });
  });

  test('while the prompt is evaluated', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const { end, error, parts } = await completion(model, tokensOf('tool_result'), {
      signal: controller.signal,
      onProgress: ({ done }) => {
        seen.push(done);
        if (done === 128) controller.abort();
      },
    });
    expect(seen).toEqual([64, 128]);
    expect(error).toMatchObject(aborted);
    expect(parts).toEqual([end]);
    expect(end).toMatchObject({ finishReason: 'aborted', text: '', tokens: [] });
  });

  test('while it answers', async () => {
    const controller = new AbortController();
    let texts = 0;
    const options = { ...greedy, signal: controller.signal };
    const { end, error, text } = await completion(model, tokensOf('py_class'), options, () => {
      if (++texts === 5) controller.abort();
    });
    expect(error).toMatchObject(aborted);
    expect(end?.finishReason).toBe('aborted');
    expect(end?.tokens).toEqual(greedyOf('py_class').slice(0, 5));
    expect(end?.text).toBe(model.detokenize(end!.tokens));
    expect(end?.text).toBe(text);
  });

  test('by a timer, in the middle of everything', async () => {
    const signal = AbortSignal.timeout(60); // far less than the rest of the context takes anywhere
    const { end, error } = await completion(model, tokensOf('py_class'), { ...greedy, signal });
    expect(error).toMatchObject(aborted);
    expect(end?.finishReason).toBe('aborted');
    const known = greedyOf('py_class').slice(0, end!.tokens.length);
    expect(end!.tokens.slice(0, known.length)).toEqual(known);
  });

  test('while it waits for its turn', async () => {
    const first = model.generate(tokensOf('py_class'), { ...greedy, maxTokens: 3 });
    await first.next();
    const controller = new AbortController();
    const { signal } = controller;
    const second = completion(model, tokensOf('py_short'), { signal });
    setTimeout(() => controller.abort(), 5);
    const { end, error, parts } = await second;
    expect(error).toMatchObject(aborted);
    expect(parts).toEqual([end]);
    expect(end).toMatchObject({ finishReason: 'aborted', text: '', tokens: [] });
    expect(end?.usage).toMatchObject({ promptTokens: 9, completionTokens: 0 });
    await first.return(undefined);
  });

  test('is possible with one signal for everything: nothing stays on it', async () => {
    const { signal } = new AbortController();
    const options = { ...greedy, maxTokens: 2, signal };
    await complete(model, tokensOf('py_short'), options);
    for await (const _ of model.generate(tokensOf('py_short'), options)) break;
    for await (const _ of model.respond([{ role: 'user', content: 'Hello!' }], options));
    await model.logits([1, 2, 3], { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('logits', async () => {
    const controller = new AbortController();
    const logits = model.logits(prompts.get('tool_read')!.ids, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(logits).rejects.toMatchObject(aborted);
  });
});

describe('disposal', () => {
  const disposed = { code: 'DISPOSED', message: expect.stringContaining('disposed of') };
  const load = async () => {
    let own: Gpu | undefined;
    const open = async () => {
      own = await openGpuInNode();
      return own;
    };
    const toy = await loadModelOn(open, await madeModel(), { context: 4096, chunk: 8 });
    return { toy, ledger: own!.ledger };
  };
  const prompt = { tokens: [1, 2, 3] };

  test('frees everything, and again does nothing', async () => {
    const { toy, ledger } = await load();
    expect(ledger.bytes).toBeGreaterThan(0);
    await complete(toy, prompt, { maxTokens: 2 });
    await toy.dispose();
    expect(ledger.bytes).toBe(0);
    expect(toy.memory().gpuBytes).toBe(0);
    await toy.dispose();
    await Promise.all([toy.dispose(), toy.dispose()]);
    expect(ledger.bytes).toBe(0);
  });

  test('afterwards everything is refused', async () => {
    const { toy } = await load();
    await toy.dispose();
    const { error, parts } = await completion(toy, prompt);
    expect(error).toMatchObject(disposed);
    expect(parts).toEqual([]);
    await expect(toy.logits([1])).rejects.toMatchObject(disposed);
    await expect(toy.logits([1], { every: true })).rejects.toMatchObject(disposed);
  });

  test('in the loop of a generation, waited for', async () => {
    const { toy, ledger } = await load();
    let texts = 0;
    const { end, error } = await completion(toy, prompt, {}, async () => {
      if (++texts === 3) await toy.dispose();
    });
    expect(error).toMatchObject(disposed);
    expect(end).toMatchObject({ finishReason: 'aborted', tokens: { length: 3 } });
    expect(ledger.bytes).toBe(0);
  });

  test.each([0, 5, 20, 50])('%i ms into a generation', async (ms) => {
    const { toy, ledger } = await load();
    const tokens = Array.from({ length: 120 }, (_, i) => i);
    const generation = completion(toy, { tokens }, { ...greedy });
    await new Promise((resolve) => setTimeout(resolve, ms));
    const closing = toy.dispose();
    const waiting = completion(toy, prompt);
    await Promise.all([closing, toy.dispose()]);
    expect(ledger.bytes).toBe(0);
    expect((await generation).error).toMatchObject(disposed);
    expect((await waiting).error).toMatchObject(disposed);
  });

  test('while others wait behind one that nobody continues', async () => {
    const { toy, ledger } = await load();
    const abandoned = toy.generate(prompt);
    await abandoned.next();
    const waiting = [completion(toy, prompt), toy.logits([1]).catch((error) => ({ error }))];
    await new Promise((resolve) => setTimeout(resolve, 5));
    await toy.dispose();
    for (const { error } of (await Promise.all(waiting)) as { error: unknown }[]) {
      expect(error).toMatchObject(disposed);
    }
    expect(ledger.bytes).toBe(0);
  });

  test('during logits', async () => {
    const { toy, ledger } = await load();
    const tokens = Array.from({ length: 200 }, (_, i) => i);
    let chunks = 0;
    const logits = toy.logits(tokens, {
      every: true,
      onProgress: () => {
        if (++chunks === 2) toy.dispose();
      },
    });
    await expect(logits).rejects.toMatchObject(disposed);
    expect(chunks).toBe(2);
    await toy.dispose();
    expect(ledger.bytes).toBe(0);
  });
});
