import { MowgliError } from '../../errors.ts';
import type { FinishReason } from '../../generate/types.ts';
import type { ChatTemplateSource } from '../chat-template.ts';
import { collectTurn, type ParsedTurn, type TurnEvent } from './events.ts';
import { HermesCallReader } from './hermes.ts';
import { TextInput, type Waiting } from './input.ts';
import { offeredTools } from './offered-tools.ts';
import { TurnOutput } from './output.ts';
import { readTurn } from './turn.ts';
import { XmlCallReader } from './xml.ts';

const READERS = { xml: XmlCallReader, hermes: HermesCallReader };

/** How a model writes calls: Qwen3-Coder's tags, or JSON between `<tool_call>` tags. */
export type ToolCallFormat = keyof typeof READERS;

/** Options of {@link createToolCallParser}. */
export interface ToolCallParserOptions {
  /** What {@link toolCallFormat} finds in the model's template. `undefined`: text and reasoning only. */
  readonly format: ToolCallFormat | undefined;
  /** The functions that the model was offered, as the template got them. None: no calls are looked for. */
  readonly tools?: readonly unknown[] | null;
  /** The prompt ended with `<think>`, so that the turn begins in reasoning. Default false. */
  readonly startsInReasoning?: boolean;
}

/** Parses one turn of the assistant as it is generated. */
export interface ToolCallParser {
  /** The events that more text makes certain. */
  push(text: string): TurnEvent[];
  /** The last events. Only a turn that ended with `stop` can end a call whose closing tags are missing. */
  end(finishReason: FinishReason): TurnEvent[];
}

/** The format that a chat template teaches; `undefined` when it knows no calls. */
export function toolCallFormat(template: ChatTemplateSource): ToolCallFormat | undefined {
  const sources = typeof template === 'string' ? [template] : template.map((x) => x.template);
  if (sources.some((source) => source.includes('<function='))) return 'xml';
  if (sources.some((source) => source.includes('<tool_call>'))) return 'hermes';
  return undefined;
}

/**
 * A parser for one turn. What the events add up to depends only on the text and on how the turn
 * ended, never on how the text was cut into pieces.
 * @throws MowgliError `OPTION_INVALID` for an unknown format, or a tool without a name.
 */
export function createToolCallParser(options: ToolCallParserOptions): ToolCallParser {
  return new TurnParser(options);
}

/** Parses a whole turn at once. */
export function parseTurn(
  text: string,
  options: ToolCallParserOptions & { readonly finishReason?: FinishReason },
): ParsedTurn {
  const parser = createToolCallParser(options);
  return collectTurn([...parser.push(text), ...parser.end(options.finishReason ?? 'stop')]);
}

class TurnParser implements ToolCallParser {
  readonly #input = new TextInput();
  readonly #output = new TurnOutput();
  readonly #reading: Waiting<void>;
  /** The first half of a character whose second half has not come. */
  #half = '';

  constructor({ format, tools, startsInReasoning = false }: ToolCallParserOptions) {
    if (format !== undefined && !Object.hasOwn(READERS, format)) {
      throw new MowgliError(
        'OPTION_INVALID',
        `tool call format ${JSON.stringify(format)} is unknown; choose one of ${Object.keys(READERS).join(', ')}.`,
      );
    }
    const offered = offeredTools(tools ?? []);
    const calls =
      format !== undefined && offered.size > 0
        ? new READERS[format](this.#input, this.#output, offered)
        : undefined;
    this.#reading = readTurn(this.#input, this.#output, { calls, startsInReasoning });
  }

  push(text: string): TurnEvent[] {
    this.#refuseAfterEnd();
    const all = this.#half + text;
    const whole = /[\ud800-\udbff]$/.test(all) ? all.length - 1 : all.length;
    this.#half = all.slice(whole);
    this.#input.push(all.slice(0, whole));
    this.#reading.next();
    return this.#output.drain();
  }

  end(finishReason: FinishReason): TurnEvent[] {
    this.#refuseAfterEnd();
    this.#input.push(this.#half);
    this.#input.end(finishReason !== 'stop');
    this.#reading.next();
    return this.#output.drain();
  }

  #refuseAfterEnd(): void {
    if (!this.#input.ended) return;
    throw new MowgliError(
      'OPTION_INVALID',
      'this tool call parser has ended; make a new one for each turn.',
    );
  }
}
