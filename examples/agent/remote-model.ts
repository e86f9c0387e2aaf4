import type { Call, ChatModel, ChatModelOptions, SendOptions, Turn } from './chat-model.ts';

export interface Endpoint {
  /** What comes before `/chat/completions`, such as `http://localhost:8080/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  /** The model's name there. */
  readonly model: string;
}

/** A conversation with a model behind an OpenAI-compatible endpoint. */
export function remoteModel(endpoint: Endpoint, options: ChatModelOptions): ChatModel {
  const { system, tools, temperature } = options;
  let conversation: readonly unknown[] = [{ role: 'system', content: system }];
  return {
    async send(messages, { maxTokens, signal, onText }) {
      const asked = [...conversation, ...messages];
      const body = {
        model: endpoint.model,
        messages: asked,
        ...(tools.length > 0 && { tools }),
        temperature,
        max_tokens: maxTokens,
        stream: true,
        stream_options: { include_usage: true },
      };
      const answer = await complete(endpoint, body, { signal, onText });
      conversation = [...asked, toMessage(answer)];
      return answer;
    },
  };
}

/** The parts of a streamed answer that matter here. */
interface Chunk {
  choices?: {
    delta?: { content?: string | null; tool_calls?: CallDelta[] };
    finish_reason?: string | null;
  }[];
  usage?: { completion_tokens?: number } | null;
  error?: { message?: string };
}

interface CallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

async function complete(
  { baseUrl, apiKey }: Endpoint,
  body: object,
  { signal, onText }: Pick<SendOptions, 'signal' | 'onText'>,
): Promise<Turn> {
  const url = `${baseUrl.replace(/\/+$/, '')}/chat/completions`;
  const request = {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(apiKey && { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify(body),
    signal,
  };
  const response = await fetch(url, request).catch((error: Error) => {
    if (signal.aborted) throw error;
    throw new Error(`${url} cannot be reached: ${(error.cause as Error | undefined)?.message}`);
  });
  if (!response.ok || !response.body) throw await failure(response);
  let text = '';
  let finish: string | null | undefined;
  let tokens: number | undefined;
  const calls: { id: string; name: string; arguments: string }[] = [];
  for await (const { choices, usage, error } of chunks(response.body)) {
    if (error) throw new Error(`the endpoint failed: ${error.message ?? 'it does not say why'}`);
    tokens = usage?.completion_tokens ?? tokens;
    const [choice] = choices ?? [];
    finish = choice?.finish_reason ?? finish;
    const { content, tool_calls = [] } = choice?.delta ?? {};
    if (content) {
      text += content;
      onText(content);
    }
    for (const { index, id, function: part } of tool_calls) {
      calls[index] ??= { id: '', name: '', arguments: '' };
      calls[index].id ||= id ?? '';
      calls[index].name += part?.name ?? '';
      calls[index].arguments += part?.arguments ?? '';
    }
  }
  if (!finish) throw new Error('the endpoint ended its answer in the middle');
  // Some endpoints leave out what is empty.
  if (finish !== 'length') for (const call of calls) call.arguments ||= '{}';
  // Of an answer that reached its greatest length, the last call may be half a one.
  const whole = calls.filter((call) => finish !== 'length' || isJson(call.arguments));
  return {
    text,
    calls: whole,
    incomplete: calls.filter((call) => !whole.includes(call)).map(({ name }) => name),
    cutOff: finish === 'length',
    // Where an endpoint does not count, four characters are about a token.
    tokens: tokens ?? Math.ceil((text + JSON.stringify(calls)).length / 4),
  };
}

/** The events of a stream: lines of `data: {...}`, and `data: [DONE]` at the end. */
async function* chunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  let rest = '';
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      const data = /^data: ?(.*)$/.exec(line)?.[1];
      if (data && data !== '[DONE]') yield JSON.parse(data) as Chunk;
    }
  }
}

/** The answer as a message of the conversation. */
function toMessage({ text, calls }: Turn): unknown {
  const toToolCall = ({ id, ...called }: Call) => ({ id, type: 'function', function: called });
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    ...(calls.length > 0 && { tool_calls: calls.map(toToolCall) }),
  };
}

async function failure(response: Response): Promise<Error> {
  const text = await response.text();
  const { error } = isJson(text) ? (JSON.parse(text) as Chunk) : {};
  const reason = error?.message ?? text.slice(0, 200);
  return new Error(`${response.url} answered ${response.status}: ${reason}`);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
