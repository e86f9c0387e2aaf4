import { readFile } from 'node:fs/promises';
import {
  type ChatMessage,
  createToolCallParser,
  type FinishReason,
  type Model,
  type ParsedToolCall,
  type ParsedTurn,
  parseTurn,
  type RespondEnd,
  type ToolCallParser,
  type ToolCallParserOptions,
  type TurnEvent,
} from '../node.ts';
import { usageError } from './options.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads the functions that a model is offered: a JSON list in the form of OpenAI's chat API.
 * @throws MowgliError `OPTION_INVALID` with the file, and the index of the entry at fault
 */
export async function readTools(file: string): Promise<readonly unknown[]> {
  if (file === '-') {
    throw usageError("--tools must be a file: stdin ('-') is for the prompt; name a JSON file");
  }
  let tools: unknown;
  try {
    tools = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const problem = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw usageError(
      `--tools: ${file} ${problem} (${(cause as Error).message}); name a file with a JSON list of functions`,
    );
  }
  if (!Array.isArray(tools) || tools.length === 0) {
    throw usageError(`--tools: ${file} must hold a list of at least one function: [${form}, ...]`);
  }
  const indexes = new Map<string, number>();
  for (const [index, tool] of tools.entries()) {
    const where = `--tools: ${file}: entry ${index}`;
    const name = checkTool(tool, where);
    if (indexes.has(name)) {
      throw usageError(
        `${where} is called ${name}, as entry ${indexes.get(name)} is: give each function its own name`,
      );
    }
    indexes.set(name, index);
  }
  return tools;
}

const form = '{"type": "function", "function": {"name", "description", "parameters"}}';

/** Checks what templates and the parser of calls rely on, and returns the function's name. */
function checkTool(tool: unknown, where: string): string {
  if (!isObject(tool) || tool.type !== 'function' || !isObject(tool.function)) {
    throw usageError(`${where} is no function: write it as ${form}`);
  }
  const { name, description, parameters } = tool.function;
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
    throw usageError(
      `${where}: function.name must be 1 to 64 letters, digits, '_', '-' or '.', not ${JSON.stringify(name)}`,
    );
  }
  if (description !== undefined && typeof description !== 'string') {
    throw usageError(`${where} (${name}): function.description must be a text`);
  }
  if (parameters !== undefined) checkParameters(parameters, `${where} (${name}): function`);
  return name;
}

function checkParameters(parameters: unknown, where: string): void {
  if (!isObject(parameters) || (parameters.type ?? 'object') !== 'object') {
    throw usageError(
      `${where}.parameters must be a JSON schema of an object: {"type": "object", "properties": {...}}`,
    );
  }
  const { properties = {}, required = [] } = parameters;
  if (!isObject(properties) || !Object.values(properties).every(isSchema)) {
    throw usageError(
      `${where}.parameters.properties must be an object with a schema per parameter`,
    );
  }
  if (!Array.isArray(required) || !required.every((name) => typeof name === 'string')) {
    throw usageError(`${where}.parameters.required must be a list of parameters' names`);
  }
}

/** The prompt of a conversation in which the model may call `tools`. */
export function renderWithTools(
  model: Model,
  messages: readonly ChatMessage[],
  tools: readonly unknown[],
): string {
  refuseUnlessItCalls(model);
  return model.renderChat(messages, { tools });
}

/** @throws MowgliError `OPTION_INVALID` for a model that cannot be told of tools */
export function refuseUnlessItCalls(model: Model): void {
  if (model.toolCallFormat !== undefined) return;
  const problem = model.hasChatTemplate
    ? 'has a chat template that knows no tools, or teaches calls in a form that is not known here'
    : 'has no chat template that could tell it of tools';
  throw usageError(
    `--tools: ${model.name} ${problem}; leave --tools out, or take a model that calls functions, such as Qwen3-Coder`,
  );
}

/** An answer in which the model may call tools. */
export class ToolTurn {
  readonly #options: ToolCallParserOptions;
  readonly #parser: ToolCallParser;
  /** The kind of text that was shown last. */
  #kind: 'text' | 'reasoning' = 'text';
  #shown = '';

  /** `prompt`: what `renderWithTools` made. */
  constructor(model: Model, prompt: string, tools: readonly unknown[]) {
    // Templates of models that always reason open the block themselves.
    const startsInReasoning = /<think>\s*$/.test(prompt);
    this.#options = { format: model.toolCallFormat, tools, startsInReasoning };
    this.#parser = createToolCallParser(this.#options);
  }

  /** What to show of the next piece of the answer: its text, without calls. */
  show(text: string): string {
    return this.#show(this.#parser.push(text));
  }

  /** What to show last: the rest of the text, and a line of JSON for each finished call. */
  showEnd(finishReason: FinishReason, { toolCalls }: ParsedTurn): string {
    const rest = this.#show(this.#parser.end(finishReason)) + this.#switchTo('text');
    const newline = this.#shown === '' || this.#shown.endsWith('\n') ? '' : '\n';
    return rest + newline + toolCalls.map((call) => `${callJson(call)}\n`).join('');
  }

  /** The whole answer, taken apart. */
  parse(text: string, finishReason: FinishReason): ParsedTurn {
    return parseTurn(text, { ...this.#options, finishReason });
  }

  #show(events: readonly TurnEvent[]): string {
    let shown = '';
    for (const event of events) {
      if (event.type !== 'text' && event.type !== 'reasoning') continue;
      shown += this.#switchTo(event.type) + event.text;
      this.#shown += event.text;
    }
    return shown;
  }

  /** The tags between text and reasoning, which the parser takes for markup. */
  #switchTo(kind: 'text' | 'reasoning'): string {
    if (kind === this.#kind) return '';
    this.#kind = kind;
    const tag = kind === 'reasoning' ? '<think>\n' : '\n</think>\n\n';
    this.#shown += tag;
    return tag;
  }
}

/** The fields that `--json` adds: JSON text, since arguments may hold numbers that JavaScript rounds. */
export function turnFields({ toolCalls, content, reasoning }: ParsedTurn): Record<string, string> {
  return {
    toolCalls: `[${toolCalls.map(callJson).join(',')}]`,
    content: JSON.stringify(content),
    reasoning: JSON.stringify(reasoning),
  };
}

/** What to say of calls that were begun and must not be run; `undefined` when there are none. */
export function incompleteNote(
  { incompleteCalls }: Pick<ParsedTurn, 'incompleteCalls'>,
  finishReason: RespondEnd['finishReason'],
): string | undefined {
  if (incompleteCalls.length === 0) return undefined;
  const names = incompleteCalls.map(({ name }) => name).join(', ');
  return `mowgli: left out what is no whole call: ${names}; ${reasons[finishReason]}`;
}

const reasons: Readonly<Record<RespondEnd['finishReason'], string>> = {
  length: 'the answer reached its greatest length: allow more with --max-tokens or --context',
  aborted: 'the answer was interrupted',
  stop: 'the model did not finish it, or wrote it in a damaged form',
  'tool-calls': 'the model wrote it in a damaged form',
};

/** A call as a line shows it. */
export function callJson(call: ParsedToolCall): string {
  return `{"name":${JSON.stringify(call.name)},"arguments":${call.arguments}}`;
}

/** JSON schemas are objects, or `true` and `false`. */
function isSchema(value: unknown): boolean {
  return typeof value === 'boolean' || isObject(value);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
