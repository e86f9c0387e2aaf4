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
 * A value loses one line break behind its opening tag and one before its closing tag, no more.
 */
import type { TextInput, Waiting } from './input.ts';
import { type OfferedTool, unknownTool } from './offered-tools.ts';
import type { TurnOutput } from './output.ts';
import type { CallReader } from './turn.ts';
import { ValueWriter } from './value-types.ts';

type TagKind = 'tool_call' | '/tool_call' | 'function' | '/function' | 'parameter' | '/parameter';

interface Tag {
  readonly kind: TagKind;
  /** The name in `<function=NAME>` and `<parameter=NAME>`. */
  readonly name: string;
  /** Where the text behind it begins. */
  readonly end: number;
}

const TAGS: readonly (readonly [string, TagKind])[] = [
  ['<tool_call>', 'tool_call'],
  ['</tool_call>', '/tool_call'],
  ['<function=', 'function'],
  ['</function>', '/function'],
  ['<parameter=', 'parameter'],
  ['</parameter>', '/parameter'],
];

/** Longer than any name; prose in which a `>` never comes must not wait for it. */
const MAX_NAME = 256;

/** A reader of calls in the XML form. Offsets count from the beginning of what is left of the input. */
export class XmlCallReader implements CallReader {
  readonly openers = /</;
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
    const wrapped = yield* input.startsWith('<tool_call>');
    const opener = wrapped ? yield* this.#tagAfterSpace('<tool_call>'.length) : yield* this.#tag(0);
    const follower = opener?.kind === 'function' && (yield* this.#tagAfterSpace(opener.end));
    if (!opener || !follower || !this.#beginsCall(opener, follower, wrapped)) {
      return this.#isCutOff(wrapped);
    }
    input.take(opener.end);
    yield* this.#call(this.#tools.get(opener.name) ?? unknownTool(opener.name));
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
  #isCutOff(wrapped: boolean): boolean {
    const input = this.#input;
    if (!input.cut || !input.ranOut) return false;
    if (!wrapped && !input.rest.startsWith('<function=')) return false;
    input.take(input.rest.length);
    return true;
  }

  /** Reads a call from behind `<function=NAME>` on. */
  *#call(tool: OfferedTool): Waiting<void> {
    const input = this.#input;
    const output = this.#output;
    const given = new Set<string>();
    output.callStart(tool.name);
    let finished: boolean | undefined;
    while (finished === undefined) {
      const tag = yield* this.#tagAfterSpace(0);
      switch (tag?.kind) {
        case 'parameter':
          input.take(tag.end);
          output.callDelta(`${given.size === 0 ? '{' : ','}${JSON.stringify(tag.name)}:`);
          given.add(tag.name);
          if (!(yield* this.#value(tool, tag.name, given))) finished = false;
          break;
        case '/function':
          input.take(tag.end);
          // Were this a tag within a value, the turn could have been cut off right behind it.
          input.ranOut = false;
          finished = (yield* this.#tagAfterSpace(0)) !== undefined || !input.ranOut || !input.cut;
          break;
        case '/tool_call':
        case 'tool_call':
        case 'function':
          // The closing tags are missing; what is here belongs to what comes next.
          finished = true;
          break;
        case '/parameter':
          input.take(tag.end);
          break;
        case undefined:
          if (input.rest.trim() === '') {
            finished = !input.cut && tool.required.every((name) => given.has(name));
          } else {
            // Words between parameters belong to nothing.
            const next = input.rest.indexOf('<', 1);
            input.take(next < 0 ? input.rest.length : next);
          }
      }
    }
    if (finished) output.callDelta(given.size === 0 ? '{}' : '}');
    output.callEnd(finished);
    const end = yield* this.#tagAfterSpace(0);
    if (end?.kind === '/tool_call') input.take(end.end);
  }

  /**
   * Reads a value from behind `<parameter=NAME>` to behind its closing tag, or up to the tag that
   * takes its place. False when the turn ends within it.
   */
  *#value(tool: OfferedTool, name: string, given: ReadonlySet<string>): Waiting<boolean> {
    const input = this.#input;
    const writer = new ValueWriter(tool.parameters.get(name) ?? tool.otherTypes, (json) =>
      this.#output.callDelta(json),
    );
    const onLines = yield* input.startsWith('\n');
    if (onLines) input.take(1);
    let started = false;
    /** Up to here the value is searched. */
    let at = 0;
    /** Where a closing tag was passed over that must have been the right one if no better comes. */
    let weak: number | undefined;
    /** Calls and wrappers that are open within the value, which is then about calls. */
    let calls = 0;
    let wrappers = 0;
    /** Parameters that are open on this line of the value. */
    let openOnLine = 0;

    const end = (to: number) => {
      const value = input.take(to);
      writer.write(value.endsWith('\n') ? value.slice(0, -1) : value);
      writer.end();
      return true;
    };

    while (yield* input.has(at)) {
      const next = input.rest.indexOf('<', at);
      const plainEnd = next < 0 ? input.rest.length : next;
      if (input.rest.slice(at, plainEnd).includes('\n')) openOnLine = 0;
      at = plainEnd;
      const held = input.rest[at - 1] === '\n' ? 1 : 0;
      if (weak === undefined && at > held) {
        started = true;
        writer.write(input.take(at - held));
        at = held;
      }
      if (next < 0) continue;
      const tag = yield* this.#tag(at);
      if (!tag) {
        at++;
        continue;
      }
      const onNewLine = at > 0 ? input.rest[at - 1] === '\n' : onLines && !started;
      /** Whether the tag stands where one that ends this value would. */
      const inPlace = onNewLine || !onLines;
      const closing = calls === 0 && (inPlace || weak !== undefined);
      switch (tag.kind) {
        case 'tool_call':
          if ((yield* this.#tagAfterSpace(tag.end))?.kind === 'function') wrappers++;
          break;
        case '/tool_call':
          if (wrappers > 0) wrappers--;
          else if (closing && (yield* this.#callOrEndFollows(tag.end))) return end(weak ?? at);
          break;
        case 'function': {
          const follower = yield* this.#tagAfterSpace(tag.end);
          if (follower?.kind === 'parameter' || follower?.kind === '/function') calls++;
          break;
        }
        case '/function':
          if (calls > 0) calls--;
          else if (closing && (yield* this.#endsFunction(tag.end, inPlace))) return end(weak ?? at);
          break;
        case 'parameter':
          if (closing && inPlace && tool.parameters.has(tag.name) && !given.has(tag.name)) {
            return end(weak ?? at);
          }
          openOnLine++;
          break;
        case '/parameter':
          if (openOnLine > 0 && !onNewLine) {
            openOnLine--;
          } else if (calls === 0 && (yield* this.#endsParameter(tag.end, inPlace))) {
            return end(at);
          } else if (inPlace) {
            weak ??= at;
          }
      }
      at = tag.end;
    }
    if (weak !== undefined && !input.cut) return end(weak);
    input.take(input.rest.length);
    return false;
  }

  /** Whether what follows `</parameter>` shows that it ended a parameter. */
  *#endsParameter(at: number, inPlace: boolean): Waiting<boolean> {
    const tag = yield* this.#tagAfterSpace(at);
    if (tag?.kind === 'parameter') return true;
    if (tag?.kind === '/function') return yield* this.#endsFunction(tag.end, inPlace);
    if (tag?.kind === '/tool_call') return inPlace || (yield* this.#callOrEndFollows(tag.end));
    return yield* this.#callOrEndFollows(at);
  }

  /** Whether what follows `</function>` shows that it ended a call. */
  *#endsFunction(at: number, inPlace: boolean): Waiting<boolean> {
    const tag = yield* this.#tagAfterSpace(at);
    if (tag?.kind !== '/tool_call') return yield* this.#callOrEndFollows(at);
    if (inPlace || (yield* this.#callOrEndFollows(tag.end))) return true;
    return this.#input.rest[tag.end] === '\n';
  }

  /** Whether another call or the model's end of the turn comes next. */
  *#callOrEndFollows(at: number): Waiting<boolean> {
    const tag = yield* this.#tagAfterSpace(at);
    if (tag?.kind === 'function') return this.#tools.has(tag.name);
    if (tag?.kind === 'tool_call') return true;
    return !this.#input.cut && this.#input.ended && this.#input.rest.slice(at).trim() === '';
  }

  *#tagAfterSpace(at: number): Waiting<Tag | undefined> {
    return yield* this.#tag(yield* this.#input.skipSpace(at));
  }

  /** The tag at `at`. */
  *#tag(at: number): Waiting<Tag | undefined> {
    for (const [text, kind] of TAGS) {
      if (!(yield* this.#input.startsWith(text, at))) continue;
      let end = at + text.length;
      if (text.endsWith('>')) return { kind, name: '', end };
      while (yield* this.#input.has(end)) {
        const character = this.#input.rest[end]!;
        if (character === '>') {
          const name = this.#input.rest.slice(at + text.length, end).trim();
          return name === '' ? undefined : { kind, name, end: end + 1 };
        }
        if ('<\n'.includes(character) || end - at > MAX_NAME) return undefined;
        end++;
      }
    }
    return undefined;
  }
}
