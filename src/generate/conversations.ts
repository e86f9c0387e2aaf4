import type { ByteSource } from '../files/byte-source.ts';
import { Grammars } from '../grammar/grammars.ts';
import { type ChatOptions, ChatSession, readSaved } from './chat-session.ts';
import type { Engine } from './engine.ts';
import type { EngineTurns } from './engine-turns.ts';
import { OwnTurns } from './own-turns.ts';
import type { PrefixCache } from './prefix-cache.ts';
import {
  keepTurn,
  type Responder,
  type RespondOptions,
  type RespondPart,
  respond,
} from './respond.ts';
import { type ByteSink, readSession, writeSession } from './session-file.ts';
import type { ChatMessage } from './types.ts';

/** Tokens of answers to keep as they were generated, for prompts with the same conversation. */
const keptAnswers = 1_000_000;

/** What conversations take from their model. */
export interface ConversationModel extends Pick<Responder, 'name' | 'text' | 'generate'> {
  /** Tokens that end a turn of the model. */
  readonly endTokenIds: readonly number[];
  /** Tells models apart whose keys and values differ. */
  readonly fingerprint: string;
  readonly engine: Engine;
  readonly prefixes: PrefixCache;
  readonly turns: EngineTurns;
}

/** The conversations of a model: single answers, sessions, and sessions in files. See `Model`. */
export class Conversations {
  readonly #model: ConversationModel;
  readonly #responder: Responder;
  /** The answers of `respond`, which has no session to keep them. */
  readonly #answers: OwnTurns;

  /** @throws MowgliError `TOKENIZER_INVALID` when the model has none */
  constructor(model: ConversationModel) {
    const { name, text, endTokenIds } = model;
    this.#model = model;
    this.#responder = {
      name,
      text,
      grammars: new Grammars(text.tokenizer, endTokenIds),
      generate: model.generate,
      save: (sink, header, tokens, options) => this.#save(sink, header, tokens, options),
    };
    this.#answers = new OwnTurns(text.tokenizer, endTokenIds, keptAnswers);
  }

  async *respond(
    messages: readonly ChatMessage[],
    options: RespondOptions,
  ): AsyncGenerator<RespondPart> {
    const [responder, answers] = [this.#responder, this.#answers];
    for await (const part of respond(responder, answers, messages, options)) {
      if (part.type === 'end') keepTurn(responder, answers, messages, options.tools ?? [], part);
      yield part;
    }
  }

  chat(options: ChatOptions): ChatSession {
    return new ChatSession(this.#responder, this.#model.endTokenIds, options);
  }

  async readSession(
    source: ByteSource,
    options: Omit<ChatOptions, 'system' | 'messages' | 'tools'> & { signal?: AbortSignal },
  ): Promise<ChatSession> {
    const { signal, ...defaults } = options;
    const { engine, prefixes, turns, fingerprint, endTokenIds } = this.#model;
    return turns.take(signal, async (stoppable) => {
      const reader = { fingerprint, kv: engine.kvShape, context: engine.context };
      const file = await readSession(source, reader, { signal: stoppable });
      const saved = readSaved(file.header, source.name);
      const chat = { ...defaults, messages: saved.messages, tools: saved.tools };
      const session = new ChatSession(this.#responder, endTokenIds, chat, saved.turns);
      await prefixes.load(file.tokens, file.blockTokens, file.blocks(), stoppable);
      return session;
    });
  }

  #save(
    sink: ByteSink,
    header: unknown,
    tokens: readonly number[],
    { signal }: { signal?: AbortSignal },
  ): Promise<void> {
    const { engine, prefixes, turns, fingerprint } = this.#model;
    return turns.take(signal, async (stoppable) => {
      const known = await prefixes.recall(tokens, stoppable);
      const session = {
        fingerprint,
        kv: engine.kvShape,
        header,
        tokens: tokens.slice(0, known),
        readKv: (from: number, to: number) => engine.readKv(from, to),
      };
      await writeSession(sink, session, { signal: stoppable });
    });
  }
}
