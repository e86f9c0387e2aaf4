/**
 * Calls as Qwen3 and the Hermes models write them: JSON between tags,
 *
 *     <tool_call>
 *     {"name": "NAME", "arguments": {...}}
 *     </tool_call>
 *
 * Models leave out tags and the last bracket, put the arguments first, write them as a string that
 * holds JSON, or write Python. Within JSON strings the tags mean nothing, so values cannot confuse.
 */
import type { TextInput, Waiting } from './input.ts';
import { LooseJsonReader, looseJson } from './loose-json.ts';
import type { OfferedTool } from './offered-tools.ts';
import type { TurnOutput } from './output.ts';
import type { CallReader } from './turn.ts';

const OPENER = '<tool_call>';
const CLOSER = '</tool_call>';
const ARGUMENT_KEYS = ['arguments', 'parameters'];

/** A reader of calls in the Hermes form. */
export class HermesCallReader implements CallReader {
  readonly openers = /[<{]/;
  readonly #input: TextInput;
  readonly #output: TurnOutput;
  readonly #tools: ReadonlyMap<string, OfferedTool>;

  constructor(input: TextInput, output: TurnOutput, tools: ReadonlyMap<string, OfferedTool>) {
    this.#input = input;
    this.#output = output;
    this.#tools = tools;
  }

  *read(): Waiting<boolean> {
    const input = this.#input;
    input.ranOut = false;
    const wrapped = yield* input.startsWith(OPENER);
    const json = new LooseJsonReader(input, wrapped ? OPENER.length : 0);
    if (!wrapped && !(yield* this.#isBareCall())) return false;
    if (yield* new HermesCall(input, this.#output, json).read()) {
      yield* this.#skipClosers(wrapped);
      return true;
    }
    // The turn was cut off before the call had a name: its markup is not shown.
    if (!wrapped || !input.cut || !input.ranOut) return false;
    input.take(input.rest.length);
    return true;
  }
