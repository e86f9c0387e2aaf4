import { anyOf, TextInput, type Waiting } from './input.ts';

/**
 * Reads JSON as models write it and writes JSON as it should be, while it comes. Besides JSON it
 * takes Python's `True`, `None` and 'quoted' strings, raw line breaks within strings, and commas
 * before a closing bracket. Numbers keep their digits; white space between values is left out.
 *
 * Of equal keys of an object only the first is written, with its value. JSON leaves open which of them
 * counts: some readers take the first, some the last, some refuse the text; and when the second comes,
 * the first has been passed on.
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
    return this.#input.charAt(this.at);
  }

  /** Takes the next character that is not white space, if it is this one. */
  *accept(character: string): Waiting<boolean> {
    if ((yield* this.next()) !== character) return false;
    this.at++;
    return true;
  }

  /** A string with its escapes resolved; `undefined` when there is none, or no end of it. */
  *string(): Waiting<string | undefined> {
    const json = yield* this.#wholeString();
    return json === undefined ? undefined : (JSON.parse(json) as string);
  }

  /**
   * Emits the JSON text of the next value piece by piece, and the bracket that ends it on its own. False
   * when it is damaged or has no end; what was emitted is then the beginning of a JSON text.
   */
  *value(emit: (json: string) => void, emitEnd = emit): Waiting<boolean> {
    /** What is open. Not recursive: a model may nest without end. */
    const open: Container[] = [];
    /** How much was open around a value that is left out, while it is read. */
    let leftOut: number | undefined;
    const write = (json: string) => {
      if (leftOut === undefined) emit(json);
    };
    let comma = '';
    for (;;) {
      let character = yield* this.next();
      const container = open.at(-1);
      // A bracket here closes an empty container, or stands behind a comma too many.
      if (character === '' || character !== container?.end) {
        if (container?.keys) {
          const json = yield* this.#wholeString();
          if (json === undefined || !(yield* this.accept(':'))) return false;
          const key = JSON.parse(json) as string;
          if (container.keys.has(key)) leftOut ??= open.length;
          container.keys.add(key);
          write(`${comma}${json}:`);
          character = yield* this.next();
        } else {
          write(comma);
        }
        comma = '';
        if (character === '{' || character === '[') {
          this.at++;
          write(character);
          open.push(character === '{' ? { end: '}', keys: new Set() } : { end: ']' });
          continue;
        }
        const quoted = character === '"' || character === "'";
        if (!(yield* quoted ? this.#string(write) : this.#scalar(write))) return false;
      }
      for (;;) {
        if (leftOut === open.length) leftOut = undefined;
        const end = open.at(-1)?.end;
        if (end === undefined) return true;
        if (!(yield* this.accept(end))) break;
        open.pop();
        if (open.length === 0) emitEnd(end);
        else write(end);
      }
      if (!(yield* this.accept(','))) return false;
      comma = ',';
    }
  }

  *#scalar(emit: (json: string) => void): Waiting<boolean> {
    let text = '';
    while ((yield* this.#input.has(this.at)) && /[\w.+-]/.test(this.#input.charAt(this.at))) {
      text += this.#input.charAt(this.at++);
    }
    const json = WORDS.get(text) ?? jsonNumber(text);
    if (json === undefined) return false;
    emit(json);
    return true;
  }

  /** A string as JSON text. */
  *#wholeString(): Waiting<string | undefined> {
    let json = '';
    const whole = yield* this.#string((piece) => {
      json += piece;
    });
    return whole ? json : undefined;
  }

  *#string(emit: (json: string) => void): Waiting<boolean> {
    const quote = yield* this.next();
    if (quote !== '"' && quote !== "'") return false;
    this.at++;
    emit('"');
    for (;;) {
      const start = this.at;
      this.at = this.#input.find(isSpecial, start);
      emit(this.#input.slice(start, this.at));
      if (!(yield* this.#input.has(this.at))) return false;
      const character = this.#input.charAt(this.at);
      if (character === quote) {
        this.at++;
        emit('"');
        return true;
      }
      if (character === '\\') {
        emit(yield* this.#escape());
      } else if (isSpecial(character.charCodeAt(0))) {
        this.at++;
        emit(stringBody(character));
      }
    }
  }

  /** Takes a backslash and what belongs to it; one that escapes nothing stands for itself. */
  *#escape(): Waiting<string> {
    this.at++;
    if (!(yield* this.#input.has(this.at))) return '';
    const kind = this.#input.charAt(this.at);
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
      if (!/[\da-fA-F]/.test(this.#input.charAt(this.at + length))) return '\\\\';
      length++;
    }
    const code = Number.parseInt(this.#input.slice(this.at + 1, this.at + length), 16);
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
const isQuoteOrBackslash = anyOf('"\'\\');

/** What does not stand for itself within a string, or may end it. */
function isSpecial(unit: number): boolean {
  return unit < 0x20 || isQuoteOrBackslash(unit);
}

/** An object or array that is being read. */
interface Container {
  /** The bracket that closes it. */
  readonly end: string;
  /** Of an object: those that have come. */
  readonly keys?: Set<string>;
}

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

const NUMBER = /^([+-]?)(\d*)(?:\.(\d*))?([eE][+-]?\d+)?$/;

/** The JSON spelling of a number that may have a plus sign, leading zeros or a bare point. */
export function jsonNumber(text: string): string | undefined {
  const found = NUMBER.exec(text);
  if (!found || !/^[+-]?\.?\d/.test(text)) return undefined;
  const [, sign, whole = '', fraction, exponent = ''] = found;
  const digits =
    (whole.replace(/^0+/, '') || '0') + (fraction === undefined ? '' : `.${fraction || '0'}`);
  return (sign === '-' ? '-' : '') + digits + exponent;
}
