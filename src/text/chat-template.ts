import { MowgliError } from '../errors.ts';
import { globals, RaisedByTemplate } from './jinja/globals.ts';
import { renderTemplate } from './jinja/interpreter.ts';
import { parseJson } from './jinja/json.ts';
import { type Node, parseTemplate } from './jinja/syntax.ts';
import { type Dict, fromJavaScript, type Value } from './jinja/values.ts';

/** One message of a conversation. Further fields (`tool_calls`, `reasoning_content` ...) reach the template. */
export interface TemplateMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

/** A template's source, or several by name, as `chat_template` in tokenizer_config.json has them. */
export type ChatTemplateSource =
  | string
  | readonly { readonly name: string; readonly template: string }[];

/** Options of {@link ChatTemplate}. */
export interface ChatTemplateOptions {
  /** What messages call the template: the file it came from. Default "chat template". */
  readonly name?: string;
  /** Special tokens by role (`eos_token` ...), which transformers gives to every template. */
  readonly specialTokens?: Readonly<Record<string, string>>;
}

/** Options of {@link ChatTemplate.render}. */
export interface RenderOptions {
  /** Function definitions, OpenAI style or bare. `null` and `[]` mean none. */
  readonly tools?: readonly unknown[] | null;
  /** Open the assistant's turn at the end, so that the model answers. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables, such as `{ enable_thinking: false }`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` tells. Default: the present. */
  readonly now?: Date;
}

/**
 * A model's chat template: turns a conversation into the exact prompt text it was trained on.
 *
 * Templates are Jinja2 and are written against Python: `str(True)` is `True`, `None` prints, a
 * float keeps its `.0`. They are evaluated here with those semantics (`jinja/README.md` says how),
 * because a prompt that differs by one character is a prompt that the model has never seen.
 */
export class ChatTemplate {
  /** The names of the templates; a single one is called "default". */
  readonly names: readonly string[];
  /** What it was made of. */
  readonly source: ChatTemplateSource;
  readonly #templates = new Map<string, readonly Node[]>();
  readonly #name: string;
  readonly #specialTokens: Readonly<Record<string, string>>;

  /**
   * @throws MowgliError `TEMPLATE_FAILED` when a source is not a template.
   */
  constructor(source: ChatTemplateSource, options: ChatTemplateOptions = {}) {
    this.source = source;
    this.#name = options.name ?? 'chat template';
    this.#specialTokens = options.specialTokens ?? {};
    const sources = typeof source === 'string' ? [{ name: 'default', template: source }] : source;
    if (sources.length === 0) throw this.#failure('it has no template in it');
    for (const { name, template } of sources) {
      try {
        this.#templates.set(name, parseTemplate(template));
      } catch (cause) {
        throw this.#failure(
          `template "${name}" cannot be parsed: ${messageOf(cause)}. Pass another template, or take the file from the model's repository again.`,
          cause,
        );
      }
    }
    this.names = [...this.#templates.keys()];
  }

  /**
   * The template of a parsed tokenizer_config.json, with its special tokens; `jinja`, the text of a
   * chat_template.jinja beside it, wins over the one inside. `undefined` when there is neither.
   * @throws MowgliError `TEMPLATE_FAILED` when what is there is not a template.
   */
  static fromTokenizerConfig(
    config: unknown,
    jinja?: string,
    name = jinja === undefined ? 'tokenizer_config.json: chat_template' : 'chat_template.jinja',
  ): ChatTemplate | undefined {
    const fields = isRecord(config) ? config : {};
    const source = jinja ?? fields.chat_template;
    if (source === undefined || source === null) return undefined;
    if (!isSource(source)) {
      throw new MowgliError(
        'TEMPLATE_FAILED',
        `${name} must be a text or a list of {name, template}. Take the file from the model's repository again.`,
      );
    }
    return new ChatTemplate(source, { name, specialTokens: specialTokens(fields) });
  }

  /**
   * Renders a conversation. Arguments of tool calls may be objects or, as OpenAI's clients send
   * them, JSON text; text is parsed first, because templates walk over the arguments.
   * @throws MowgliError `TEMPLATE_FAILED` with the template's own words when it refuses the
   * conversation (`raise_exception`), or with the reason why it could not be rendered.
   */
  render(messages: readonly TemplateMessage[], options: RenderOptions = {}): string {
    const tools = options.tools?.length ? options.tools : null;
    // transformers renders with "tool_use", where a model has one, when there are tools.
    const name = tools !== null && this.#templates.has('tool_use') ? 'tool_use' : 'default';
    const nodes = this.#templates.get(name) ?? this.#templates.values().next().value;
    if (nodes === undefined) throw this.#failure('it has no template in it');
    try {
      const scope = globals(options.now ?? new Date());
      const define = (names: Readonly<Record<string, unknown>>) => {
        for (const [key, value] of Object.entries(names)) {
          if (value !== undefined) scope.set(key, fromJavaScript(value));
        }
      };
      define(this.#specialTokens);
      define({
        tools,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
      scope.set('messages', messages.map(messageValue));
      define(options.variables ?? {});
      return renderTemplate(nodes, scope);
    } catch (cause) {
      if (cause instanceof RaisedByTemplate) {
        throw this.#failure(`it refuses the conversation: ${cause.message}`, cause);
      }
      throw this.#failure(
        `it cannot render the conversation: ${messageOf(cause)}. Check the messages and tools: content must be text (null only beside tool_calls), and the fields those that the template reads.`,
        cause,
      );
    }
  }

  #failure(problem: string, cause?: unknown): MowgliError {
    return new MowgliError('TEMPLATE_FAILED', `${this.#name}: ${problem}`, { cause });
  }
}

/** A message as the template sees it, with the arguments of its tool calls as mappings. */
function messageValue(message: TemplateMessage, index: number): Value {
  const value = fromJavaScript(message);
  const calls = value instanceof Map ? value.get('tool_calls') : undefined;
  if (!Array.isArray(calls)) return value;
  calls.forEach((call, i) => {
    if (!(call instanceof Map)) return;
    const inner = call.get('function');
    parseArguments(inner instanceof Map ? inner : call, `messages[${index}].tool_calls[${i}]`);
  });
  return value;
}

/** Replaces `arguments` that came as JSON text, or as nothing at all, by a mapping. */
function parseArguments(call: Dict, where: string): void {
  const given = call.get('arguments');
  if (given === undefined || given instanceof Map) return;
  let value: Value = given;
  if (typeof given === 'string') {
    try {
      // Clients send "" for a call without arguments.
      value = given.trim() === '' ? null : parseJson(given);
    } catch (cause) {
      throw new Error(`arguments of ${where} are ${messageOf(cause)}`, { cause });
    }
  }
  if (value !== null && !(value instanceof Map)) {
    throw new Error(`arguments of ${where} must be an object`);
  }
  call.set('arguments', value ?? new Map());
}

/** The tokens that transformers calls the special tokens map: `"</s>"` or `{content: "</s>"}`. */
function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const role of ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask']) {
    const field = config[`${role}_token`];
    const content = isRecord(field) ? field.content : field;
    if (typeof content === 'string') tokens[`${role}_token`] = content;
  }
  return tokens;
}

function isSource(source: unknown): source is ChatTemplateSource {
  if (typeof source === 'string') return true;
  if (!Array.isArray(source)) return false;
  return source.every(
    (entry) =>
      isRecord(entry) && typeof entry.name === 'string' && typeof entry.template === 'string',
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
