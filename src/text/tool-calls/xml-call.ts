import { anyOf, type TextInput, type Waiting } from './input.ts';
import type { OfferedTool } from './offered-tools.ts';
import { ValueWriter } from './value-types.ts';
import { TagReader } from './xml-tags.ts';

const isTagStart = anyOf('<');
const isTagStartOrLineEnd = anyOf('<\n');

/** One call in the XML form, from behind `<function=NAME>` on. See `xml.ts`. */
export class XmlCall {
  readonly #tool: OfferedTool;
  readonly #input: TextInput;
  readonly #tags: TagReader;
  readonly #emit: (json: string) => void;
  readonly #tools: ReadonlyMap<string, OfferedTool>;
  readonly #given = new Set<string>();
  #damaged = false;

  /** `emit` gets the JSON text of the arguments. */
  constructor(
    tool: OfferedTool,
    input: TextInput,
    emit: (json: string) => void,
    tools: ReadonlyMap<string, OfferedTool>,
  ) {
    this.#tool = tool;
    this.#input = input;
    this.#tags = new TagReader(input);
    this.#emit = emit;
    this.#tools = tools;
  }

  /** Whether the call is whole. */
  *read(): Waiting<boolean> {
    const whole = (yield* this.#body()) && !this.#damaged;
    if (whole) this.#emit(this.#given.size === 0 ? '{}' : '}');
    return whole;
  }

  /** Reads up to where the call ends; whether it does. */
  *#body(): Waiting<boolean> {
    const input = this.#input;
    for (;;) {
      const tag = yield* this.#tags.behindSpace(0);
      switch (tag?.kind) {
        case 'parameter':
          input.skip(tag.end);
          if (!(yield* this.#parameter(tag.name))) return false;
          break;
        case '/function':
          input.skip(tag.end);
          // Were this a tag within a value, the turn could have been cut off right behind it.
          input.ranOut = false;
          return (yield* this.#tags.behindSpace(0)) !== undefined || !input.ranOut || !input.cut;
        case '/tool_call':
        case 'tool_call':
        case 'function':
          // The closing tags are missing; what is here belongs to what comes next.
          return true;
        case '/parameter':
          input.skip(tag.end);
          break;
        case undefined:
          if (yield* this.#endsAt(0)) {
            return !input.cut && this.#tool.required.every((name) => this.#given.has(name));
          }
          // Words between parameters belong to nothing.
          input.skip(input.find(isTagStart, 1));
      }
    }
  }

  /** Reads a parameter from behind `<parameter=NAME>` on; whether it ends. */
  *#parameter(name: string): Waiting<boolean> {
    const { parameters, otherTypes } = this.#tool;
    const types = parameters.get(name) ?? otherTypes;
    // Nothing tells what the value was for, and a call without it may be another than was meant.
    if (name === '') this.#damaged = true;
    // When a name is repeated its first value has been passed on; and of equal keys in JSON some
    // readers take the first, some the last, and some refuse the text.
    if (name === '' || this.#given.has(name)) {
      return yield* this.#value(new ValueWriter(types, () => {}));
    }
    this.#emit(`${this.#given.size === 0 ? '{' : ','}${JSON.stringify(name)}:`);
    this.#given.add(name);
    return yield* this.#value(new ValueWriter(types, this.#emit));
  }

  /**
   * Reads a value from behind `<parameter=NAME>` to behind its closing tag, or up to the tag that
   * takes its place. False when the turn ends within it.
   */
  *#value(writer: ValueWriter): Waiting<boolean> {
    const input = this.#input;
    const opening = yield* this.#lineBreak();
    input.skip(opening.length);
    const onLines = opening !== '';
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

    /** How long the line break before `to` is that may be the form's: of one kind with the first. */
    const lineBreakBefore = (to: number) => {
      if (input.charAt(to - 1) !== '\n') return 0;
      return opening !== '\n' && input.charAt(to - 2) === '\r' ? 2 : 1;
    };
    /** How much of what is before `to` may become the form's line break. */
    const heldBefore = (to: number) => {
      const length = lineBreakBefore(to);
      return length === 0 && opening !== '\n' && input.charAt(to - 1) === '\r' ? 1 : length;
    };
    const endAt = (to: number) => {
      writer.write(input.slice(0, to - lineBreakBefore(to)));
      writer.end();
      input.skip(to);
      return true;
    };
    /** Ends at the closing tag that was passed over, if any; what is between is read again. */
    const end = (to: number) => {
      if (weak === undefined || input.mayReread(weak, to)) return endAt(weak ?? to);
      this.#damaged = true;
      return endAt(to);
    };

    while (yield* input.has(at)) {
      at = input.find(isTagStartOrLineEnd, at);
      if (input.charAt(at) === '\n') {
        openOnLine = 0;
        at = input.find(isTagStart, at);
      }
      const held = heldBefore(at);
      if (weak === undefined && at > held) {
        started = true;
        writer.write(input.take(at - held));
        at = held;
      }
      if (at === input.length) continue;
      const tag = yield* this.#tags.at(at);
      if (!tag) {
        at++;
        continue;
      }
      const onNewLine = at > 0 ? input.charAt(at - 1) === '\n' : onLines && !started;
      /** Whether the tag stands where one that ends this value would. */
      const inPlace = onNewLine || !onLines;
      const closing = calls === 0 && (inPlace || weak !== undefined);
      switch (tag.kind) {
        case 'tool_call':
          if ((yield* this.#tags.behindSpace(tag.end))?.kind === 'function') wrappers++;
          break;
        case '/tool_call':
          if (wrappers > 0) wrappers--;
          else if (closing && (yield* this.#callOrEndFollows(tag.end))) return end(at);
          break;
        case 'function': {
          const follower = yield* this.#tags.behindSpace(tag.end);
          if (follower?.kind === 'parameter' || follower?.kind === '/function') calls++;
          break;
        }
        case '/function':
          if (calls > 0) calls--;
          else if (closing && (yield* this.#endsFunction(tag.end, inPlace))) return end(at);
          break;
        case 'parameter':
          if (closing && inPlace && this.#isMissing(tag.name)) return end(at);
          openOnLine++;
          break;
        case '/parameter':
          if (openOnLine > 0 && !onNewLine) {
            openOnLine--;
          } else if (calls === 0 && (yield* this.#endsParameter(tag.end, inPlace))) {
            return endAt(at);
          } else if (inPlace) {
            weak ??= at;
          }
      }
      at = tag.end;
    }
    if (weak !== undefined && !input.cut && input.mayReread(weak, at)) return endAt(weak);
    input.skip(input.length);
    return false;
  }

  /** The line break that comes next, if one does. */
  *#lineBreak(): Waiting<string> {
    for (const lineBreak of ['\n', '\r\n']) {
      if (yield* this.#input.startsWith(lineBreak)) return lineBreak;
    }
    return '';
  }

  /** Whether it is a parameter of the tool that has not come yet. */
  #isMissing(name: string): boolean {
    return this.#tool.parameters.has(name) && !this.#given.has(name);
  }

  /** Whether what follows `</parameter>` shows that it ended a parameter. */
  *#endsParameter(at: number, inPlace: boolean): Waiting<boolean> {
    const tag = yield* this.#tags.behindSpace(at);
    if (tag?.kind === 'parameter') return true;
    if (tag?.kind === '/function') return yield* this.#endsFunction(tag.end, inPlace);
    if (tag?.kind === '/tool_call') return inPlace || (yield* this.#callOrEndFollows(tag.end));
    return yield* this.#callOrEndFollows(at);
  }

  /** Whether what follows `</function>` shows that it ended a call. */
  *#endsFunction(at: number, inPlace: boolean): Waiting<boolean> {
    const tag = yield* this.#tags.behindSpace(at);
    if (tag?.kind !== '/tool_call') return yield* this.#callOrEndFollows(at);
    if (inPlace || (yield* this.#callOrEndFollows(tag.end))) return true;
    return /^\r?\n/.test(this.#input.slice(tag.end, tag.end + 2));
  }

  /** Whether another call or the model's end of the turn comes next. */
  *#callOrEndFollows(at: number): Waiting<boolean> {
    const tag = yield* this.#tags.behindSpace(at);
    if (tag?.kind === 'function') return this.#tools.has(tag.name);
    if (tag?.kind === 'tool_call') return true;
    return !this.#input.cut && (yield* this.#endsAt(at));
  }

  /** Whether nothing but white space is left of the turn. */
  *#endsAt(at: number): Waiting<boolean> {
    return !(yield* this.#input.has(yield* this.#input.skipSpace(at)));
  }
}
