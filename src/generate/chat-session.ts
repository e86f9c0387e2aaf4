import { MowgliError } from '../errors.ts';
import { isCount } from '../files/byte-source.ts';
import { isJsonObject } from '../files/json.ts';
import { OwnTurns } from './own-turns.ts';
import {
  keepTurn,
  type RespondEnd,
  type Responder,
  type RespondOptions,
  type RespondPart,
  refuseToolsItCannotCall,
  respond,
} from './respond.ts';
import type { ByteSink } from './session-file.ts';
import type { ChatMessage } from './types.ts';

/** Of a conversation; the rest are defaults of its answers. */
export interface ChatOptions extends Omit<RespondOptions, 'signal' | 'onProgress'> {
  /** The system message. Default: what the template says without one. */
  readonly system?: string;
  /** A conversation to go on with. */
  readonly messages?: readonly ChatMessage[];
}

/** Of one answer: what is not given is as in {@link ChatOptions}. */
export type SendOptions = Omit<RespondOptions, 'tools'>;

/** What a session file holds, besides tokens and their keys and values. */
export interface SavedConversation {
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly unknown[];
  /** The tokens of the model's own turns, by the message's index. */
  readonly turns: readonly { readonly message: number; readonly tokens: readonly number[] }[];
}

/**
 * A conversation with a model: keeps the messages, and the model's turns as the tokens that it
 * generated. Each answer evaluates only what is new since the one before. Any number of conversations
 * share one model; their answers take turns.
 */
export class ChatSession {
  readonly #model: Responder;
  readonly #defaults: RespondOptions;
  readonly #tools: readonly unknown[];
  readonly #turns: OwnTurns;
  #messages: readonly ChatMessage[];
  /** The tokens of the messages that the model wrote in this conversation. */
  readonly #own = new Map<ChatMessage, readonly number[]>();
  #answering = false;

  /**
   * `Model.chat` makes sessions.
   * @throws MowgliError `OPTION_INVALID` for tools that the model cannot be told of
   */
  constructor(
    model: Responder,
    endTokenIds: readonly number[],
    { system, messages = [], ...defaults }: ChatOptions,
    turns: SavedConversation['turns'] = [],
  ) {
    refuseToolsItCannotCall(model, defaults);
    this.#model = model;
    this.#defaults = defaults;
    this.#tools = defaults.tools ?? [];
    // Never too small: what is not of this conversation is not in it.
    this.#turns = new OwnTurns(model.text.tokenizer, endTokenIds, Number.POSITIVE_INFINITY);
    const first: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
    this.#messages = [...first, ...messages];
    for (const { message, tokens } of turns) this.#keep(message, tokens);
  }

  /** The conversation so far, the system message first. */
  get messages(): readonly ChatMessage[] {
    return this.#messages;
  }

  get tools(): readonly unknown[] {
    return this.#tools;
  }

  /** The tokens of the conversation so far, as the next prompt begins. */
  get tokens(): readonly number[] {
    if (this.#messages.length === 0) return [];
    const { text } = this.#model;
    const rendered = text.render(this.#messages, {
      tools: this.#tools,
      addGenerationPrompt: false,
    });
    return this.#turns.encode(rendered);
  }

  /**
   * Goes on with the conversation: with what the user says, with the results of calls (messages of the
   * role `tool`, with the call's id), or with nothing new. Yields the answer as `Model.respond` does.
   *
   * The messages and the answer are part of the conversation when the answer ends; what an aborted one
   * said until then, too. After an error, when nothing was said, and when the loop is left early, the
   * conversation is as before.
   *
   * @throws MowgliError as `Model.respond`; `OPTION_INVALID` while another answer is under way
   */
  async *send(
    input: string | ChatMessage | readonly ChatMessage[],
    options: SendOptions = {},
  ): AsyncGenerator<RespondPart> {
    this.#refuseWhileAnswering();
    this.#answering = true;
    try {
      const messages = [...this.#messages, ...toMessages(input)];
      const all = { ...this.#defaults, ...options };
      for await (const part of respond(this.#model, this.#turns, messages, all)) {
        // Before it is told of: whoever stops at the end has the answer in the conversation.
        if (part.type === 'end') this.#add(messages, part);
        yield part;
      }
    } finally {
      this.#answering = false;
    }
  }

  /** Forgets everything but the system message. */
  reset(): void {
    this.#refuseWhileAnswering();
    const [first] = this.#messages;
    this.#messages = first?.role === 'system' ? [first] : [];
    this.#own.clear();
  }

  /** Replaces the system message, or takes it away; what follows stays. */
  setSystem(system: string | undefined): void {
    this.#refuseWhileAnswering();
    const [first, ...rest] = this.#messages;
    const others = first?.role === 'system' ? rest : this.#messages;
    this.#messages =
      system === undefined ? others : [{ role: 'system', content: system }, ...others];
    this.#own.clear();
  }

  /**
   * Takes the last exchange back: the last message of the user and all after it.
   * @returns what the user had said; `undefined`, and nothing is changed, when there is none
   */
  undo(): ChatMessage | undefined {
    this.#refuseWhileAnswering();
    const last = this.#messages.findLastIndex(({ role }) => role === 'user');
    if (last < 0) return undefined;
    const message = this.#messages[last];
    for (const gone of this.#messages.slice(last)) this.#own.delete(gone);
    this.#messages = this.#messages.slice(0, last);
    return message;
  }

  /**
   * Writes the conversation to a file, with its part of the KV cache; `Model.readSession` goes on with
   * it. In Node, `saveSession` and `loadSession` take paths.
   *
   * @throws MowgliError `OPTION_INVALID` while it is being answered, `ABORTED`, `DISPOSED`, and what
   * the sink throws
   */
  async write(sink: ByteSink, options: { signal?: AbortSignal } = {}): Promise<void> {
    this.#refuseWhileAnswering();
    await this.#model.save(sink, this.#toSaved(), this.tokens, options);
  }

  #toSaved(): SavedConversation {
    const turns = this.#messages.flatMap((message, index) => {
      const tokens = this.#own.get(message);
      return tokens ? [{ message: index, tokens }] : [];
    });
    return { messages: this.#messages, tools: this.#tools, turns };
  }

  #add(messages: readonly ChatMessage[], end: RespondEnd): void {
    const { message, finishReason, tokens } = end;
    if (finishReason === 'aborted' && !message.content && !message.tool_calls) return;
    this.#messages = [...messages, message];
    if (keepTurn(this.#model, this.#turns, messages, this.#tools, end)) {
      this.#own.set(message, tokens);
    }
  }

  /** Keeps the tokens of a message that the model wrote earlier. */
  #keep(index: number, tokens: readonly number[]): void {
    const before = this.#messages.slice(0, index);
    const message = this.#messages[index];
    if (message?.role !== 'assistant') return;
    const { text } = this.#model;
    const prompt = text.render(before, { tools: this.#tools });
    const rendered = text.render([...before, message], {
      tools: this.#tools,
      addGenerationPrompt: false,
    });
    if (this.#turns.keep({ prompt, rendered, tokens })) this.#own.set(message, tokens);
  }

  #refuseWhileAnswering(): void {
    if (!this.#answering) return;
    throw new MowgliError(
      'OPTION_INVALID',
      'this conversation is being answered; wait for the end, or abort it with its signal',
    );
  }
}

/**
 * What a session file says of its conversation.
 * @throws MowgliError `FILE_INVALID`
 */
export function readSaved(header: unknown, file: string): SavedConversation {
  if (isJsonObject(header)) {
    const { messages, tools, turns } = header;
    if (Array.isArray(messages) && Array.isArray(tools) && Array.isArray(turns)) {
      if (messages.every(isMessage) && turns.every(isTurn)) return { messages, tools, turns };
    }
  }
  throw new MowgliError(
    'FILE_INVALID',
    `${file} is a session, but not of a conversation; pass a file that a conversation was saved to`,
  );
}

function isMessage(value: unknown): value is ChatMessage {
  return isJsonObject(value) && typeof value.role === 'string';
}

function isTurn(value: unknown): value is SavedConversation['turns'][number] {
  return isJsonObject(value) && isCount(value.message) && isCounts(value.tokens);
}

function isCounts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isCount);
}

function toMessages(input: string | ChatMessage | readonly ChatMessage[]): readonly ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  return Array.isArray(input) ? input : [input as ChatMessage];
}
