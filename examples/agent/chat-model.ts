/** What is said to the model: a task, or the result of a call. */
export type Message =
  | { readonly role: 'user'; readonly content: string }
  | { readonly role: 'tool'; readonly tool_call_id: string; readonly content: string };

/** A call of a tool. `arguments` is JSON text, as the model wrote it. */
export interface Call {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** What the model answered. */
export interface Turn {
  readonly text: string;
  readonly calls: readonly Call[];
  /** Names of calls that were cut off or damaged, and cannot be run. */
  readonly incomplete: readonly string[];
  /** Whether the answer reached its greatest length. */
  readonly cutOff: boolean;
  /** Tokens that it took. */
  readonly tokens: number;
}

export interface SendOptions {
  readonly maxTokens: number;
  readonly signal: AbortSignal;
  /** Told of the text as it comes. */
  readonly onText: (text: string) => void;
}

/** A conversation with a model that can call tools, wherever the model runs. */
export interface ChatModel {
  /** Goes on with the conversation. Rejects when the signal fires. */
  send(messages: readonly Message[], options: SendOptions): Promise<Turn>;
}

/** What a conversation begins with. */
export interface ChatModelOptions {
  readonly system: string;
  /** In OpenAI's form. */
  readonly tools: readonly unknown[];
  /** 0: the likeliest token each time. */
  readonly temperature: number;
}
