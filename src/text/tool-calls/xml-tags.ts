import type { TextInput, Waiting } from './input.ts';

export type TagKind =
  | 'tool_call'
  | '/tool_call'
  | 'function'
  | '/function'
  | 'parameter'
  | '/parameter';

export interface Tag {
  readonly kind: TagKind;
  /** The name in `<function=NAME>` and `<parameter=NAME>`; of a parameter it may be missing. */
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

/** Recognises the tags of the XML form. */
export class TagReader {
  readonly #input: TextInput;

  constructor(input: TextInput) {
    this.#input = input;
  }

  /** The tag at `at`. */
  *at(at: number): Waiting<Tag | undefined> {
    for (const [text, kind] of TAGS) {
      if (!(yield* this.#input.startsWith(text, at))) continue;
      let end = at + text.length;
      if (text.endsWith('>')) return { kind, name: '', end };
      while (yield* this.#input.has(end)) {
        const character = this.#input.charAt(end);
        if (character === '>') {
          const name = this.#input.slice(at + text.length, end).trim();
          return name === '' && kind === 'function' ? undefined : { kind, name, end: end + 1 };
        }
        if ('<\n'.includes(character) || end - at > MAX_NAME) return undefined;
        end++;
      }
    }
    return undefined;
  }

  /** The tag at `at`, or behind the white space there. */
  *behindSpace(at: number): Waiting<Tag | undefined> {
    return yield* this.at(yield* this.#input.skipSpace(at));
  }
}
