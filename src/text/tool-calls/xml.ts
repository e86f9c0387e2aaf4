/**
 * Calls as Qwen3-Coder writes them:
 *
 *     <tool_call>
 *     <function=NAME>
 *     <parameter=NAME>
 *     VALUE
 *     </parameter>
 *     </function>
 *     </tool_call>
 *
 * This only looks like XML. Nothing is escaped, so a value may contain any of the tags; and models
 * leave tags out, `<tool_call>` most of all. Therefore a tag counts by what follows it:
 *
 * - `<function=NAME>` begins a call when a parameter or a closing tag follows.
 * - `</parameter>` ends a value when another parameter or the end of the function follows.
 * - `</function>` ends a call when `</tool_call>`, another call or the end of the turn follows.
 *
 * A value loses one line break behind its opening tag and one before its closing tag, no more. Either may
 * be "\r\n"; but where the first is "\n" the last is too, and a "\r" before it belongs to the value.
 *
 * Of parameters that are repeated the first counts. A parameter without a name damages the call, and
 * closing tags that stand behind a call are markup.
 */
import { skipClosers } from './closers.ts';
import type { TextInput, Waiting } from './input.ts';
import { type OfferedTool, unknownTool } from './offered-tools.ts';
import type { TurnOutput } from './output.ts';
import type { CallReader } from './turn.ts';
import { XmlCall } from './xml-call.ts';
import { type Tag, TagReader } from './xml-tags.ts';

const CLOSERS = ['</tool_call>', '</function>', '</parameter>'];

/** A reader of calls in the XML form. */
export class XmlCallReader implements CallReader {
  readonly openers = '<';
  readonly #input: TextInput;
  readonly #output: TurnOutput;
  readonly #tags: TagReader;
  readonly #tools: ReadonlyMap<string, OfferedTool>;

  constructor(input: TextInput, output: TurnOutput, tools: ReadonlyMap<string, OfferedTool>) {
    this.#input = input;
    this.#output = output;
    this.#tags = new TagReader(input);
    this.#tools = tools;
  }

  *read(): Waiting<boolean> {
    const input = this.#input;
    const tags = this.#tags;
    input.ranOut = false;
    const wrapped = yield* input.startsWith('<tool_call>');
    const opener = wrapped ? yield* tags.behindSpace('<tool_call>'.length) : yield* tags.at(0);
    const follower = opener?.kind === 'function' && (yield* tags.behindSpace(opener.end));
    if (!opener || !follower || !this.#beginsCall(opener, follower, wrapped)) {
      return yield* this.#isCutOff(wrapped);
    }
    input.skip(opener.end);
    const tool = this.#tools.get(opener.name) ?? unknownTool(opener.name);
    this.#output.callStart(tool.name);
    const call = new XmlCall(tool, input, (json) => this.#output.callDelta(json), this.#tools);
    this.#output.callEnd(yield* call.read());
    yield* skipClosers(input, CLOSERS);
    return true;
  }

  #beginsCall(opener: Tag, follower: Tag, wrapped: boolean): boolean {
    const { kind } = follower;
    if (kind !== 'parameter' && kind !== '/function' && !(wrapped && kind === '/tool_call')) {
      return false;
    }
    const offered = this.#tools.has(opener.name);
    if (offered && wrapped) return true;
    // The wrapper is often forgotten, and tools are made up; but either may also be an example.
    if (this.#output.inCodeBlock) return false;
    return offered || (wrapped && this.#output.atLineStart);
  }

  /** Whether the turn was cut off in what would have become a call; its markup is not shown then. */
  *#isCutOff(wrapped: boolean): Waiting<boolean> {
    const input = this.#input;
    if (!input.cut || !input.ranOut) return false;
    if (!wrapped && !(yield* input.startsWith('<function='))) return false;
    input.skip(input.length);
    return true;
  }
}
