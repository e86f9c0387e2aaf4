import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ChatMessage,
  type ChatOptions,
  type ChatSession,
  loadModel,
  type Model,
  MowgliError,
  parseTurn,
  type RespondEnd,
  type RespondPart,
  type SendOptions,
} from '../../src/node.ts';
import { greedy } from './complete.ts';
import { tinyCoder } from './folders.ts';

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyCoder, { context: 2048 });
});
afterAll(() => model?.dispose());

const tool = (name: string, parameter: string) => ({
  type: 'function',
  function: {
    name,
    description: `Call ${name}`,
    parameters: {
      type: 'object',
      properties: { [parameter]: { type: 'string', description: `The ${parameter}` } },
      required: [parameter],
    },
  },
});
const tools = [tool('read_file', 'path'), tool('run_command', 'command')];

interface Answer extends RespondEnd {
  readonly parts: readonly RespondPart[];
}

async function collect(parts: AsyncIterable<RespondPart>): Promise<Answer> {
  const all: RespondPart[] = [];
  for await (const part of parts) all.push(part);
  const end = all.at(-1);
  if (end?.type !== 'end') throw new Error('the answer has no end');
  return { ...end, parts: all };
}

const send = (
  chat: ChatSession,
  input: Parameters<ChatSession['send']>[0],
  options?: SendOptions,
) => collect(chat.send(input, options));

/** Tokens that the cache holds after an answer: all but the last one that was sampled. */
const held = ({ usage, finishReason }: RespondEnd) =>
  usage.promptTokens + usage.completionTokens - (finishReason === 'length' ? 1 : 0);

const plain = { ...greedy, maxTokens: 40 } satisfies ChatOptions;
const sayings = ['Hello!', 'What is the weather in Paris?', 'Read src/app.py', 'Thanks!'];

/** The answer to the same tokens, all of them evaluated. */
async function fromScratch(tokens: readonly number[]): Promise<readonly number[]> {
  for await (const part of model.generate({ tokens }, { ...plain, reuse: false })) {
    if (part.type === 'end') return part.tokens;
  }
  throw new Error('the generation has no end');
}

describe('a conversation', () => {
  test('evaluates only what is new, and answers as if it evaluated all', async () => {
    const chat = model.chat({ system: 'You are a coding assistant.', tools, ...plain });
    let before = 0;
    let input: string | ChatMessage = sayings[0];
    for (let turn = 0; turn < 7; turn++) {
      const answer: Answer = await send(chat, input);
      expect(answer.usage.cachedTokens, `turn ${turn}`).toBe(before);
      before = held(answer);
      const { message, tokens, usage } = answer;
      expect(message).toBe(chat.messages.at(-1));
      // What the conversation consists of, as tokens: the prompt and the answer itself.
      const all = chat.tokens;
      expect(all.slice(usage.promptTokens, usage.promptTokens + tokens.length)).toEqual(tokens);
      expect(tokens, `turn ${turn}`).toEqual(await fromScratch(all.slice(0, usage.promptTokens)));
      // That left something else on the GPU: this conversation comes back from host memory.
      const call = message.tool_calls?.[0];
      input = call
        ? { role: 'tool', tool_call_id: call.id, content: 'print("hello")' }
        : sayings[(turn + 1) % sayings.length];
    }
    expect(chat.messages.filter(({ role }) => role === 'tool').length).toBeGreaterThan(0);
  });

  test('has the tokens of its rendering, but for turns that the model cut in its own way', async () => {
    const chat = model.chat({ tools, ...plain });
    const answers: Answer[] = [];
    for (const saying of sayings) answers.push(await send(chat, saying));
    const rendered = model.renderChat(chat.messages, { tools, addGenerationPrompt: false });
    expect(model.detokenize(chat.tokens)).toBe(rendered);
    const canonical = answers.every(
      ({ tokens }) => model.tokenize(model.detokenize(tokens)).join() === tokens.join(),
    );
    expect(chat.tokens.join() === model.tokenize(rendered).join()).toBe(canonical);
    // Without its own turns it is what any other caller would have.
    const other = model.chat({ messages: chat.messages, tools });
    expect(other.tokens).toEqual(model.tokenize(rendered));
  });

  test('takes turns with others on one model, each as if it were alone', async () => {
    const topics = ['Read src/app.py', 'List the files in docs', 'What is the weather in Paris?'];
    const turns = (topic: string) => [topic, 'Thanks!', topic];
    const open = () => topics.map(() => model.chat({ tools, ...plain }));
    const alone: string[][] = [];
    for (const [i, chat] of open().entries()) {
      const said: string[] = [];
      for (const saying of turns(topics[i])) said.push((await send(chat, saying)).text);
      alone.push(said);
    }
    const chats = open();
    const together: string[][] = topics.map(() => []);
    let before: number[] = topics.map(() => 0);
    for (let turn = 0; turn < 3; turn++) {
      const answers = await Promise.all(chats.map((chat, i) => send(chat, turns(topics[i])[turn])));
      answers.forEach(({ text, usage }, i) => {
        together[i].push(text);
        expect(usage.cachedTokens).toBeGreaterThanOrEqual(before[i]);
      });
      before = answers.map(held);
    }
    expect(together).toEqual(alone);
    expect(new Set(alone.map((said) => said.join())).size).toBeGreaterThan(1);
  });

  test('keeps what an aborted answer said, and goes on', async () => {
    const chat = model.chat(plain);
    const stop = new AbortController();
    const parts: RespondPart[] = [];
    const abortedAnswer = async () => {
      for await (const part of chat.send('Hello!', { signal: stop.signal })) {
        parts.push(part);
        if (parts.length === 3) stop.abort();
      }
    };
    await expect(abortedAnswer()).rejects.toMatchObject({ code: 'ABORTED' });
    const end = parts.at(-1);
    if (end?.type !== 'end') throw new Error('the answer has no end');
    expect(end.finishReason).toBe('aborted');
    expect(end.message.content).not.toBe('');
    expect(chat.messages.at(-1)).toBe(end.message);
    const next = await send(chat, 'Go on.');
    expect(next.usage.cachedTokens).toBeGreaterThan(end.usage.promptTokens);
    expect(chat.messages.length).toBe(4);
  });

  test('is as before after an error, a loop that was left, and an abort before the first word', async () => {
    const chat = model.chat({ system: 'Be brief.', ...plain });
    await send(chat, 'Hello!');
    const before = chat.messages;
    for await (const _ of chat.send('Tell me all.')) break;
    expect(chat.messages).toBe(before);
    const long = chat.send('x '.repeat(3000));
    await expect(collect(long)).rejects.toMatchObject({ code: 'CONTEXT_EXCEEDED' });
    expect(chat.messages).toBe(before);
    const aborted = collect(chat.send('Hello?', { signal: AbortSignal.abort() }));
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    expect(chat.messages).toBe(before);
    expect((await send(chat, 'Thanks!')).finishReason).toBe('stop');
  });

  test('answers one message at a time', async () => {
    const chat = model.chat(plain);
    const first = chat.send('Hello!');
    await first.next();
    await expect(chat.send('And?').next()).rejects.toThrow(MowgliError);
    expect(() => chat.undo()).toThrow('being answered');
    await first.return(undefined);
    expect((await send(chat, 'And?')).text).not.toBe('');
  });

  test('takes back, begins anew, and changes its system message', async () => {
    const chat = model.chat({ system: 'Be brief.', ...plain });
    const first = await send(chat, 'Hello!');
    const after = chat.messages;
    await send(chat, 'Read src/app.py');
    expect(chat.undo()).toEqual({ role: 'user', content: 'Read src/app.py' });
    expect(chat.messages).toEqual(after);
    chat.setSystem('Be long.');
    expect(chat.messages[0]).toEqual({ role: 'system', content: 'Be long.' });
    expect(chat.messages.slice(1)).toEqual(after.slice(1));
    chat.setSystem(undefined);
    expect(chat.messages).toEqual(after.slice(1));
    chat.setSystem('Be brief.');
    chat.reset();
    expect(chat.messages).toEqual([{ role: 'system', content: 'Be brief.' }]);
    expect(chat.undo()).toBeUndefined();
    expect((await send(chat, 'Hello!')).text).toBe(first.text);
  });
});

describe('an answer to a conversation', () => {
  const messages = [{ role: 'user', content: 'Read src/app.py' }] as const;

  test('is taken apart into calls', async () => {
    const { parts, message, finishReason, text } = await collect(
      model.respond(messages, { tools, ...plain }),
    );
    expect(finishReason).toBe('tool-calls');
    const { toolCalls } = parseTurn(text, { format: model.toolCallFormat, tools });
    expect(message.tool_calls?.map((call) => call.function)).toEqual(toolCalls);
    expect(message.content).toBeNull();
    expect(message.tool_calls?.map((call) => call.function.name)).toEqual(['read_file']);
    const [call] = message.tool_calls!;
    expect(JSON.parse(call.function.arguments)).toEqual({ path: 'src/app.py' });
    const ids = parts.flatMap((part) => ('id' in part ? [part.id] : []));
    expect(ids).toEqual([call.id, call.id]);
    const deltas = parts.flatMap((part) => (part.type === 'tool-call-delta' ? [part.delta] : []));
    expect(deltas.join('')).toBe(call.function.arguments);
  });

  test('continues with the tokens of an earlier answer when its message comes back', async () => {
    const first = await collect(model.respond(messages, { tools, ...plain }));
    // As a client of the server sends it: through JSON.
    const echoed = JSON.parse(JSON.stringify(first.message)) as ChatMessage;
    const result = { role: 'tool', tool_call_id: 'x', content: 'pass' } as const;
    const next = await collect(model.respond([...messages, echoed, result], { tools, ...plain }));
    expect(next.usage.cachedTokens).toBe(held(first));
  });

  test('that is cut off has no finished call', async () => {
    const cut = await collect(model.respond(messages, { tools, ...plain, maxTokens: 16 }));
    expect(cut.finishReason).toBe('length');
    expect(cut.message.tool_calls).toBeUndefined();
    expect(cut.incompleteCalls.map(({ name }) => name)).toEqual(['read_file']);
  });

  test('tells the probabilities of its tokens', async () => {
    for (const options of [greedy, { ...greedy, temperature: 0.8, topK: 20, seed: 1 }]) {
      const answer = await collect(
        model.respond(messages, { ...options, maxTokens: 8, logprobs: 3 }),
      );
      const told = answer.parts.flatMap((part) => (part.type === 'logprobs' ? part.logprobs : []));
      expect(told.map(({ token }) => token)).toEqual(answer.tokens);
      const prompt = model.tokenize(model.renderChat(messages));
      const { vocabSize } = model.config;
      const all = await model.logits([...prompt, ...answer.tokens], { every: true });
      const first = prompt.length - 1;
      told.forEach(({ token, logprob, top }, i) => {
        const row = all.subarray((first + i) * vocabSize, (first + i + 1) * vocabSize);
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
        expect(logprob).toBeCloseTo(row[token] - total, 3);
        expect(top.length).toBe(3);
        expect(top[0].logprob).toBeCloseTo(Math.max(...row) - total, 3);
      });
    }
  });

  test('refuses tools on a model whose template has none, and bad logprobs', async () => {
    const noTools = model.respond(messages, { tools: [{ type: 'function' }] });
    await expect(noTools.next()).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    const noList = model.respond(messages, { tools: 'read_file' as unknown as [] });
    await expect(noList.next()).rejects.toThrow('tools is no list');
    const bad = model.respond(messages, { logprobs: 21 });
    await expect(bad.next()).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
