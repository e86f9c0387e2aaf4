import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import type {
  ChatMessage,
  GeneratePart,
  Model,
  RespondEnd,
  RespondOptions,
  RespondPart,
} from '../../src/index.ts';
import { createServer, type ServerOptions } from '../../src/server/server.ts';

export const tinyCoder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));

/** A server that listens on a port of its own. */
export interface Serving extends AsyncDisposable {
  readonly app: Awaited<ReturnType<typeof createServer>>;
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly port: number;
  /** A client that does not try again: each test sees the first answer. */
  client(apiKey?: string): OpenAI;
}

export async function serve(model: Model, options: ServerOptions = {}): Promise<Serving> {
  const app = await createServer(model, options);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    ...{ app, url, port },
    client: (apiKey = 'none') => new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 }),
    [Symbol.asyncDispose]: () => {
      // A client may have opened a connection that it never used; closing would wait for its request.
      app.server.closeAllConnections();
      return app.close();
    },
  };
}

/** What a model answers when nothing else is asked of it: what the server's answers have to be. */
export async function answerOf(
  model: Model,
  messages: readonly ChatMessage[],
  options: RespondOptions = {},
): Promise<RespondEnd> {
  for await (const part of model.respond(messages, { temperature: 0, ...options })) {
    if (part.type === 'end') return part;
  }
  throw new Error('the answer has no end');
}

/** Counts the tokens of a model, in chats those that have led to something, and the generations under way. */
export class TokenCount implements Disposable {
  tokens = 0;
  running = 0;
  readonly #model: Model;
  readonly #generate: Model['generate'];
  readonly #respond: Model['respond'];

  constructor(model: Model) {
    this.#model = model;
    this.#generate = model.generate.bind(model);
    this.#respond = model.respond.bind(model);
    model.generate = (...args) => this.#count(this.#generate(...args));
    model.respond = (...args) => this.#count(this.#respond(...args));
  }

  [Symbol.dispose](): void {
    this.#model.generate = this.#generate;
    this.#model.respond = this.#respond;
  }

  async *#count<T extends GeneratePart | RespondPart>(parts: AsyncIterable<T>): AsyncGenerator<T> {
    this.running++;
    try {
      for await (const part of parts) {
        if (part.type !== 'end') this.tokens += 'tokens' in part ? part.tokens.length : 1;
        yield part;
      }
    } finally {
      this.running--;
    }
  }
}

/** A function with parameters that are all text and required, as tiny-coder was taught. */
export function textFunction(
  name: string,
  description: string,
  parameters: Readonly<Record<string, string>>,
): OpenAI.ChatCompletionFunctionTool {
  const properties = Object.fromEntries(
    Object.entries(parameters).map(([key, meaning]) => [
      key,
      { type: 'string', description: meaning },
    ]),
  );
  return {
    type: 'function',
    function: {
      ...{ name, description },
      parameters: { type: 'object', properties, required: Object.keys(parameters) },
    },
  };
}

export const tools = [
  textFunction('read_file', 'Read a file', { path: 'Path to the file' }),
  textFunction('list_directory', 'List a directory', { path: 'Directory path' }),
  textFunction('run_command', 'Run a shell command', { command: 'The command to run' }),
];

/** Waits until something is so, which it soon is. */
export async function until(what: string, so: () => boolean | Promise<boolean>): Promise<void> {
  for (let ms = 0; ms < 60_000; ms += 5) {
    if (await so()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`after a minute not yet: ${what}`);
}
