import { TextInput, type Waiting } from './input.ts';

/**
 * Reads JSON as models write it and writes JSON as it should be, while it comes. Besides JSON it
 * takes Python's `True`, `None` and 'quoted' strings, raw line breaks within strings, and commas
 * before a closing bracket. Numbers keep their digits; white space between values is left out.
 */
export class LooseJsonReader {
  readonly #input: TextInput;
  /** Where the next character is, from the beginning of what is left of the input. */
  at: number;

  constructor(input: TextInput, at: number) {
    this.#input = input;
    this.at = at;
  }

  /** The next character that is not white space, without taking it; '' at the end of the turn. */
  *next(): Waiting<string> {
    this.at = yield* this.#input.skipSpace(this.at);
    return this.#input.rest[this.at] ?? '';
  }

  /** Takes the next character that is not white space, if it is this one. */
  *accept(character: string): Waiting<boolean> {
    if ((yield* this.next()) !== character) return false;
    this.at++;
    return true;
  }

  /** A string with its escapes resolved; `undefined` when there is none, or no end of it. */
  *string(): Waiting<string | undefined> {
    let json = '';
    const whole = yield* this.#string((piece) => {
      json += piece;
    });
    return whole ? (JSON.parse(json) as string) : undefined;
  }

  /**
   * Emits the JSON text of the next value piece by piece. False when it is damaged or has no end;
   * what was emitted is then the beginning of a JSON text.
   */
  *value(emit: (json: string) => void): Waiting<boolean> {
    /** The brackets that close what is open. Not recursive: a model may nest without end. */
    const open: string[] = [];
    let comma = '';
    for (;;) {
      let character = yield* this.next();
      // A bracket here closes an empty container, or stands behind a comma too many.
      if (character === '' || character !== open.at(-1)) {
        emit(comma);
        comma = '';
        if (open.at(-1) === '}') {
          if (!(yield* this.#string(emit)) || !(yield* this.accept(':'))) return false;
          emit(':');
          character = yield* this.next();
        }
        if (character === '{' || character === '[') {
          this.at++;
          emit(character);
          open.push(character === '{' ? '}' : ']');
          continue;
        }
        const quoted = character === '"' || character === "'";
        if (!(yield* quoted ? this.#string(emit) : this.#scalar(emit))) return false;
      }
      while (open.length > 0 && (yield* this.accept(open.at(-1)!))) emit(open.pop()!);
      if (open.length === 0) return true;
      if (!(yield* this.accept(','))) return false;
      comma = ',';
    }
  }

  *#scalar(emit: (json: string) => void): Waiting<boolean> {
    let text = '';
    while ((yield* this.#input.has(this.at)) && /[\w.+-]/.test(this.#input.rest[this.at]!)) {
      text += this.#input.rest[this.at++]!;
    }
    const json = WORDS.get(text) ?? jsonNumber(text);
    if (json === undefined) return false;
    emit(json);
    return true;
  }

  *#string(emit: (json: string) => void): Waiting<boolean> {
    const quote = yield* this.next();
    if (quote !== '"' && quote !== "'") return false;
    this.at++;
    emit('"');
    for (;;) {
      const { rest } = this.#input;
      PLAIN.lastIndex = this.at;
      const plain = PLAIN.exec(rest)![0];
      this.at += plain.length;
      emit(plain);
      if (!(yield* this.#input.has(this.at))) return false;
      const character = this.#input.rest[this.at]!;
      if (character === quote) {
        this.at++;
        emit('"');
        return true;
      }
      if (character === '\\') emit(yield* this.#escape());
      else if (SPECIAL.test(character)) {
        this.at++;
        emit(stringBody(character));
      }
    }
  }

  /** Takes a backslash and what belongs to it; one that escapes nothing stands for itself. */
  *#escape(): Waiting<string> {
    this.at++;
    if (!(yield* this.#input.has(this.at))) return '';
    const kind = this.#input.rest[this.at]!;
    if ('"\\/bfnrt'.includes(kind)) {
      this.at++;
      return `\\${kind}`;
    }
    if (kind === "'") {
      this.at++;
      return "'";
    }
    const digits = HEX_DIGITS[kind];
    if (digits === undefined) return '\\\\';
    let length = 1;
    while (length <= digits) {
      if (!(yield* this.#input.has(this.at + length))) return '';
      if (!/[\da-fA-F]/.test(this.#input.rest[this.at + length]!)) return '\\\\';
      length++;
    }
    const code = Number.parseInt(this.#input.rest.slice(this.at + 1, this.at + length), 16);
    if (code > 0x10ffff) return '\\\\';
    this.at += length;
    if (kind === 'U') return stringBody(String.fromCodePoint(code));
    return `\\u${code.toString(16).padStart(4, '0')}`;
  }
}

const WORDS = new Map([
  ['true', 'true'],
  ['True', 'true'],
  ['false', 'false'],
  ['False', 'false'],
  ['null', 'null'],
  ['None', 'null'],
]);
/** Digits of JSON's \uXXXX and of Python's \xXX and \UXXXXXXXX. */
const HEX_DIGITS: Readonly<Record<string, number>> = { u: 4, x: 2, U: 8 };
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings must not hold them raw
const PLAIN = /[^"'\\\0-\x1f]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const SPECIAL = /["'\0-\x1f]/;

/** What stands between the quotes of a string's JSON text. */
export function stringBody(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** A whole text as JSON text; `undefined` when it is not JSON even loosely. */
export function looseJson(text: string): string | undefined {
  const input = new TextInput();
  input.push(text);
  input.end(false);
  const reader = new LooseJsonReader(input, 0);
  let json = '';
  const whole = finish(
    reader.value((piece) => {
      json += piece;
    }),
  );
  return whole && finish(reader.next()) === '' ? json : undefined;
}

/** Runs what cannot wait, because its input has ended. */
function finish<T>(reading: Waiting<T>): T {
  for (;;) {
    const { done, value } = reading.next();
    if (done) return value;
  }
}

const NUMBER = /^([+-]?)0*(\d*)(?:\.(\d*))?([eE][+-]?\d+)?$/;

/** The JSON spelling of a number that may have a plus sign, leading zeros or a bare point. */
export function jsonNumber(text: string): string | undefined {
  const found = NUMBER.exec(text);
  if (!found || !/^[+-]?\.?\d/.test(text)) return undefined;
  const [, sign, whole, fraction, exponent = ''] = found;
  const digits = (whole || '0') + (fraction === undefined ? '' : `.${fraction || '0'}`);
  return (sign === '-' ? '-' : '') + digits + exponent;
}
