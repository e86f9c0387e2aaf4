import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  type ChatMessage,
  type ChatSession,
  loadSession,
  type Model,
  type RespondEnd,
  saveSession,
  type ToolCall,
} from '../../node.ts';
import { AnswerText, incompleteNote } from '../answer-text.ts';
import { usageError } from '../options.ts';
import { note, print } from '../output.ts';
import { showProgress } from '../progress.ts';
import type { Settings } from './settings.ts';
import { describeChat } from './statistics.ts';

/** A conversation as the commands of a chat see it. */
export class Conversation {
  settings: Settings;
  readonly #model: Model;
  readonly #quiet: boolean;
  #session: ChatSession;
  /** The file that it was saved to or loaded from last. */
  #file: string | undefined;
  /** Results of the last turn's calls, as far as they were entered. */
  #results: readonly ChatMessage[] = [];
  #unanswered: readonly ChatMessage[] | undefined;
  #last: RespondEnd | undefined;

  /** @param quiet Whether to show no progress. */
  constructor(model: Model, session: ChatSession, settings: Settings, quiet: boolean) {
    this.#model = model;
    this.#session = session;
    this.settings = settings;
    this.#quiet = quiet;
  }

  get tools(): readonly unknown[] {
    return this.#session.tools;
  }

  /** The call whose result is to be entered next. */
  get awaited(): ToolCall | undefined {
    const calls = this.#session.messages.at(-1)?.tool_calls as readonly ToolCall[] | undefined;
    return calls?.[this.#results.length];
  }

  /** What was said and got no answer: it is not part of the conversation, and `regenerate` sends it. */
  get unanswered(): readonly ChatMessage[] | undefined {
    return this.#unanswered;
  }

  /**
   * Takes what the user says, or the result of the awaited call, and prints the answer.
   * @throws MowgliError as `ChatSession.send`; what an answer said until it was aborted was printed
   */
  async say(text: string, signal: AbortSignal): Promise<void> {
    const call = this.awaited;
    if (!call) return this.#answer([{ role: 'user', content: text }], signal);
    this.#results = [...this.#results, { role: 'tool', tool_call_id: call.id, content: text }];
    if (!this.awaited) await this.#answer(this.#results, signal);
  }

  /** Answers what was said last once more. */
  async regenerate(signal: AbortSignal): Promise<void> {
    const input = this.#unanswered ?? this.#takeAnswerBack();
    if (!input) throw usageError('there is nothing to answer yet; say something first');
    await this.#answer(input, signal);
  }

  /** The system message; a text replaces it, and `-` takes it away. */
  system(text: string): void {
    if (text !== '') {
      this.#session.setSystem(text === '-' ? undefined : text);
      return;
    }
    const [first] = this.#session.messages;
    note(first?.role === 'system' ? `${first.content}` : 'there is no system message');
  }

  reset(): void {
    this.#session.reset();
    this.#beginAnew();
  }

  undo(): void {
    const taken = this.#session.undo();
    if (!taken) throw usageError('there is nothing to take back');
    this.#beginAnew();
    note(`took back: ${excerpt(`${taken.content}`)}`);
  }

  /** @throws MowgliError `OPTION_INVALID` for a file that has nothing to do with this chat */
  async save(name: string, signal: AbortSignal): Promise<void> {
    const file = toPath(name);
    if (file !== this.#file && existsSync(file)) {
      throw usageError(
        `/save: ${file} exists, and only a file that this chat was saved to or loaded from is ` +
          'replaced; name another one',
      );
    }
    await saveSession(this.#session, file, { signal });
    this.#file = file;
    note(`saved to ${file}`);
  }

  async load(name: string, signal: AbortSignal): Promise<void> {
    const file = toPath(name);
    this.#session = await loadSession(this.#model, file, { signal });
    this.#file = file;
    this.#beginAnew();
    note(`loaded ${this.#session.messages.length} messages from ${file}`);
  }

  /** What /stats shows. */
  statistics(): string {
    return describeChat(this.#model, this.#session, this.#last);
  }

  #beginAnew(): void {
    this.#results = [];
    this.#unanswered = undefined;
  }

  /** Takes back the last answer and what it was to, which is returned. */
  #takeAnswerBack(): readonly ChatMessage[] | undefined {
    const { messages } = this.#session;
    const question = messages.findLastIndex(({ role }) => role === 'user');
    if (question < 0) return undefined;
    const answer = messages.findLastIndex(({ role }) => role === 'assistant');
    this.#session.undo();
    return messages.slice(question, answer > question ? answer : undefined);
  }

  async #answer(input: readonly ChatMessage[], signal: AbortSignal): Promise<void> {
    this.#results = [];
    this.#unanswered = input; // Until it is answered.
    const progress = showProgress(this.#quiet);
    const onProgress = ({ done, total }: { done: number; total: number }) =>
      progress.update({ phase: 'prompt', done, total });
    const text = new AnswerText(process.stdout.hasColors?.() ? 'dimmed' : 'tags');
    let end: RespondEnd | undefined;
    try {
      const options = { ...this.settings, onProgress, signal };
      for await (const part of this.#session.send(input, options)) {
        progress.clear();
        const shown = text.show(part);
        if (shown !== '') await print(shown);
        if (part.type === 'end') end = part;
      }
    } finally {
      progress.clear();
      // An answer is at least a line, even an empty one.
      if (!text.empty) await print(text.end());
      else if (end) await print('\n');
      if (end) this.#take(end);
    }
  }

  /** Takes note of how an answer ended, and says what is not as one would expect. */
  #take(end: RespondEnd): void {
    this.#last = end;
    if (this.#session.messages.at(-1) === end.message) this.#unanswered = undefined;
    const left = incompleteNote(end);
    if (left !== undefined) note(left);
    const { promptTokens, completionTokens } = end.usage;
    if (promptTokens + completionTokens > this.#model.context) {
      note('mowgli: the context is full: /undo, /reset, or begin with a larger --context');
    }
  }
}

/** A text in one line, not too long. */
function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/** A file as a user names it, `~/` included, which no shell has seen. */
function toPath(name: string): string {
  return resolve(name.startsWith('~/') ? join(homedir(), name.slice(2)) : name);
}
