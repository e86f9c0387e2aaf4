/**
 * Calls as Qwen3 and the Hermes models write them: JSON between tags,
 *
 *     <tool_call>
 *     {"name": "NAME", "arguments": {...}}
 *     </tool_call>
 *
 * Models leave out tags and the last bracket, put the arguments first, write them as a string that
 * holds JSON, or write Python. Within JSON strings the tags mean nothing, so values cannot confuse. Of
 * keys that are repeated the first counts, as everywhere: see `loose-json.ts`.
 */
import { skipClosers } from './closers.ts';
import { anyOf, type TextInput, type Waiting } from './input.ts';
import { LooseJsonReader, looseJson } from './loose-json.ts';
import type { OfferedTool } from './offered-tools.ts';
import type { TurnOutput } from './output.ts';
import type { CallReader } from './turn.ts';

const OPENER = '<tool_call>';
const CLOSER = '</tool_call>';
const isTagStart = anyOf('<');
const ARGUMENT_KEYS: readonly unknown[] = ['arguments', 'parameters'];

/** A reader of calls in the Hermes form. */
export class HermesCallReader implements CallReader {
  readonly openers = '<{';
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
    if (!wrapped && !(yield* this.#isBareCall())) return false;
    const call = new HermesCall(input, this.#output, wrapped ? OPENER.length : 0, (name) =>
      this.#isTool(name),
    );
    const end = yield* call.read();
    if (end === 'text') {
      // Cut off before the call had a name: its markup is not shown.
      if (!wrapped || !input.cut || !input.ranOut) return false;
      input.skip(input.length);
      return true;
    }
    this.#output.callEnd(end === 'finished');
    if (end === 'damaged' && wrapped) yield* this.#skipToCloser();
    yield* this.#skipBrackets();
    yield* skipClosers(input, [CLOSER]);
    return true;
  }

  /** Whether a call without its tag begins here: unlike other JSON, it names a tool. */
  *#isBareCall(): Waiting<boolean> {
    if (!this.#output.atLineStart || this.#output.inCodeBlock) return false;
    const json = new LooseJsonReader(this.#input, 0);
    if (!(yield* json.accept('{')) || (yield* json.next()) !== '"') return false;
    if (!(yield* this.#input.startsWith('"name"', json.at))) return false;
    json.at += '"name"'.length;
    if (!(yield* json.accept(':')) || !this.#tools.has((yield* json.string()) ?? '')) return false;
    if (!(yield* json.accept(',')) || !ARGUMENT_KEYS.includes(yield* json.string())) return false;
    return (yield* json.accept(':')) && (yield* json.next()) === '{';
  }

  /** A tool that was not offered is made up, or an example. */
  #isTool(name: string): boolean {
    if (this.#tools.has(name)) return true;
    return name !== '' && this.#output.atLineStart && !this.#output.inCodeBlock;
  }

  *#skipToCloser(): Waiting<void> {
    while ((yield* this.#input.has(0)) && !(yield* this.#input.startsWith(CLOSER))) {
      this.#input.skip(this.#input.find(isTagStart, 1));
    }
  }

  /** Takes brackets that were closed once too often. */
  *#skipBrackets(): Waiting<void> {
    const input = this.#input;
    let at = yield* input.skipSpace(0);
    while (input.charAt(at) === '}') at = yield* input.skipSpace(at + 1);
    input.skip(at);
  }
}

/** How a call ended; `text`: it is none, and nothing was taken. */
type CallEnd = 'finished' | 'damaged' | 'text';

/** One `{"name": ..., "arguments": ...}`, in any order. */
class HermesCall {
  readonly #input: TextInput;
  readonly #output: TurnOutput;
  readonly #json: LooseJsonReader;
  readonly #isTool: (name: string) => boolean;
  #name: string | undefined;
  /** Arguments that came before the name. */
  #held = '';
  #hasArguments = false;

  constructor(input: TextInput, output: TurnOutput, at: number, isTool: (name: string) => boolean) {
    this.#input = input;
    this.#output = output;
    this.#json = new LooseJsonReader(input, at);
    this.#isTool = isTool;
  }

  *read(): Waiting<CallEnd> {
    const whole = yield* this.#object();
    if (this.#name === undefined) return 'text';
    this.#take();
    if (!whole) return 'damaged';
    this.#emit('}');
    return 'finished';
  }

  /**
   * Whether the call is whole. Its last bracket may be missing when the arguments are there. Theirs
   * is not passed on yet: the arguments of a call that is damaged behind them would look whole.
   */
  *#object(): Waiting<boolean> {
    const json = this.#json;
    if (!(yield* json.accept('{'))) return false;
    do {
      if ((yield* json.next()) === '}') break;
      if (!(yield* this.#field())) return false;
    } while (yield* json.accept(','));
    const closed = yield* json.accept('}');
    if (this.#name === undefined) return false;
    if (this.#hasArguments) return closed || !this.#input.cut || (yield* json.next()) !== '';
    if (closed) this.#emit('{');
    return closed;
  }

  *#field(): Waiting<boolean> {
    const json = this.#json;
    const key = yield* json.string();
    if (key === undefined || !(yield* json.accept(':'))) return false;
    if (key === 'name' && this.#name === undefined) {
      const name = yield* json.string();
      if (name === undefined || !this.#isTool(name)) return false;
      this.#name = name;
      this.#output.callStart(name);
      this.#emit('');
      return true;
    }
    if (!ARGUMENT_KEYS.includes(key) || this.#hasArguments) return yield* json.value(() => {});
    this.#hasArguments = true;
    return yield* this.#arguments();
  }

  *#arguments(): Waiting<boolean> {
    const json = this.#json;
    const first = yield* json.next();
    if (first === '{') {
      return yield* json.value(
        (piece) => this.#emit(piece),
        () => {},
      );
    }
    let whole: string | undefined;
    if (first === '"' || first === "'") {
      const text = (yield* json.string())?.trim();
      whole = text === '' ? '{}' : text?.startsWith('{') ? looseJson(text) : undefined;
    } else {
      let value = '';
      const read = yield* json.value((piece) => {
        value += piece;
      });
      whole = read && value === 'null' ? '{}' : undefined;
    }
    if (whole !== undefined) this.#emit(whole.slice(0, -1));
    return whole !== undefined;
  }

  /** Passes arguments on, as soon as the call has a name. */
  #emit(json: string): void {
    this.#held += json;
    if (this.#name === undefined) return;
    this.#output.callDelta(this.#held);
    this.#held = '';
    this.#take();
  }

  /** Takes what has been read, so that it need not be kept. */
  #take(): void {
    this.#input.skip(this.#json.at);
    this.#json.at = 0;
  }
}
