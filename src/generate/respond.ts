import { MowgliError } from '../errors.ts';
import type { Grammars } from '../grammar/grammars.ts';
import type { ResponseFormat, ToolChoice } from '../grammar/request.ts';
import { collectTurn, type ParsedToolCall, type TurnEvent } from '../text/tool-calls/events.ts';
import {
  createToolCallParser,
  type ToolCallFormat,
  type ToolCallParser,
} from '../text/tool-calls/parser.ts';
import type { OwnTurns } from './own-turns.ts';
import type { ByteSink } from './session-file.ts';
import type { ModelText } from './text.ts';
import type {
  ChatMessage,
  FinishReason,
  GeneratedLogprob,
  GenerateOptions,
  GeneratePart,
  Usage,
} from './types.ts';

export interface RespondOptions extends Omit<GenerateOptions, 'constraint'> {
  /** The functions that the model may call: `{type: 'function', function: {name, description, parameters}}`. */
  readonly tools?: readonly unknown[];
  /** Default `auto`. All but `auto` are enforced, and of tools with `strict: true` the arguments always. */
  readonly toolChoice?: ToolChoice;
  /** Whether one answer may hold several calls, where the choice is enforced. Default true. */
  readonly parallelToolCalls?: boolean;
  /** JSON, as an object or by a schema; enforced. Default: text. */
  readonly responseFormat?: ResponseFormat;
  /** How the model writes calls. Default: what its chat template teaches. */
  readonly toolCallFormat?: ToolCallFormat;
}

/** A call of a function, in the form of OpenAI's API. */
export interface ToolCall {
  readonly id: string;
  readonly type: 'function';
  /** `arguments` is the JSON text of an object. */
  readonly function: { readonly name: string; readonly arguments: string };
}

/** An answer, in the form in which it goes into the conversation. */
export interface AssistantMessage extends ChatMessage {
  role: 'assistant';
  /** `null` beside calls, when there is no text. */
  content: string | null;
  /** What was in a `<think>` block. */
  reasoning_content?: string;
  tool_calls?: readonly ToolCall[];
}

/** An event of an answer: of calls, with their id. */
export type RespondEvent =
  | Exclude<TurnEvent, { type: 'tool-call-start' | 'tool-call-end' }>
  | (Extract<TurnEvent, { type: 'tool-call-start' | 'tool-call-end' }> & { readonly id: string });

export type RespondPart =
  | RespondEvent
  /** Of the tokens since the part before, when the option `logprobs` asked for them. */
  | { readonly type: 'logprobs'; readonly logprobs: readonly GeneratedLogprob[] }
  | RespondEnd;

export interface RespondEnd {
  readonly type: 'end';
  /** `tool-calls`: the answer ended with whole calls, which wait for their results. */
  readonly finishReason: FinishReason | 'tool-calls';
  readonly message: AssistantMessage;
  /** Calls that were cut off or damaged, and must not be run; `message` does not hold them. */
  readonly incompleteCalls: readonly ParsedToolCall[];
  /** The text as it was generated, markup included, and its tokens. */
  readonly text: string;
  readonly tokens: readonly number[];
  readonly usage: Usage;
}

/** Cuts a prompt into tokens, as soon as they are needed, and no longer than they are. */
export type PromptEncoder = (signal: AbortSignal | undefined) => Promise<readonly number[]>;

/** What answers and conversations take from their model. */
export interface Responder {
  readonly name: string;
  readonly text: ModelText;
  readonly grammars: Grammars;
  generate(encode: PromptEncoder, options: GenerateOptions): AsyncGenerator<GeneratePart>;
  /** Writes tokens to a session file, with the keys and values that are known of them. */
  save(
    sink: ByteSink,
    header: unknown,
    tokens: readonly number[],
    options: { signal?: AbortSignal },
  ): Promise<void>;
}

/**
 * Answers a conversation: renders it, generates, takes the answer apart. `turns` lends the model's own
 * tokens for its earlier turns.
 */
export async function* respond(
  model: Responder,
  turns: OwnTurns,
  messages: readonly ChatMessage[],
  options: RespondOptions,
): AsyncGenerator<RespondPart> {
  const { tools = [], toolChoice, parallelToolCalls, responseFormat, ...generating } = options;
  const { toolCallFormat = model.text.toolCallFormat, ...generateOptions } = generating;
  refuseToolsItCannotCall(model, options);
  const prompt = model.text.render(messages, { tools });
  // Templates of models that always reason open the block themselves.
  const startsInReasoning = /<think>\s*$/.test(prompt);
  const constraint = model.grammars.constraint({
    ...{ tools, toolChoice, parallelToolCalls, responseFormat },
    ...{ toolCallFormat, startsInReasoning },
  });
  const offered = toolChoice === 'none' ? [] : tools;
  const parser = createToolCallParser({
    format: toolCallFormat,
    tools: offered,
    startsInReasoning,
  });
  const answer = new Answer(parser);
  const parts = model.generate((signal) => turns.encodeInSlices(prompt, signal), {
    ...generateOptions,
    ...(constraint && { constraint }),
  });
  for await (const part of parts) {
    if (part.type === 'text') {
      if (part.logprobs?.length) yield { type: 'logprobs', logprobs: part.logprobs };
      yield* answer.push(part.text);
      continue;
    }
    yield* answer.end(part.finishReason);
    yield answer.toEnd(part);
  }
}

/**
 * Keeps the tokens of a turn for later prompts. Not done, and false, if those tell something else of it:
 * where a stop text or a damaged call was taken out, or where the template drops what was thought.
 */
export function keepTurn(
  { text }: Pick<Responder, 'text'>,
  turns: OwnTurns,
  messages: readonly ChatMessage[],
  tools: readonly unknown[],
  { message, tokens, incompleteCalls, text: generated }: RespondEnd,
): boolean {
  if (tokens.length === 0 || incompleteCalls.length > 0) return false;
  if (text.tokenizer.decode(tokens, { skipSpecial: true }) !== generated) return false;
  const prompt = text.render(messages, { tools });
  const rendered = text.render([...messages, message], { tools, addGenerationPrompt: false });
  const { reasoning_content: thought } = message;
  if (thought && !rendered.slice(prompt.length).includes(thought)) return false;
  return turns.keep({ prompt, rendered, tokens });
}

/** An answer as it comes. */
class Answer {
  readonly #parser: ToolCallParser;
  readonly #events: TurnEvent[] = [];
  readonly #ids: string[] = [];

  constructor(parser: ToolCallParser) {
    this.#parser = parser;
  }

  push(text: string): Iterable<RespondEvent> {
    return this.#take(this.#parser.push(text));
  }

  end(finishReason: FinishReason): Iterable<RespondEvent> {
    return this.#take(this.#parser.end(finishReason));
  }

  toEnd(part: Extract<GeneratePart, { type: 'end' }>): RespondEnd {
    const { content, reasoning, toolCalls, incompleteCalls } = collectTurn(this.#events);
    const whole = this.#events.flatMap((event) =>
      event.type === 'tool-call-end' ? [this.#id(event.index)] : [],
    );
    const calls = toolCalls.map(
      (call, i): ToolCall => ({ id: whole[i]!, type: 'function', function: call }),
    );
    const message: AssistantMessage = {
      role: 'assistant',
      content: content === '' && calls.length > 0 ? null : content,
      ...(reasoning && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
    const { finishReason, text, tokens, usage } = part;
    return {
      type: 'end',
      finishReason: finishReason === 'stop' && calls.length > 0 ? 'tool-calls' : finishReason,
      ...{ message, incompleteCalls, text, tokens, usage },
    };
  }

  #take(events: readonly TurnEvent[]): RespondEvent[] {
    this.#events.push(...events);
    return events.map((event) =>
      event.type === 'tool-call-start' || event.type === 'tool-call-end'
        ? { ...event, id: this.#id(event.index) }
        : event,
    );
  }

  #id(index: number): string {
    this.#ids[index] ??= `call_${randomId(24)}`;
    return this.#ids[index];
  }
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function randomId(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => letters[byte % letters.length]).join('');
}

/** @throws MowgliError `OPTION_INVALID` for tools, where the model cannot be told of any */
export function refuseToolsItCannotCall(
  { name, text }: Pick<Responder, 'name' | 'text'>,
  { tools = [], toolCallFormat = text.toolCallFormat }: RespondOptions,
): void {
  if (!Array.isArray(tools)) {
    throw new MowgliError(
      'OPTION_INVALID',
      "tools is no list; pass definitions such as [{type: 'function', function: {name, parameters}}]",
    );
  }
  if (tools.length === 0 || toolCallFormat) return;
  const problem = text.hasTemplate
    ? 'has a chat template that knows no tools, or teaches calls in a form that is not known here'
    : 'has no chat template that could tell it of tools';
  throw new MowgliError(
    'OPTION_INVALID',
    `tools: ${name} ${problem}; leave tools out, or take a model that calls functions, such as Qwen3-Coder`,
  );
}
