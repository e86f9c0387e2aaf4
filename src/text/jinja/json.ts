/** Python's `json.loads` and `json.dumps`, over Python values. */
import { int } from './numbers.ts';
import {
  compare,
  type Dict,
  Float,
  floatRepr,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/**
 * Parses JSON text. Unlike `JSON.parse` it keeps what a template would print differently: 1.0 is
 * not 1, integers beyond 2^53 keep their digits, and keys such as "10" stay where they were.
 * @throws Error with the position of the first fault.
 */
export function parseJson(text: string): Value {
  const reader = new JsonReader(text);
  const value = reader.value();
  reader.end();
  return value;
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings must not hold them raw
const STRING = /"(?:[^"\\\0-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const SPACE = /[ \t\r\n]*/y;
/** Digits, and a sign, of integers that are exact as numbers. */
const EXACT_DIGITS = 15;
/** Python reads no more, because it takes quadratic time. */
const MOST_DIGITS = 4300;
const WORDS: readonly (readonly [string, Value])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', new Float(Number.NaN)],
  ['Infinity', new Float(Number.POSITIVE_INFINITY)],
  ['-Infinity', new Float(Number.NEGATIVE_INFINITY)],
];

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): Value {
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return this.#string();
    }
    return this.#number() ?? this.#word();
  }

  #number(): Value | undefined {
    const number = this.#match(NUMBER);
    if (number === undefined) return undefined;
    const [digits, fraction, exponent] = number;
    if (fraction !== undefined || exponent !== undefined) return new Float(Number(digits));
    if (digits.length <= EXACT_DIGITS) return Number(digits) || 0; // Python has no integer -0.
    if (digits.length > MOST_DIGITS) this.#fail(`at most ${MOST_DIGITS} digits`);
    return int(BigInt(digits));
  }

  #word(): Value {
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#fail('a value');
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) this.#fail('the end');
  }

  #object(): Dict {
    const dict: Dict = new Map();
    this.#at++;
    if (this.#take('}')) return dict;
    do {
      this.#space();
      const key = this.#string();
      if (!this.#take(':')) this.#fail("':'");
      dict.set(key, this.value());
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail("',' or '}'");
    return dict;
  }

  #array(): Value[] {
    const list: Value[] = [];
    this.#at++;
    if (this.#take(']')) return list;
    do list.push(this.value());
    while (this.#take(','));
    if (!this.#take(']')) this.#fail("',' or ']'");
    return list;
  }

  #string(): string {
    const found = this.#match(STRING);
    if (found === undefined) this.#fail('a string');
    return JSON.parse(found[0]) as string;
  }

  #take(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    // Mostly there is none.
    if (this.#text.charCodeAt(this.#at) <= 0x20) this.#match(SPACE);
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  #fail(expected: string): never {
    throw new Error(`not JSON: expected ${expected} at character ${this.#at}`);
  }
}

/** Arguments of `json.dumps` that the `tojson` filter of transformers passes on. */
export interface DumpOptions {
  readonly ensureAscii: boolean;
  /** What one level is indented by; null puts everything on one line. */
  readonly indent: string | null;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** `json.dumps(value, ...)`. Nothing is escaped for HTML, unlike Jinja2's own `tojson`. */
export function dumpJson(value: Value, options: DumpOptions, depth = 0): string {
  if (value === null) return 'null';
  switch (typeof value) {
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
    case 'bigint':
      return String(
        typeof value === 'number' && Number.isSafeInteger(value) ? value : BigInt(value),
      );
    case 'string':
      return dumpString(value, options.ensureAscii);
  }
  if (value instanceof Float) return dumpFloat(value.value);
  if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.items;
    const parts = items.map((item) => dumpJson(item, options, depth + 1));
    return enclose('[', parts, ']', options, depth);
  }
  if (value instanceof Map) {
    const entries = [...value];
    if (options.sortKeys) entries.sort(([a], [b]) => compare(a, b));
    const parts = entries.map(
      ([key, item]) =>
        dumpString(dumpKey(key), options.ensureAscii) +
        options.keySeparator +
        dumpJson(item, options, depth + 1),
    );
    return enclose('{', parts, '}', options, depth);
  }
  if (value instanceof Undefined) value.fail();
  throw new Error(`Object of type ${typeName(value)} is not JSON serializable`);
}

function enclose(
  open: string,
  parts: readonly string[],
  close: string,
  { indent, itemSeparator }: DumpOptions,
  depth: number,
): string {
  if (parts.length === 0) return open + close;
  if (indent === null) return open + parts.join(itemSeparator) + close;
  const outer = `\n${indent.repeat(depth)}`;
  const inner = outer + indent;
  return open + inner + parts.join(itemSeparator + inner) + outer + close;
}

/** Python turns keys that are not strings into their JSON text. */
function dumpKey(key: Value): string {
  if (typeof key === 'string') return key;
  if (key === null) return 'null';
  if (typeof key === 'boolean') return key ? 'true' : 'false';
  if (typeof key === 'number' || typeof key === 'bigint') return String(BigInt(key));
  if (key instanceof Float) return dumpFloat(key.value);
  throw new Error(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function dumpFloat(x: number): string {
  if (Number.isNaN(x)) return 'NaN';
  if (!Number.isFinite(x)) return x > 0 ? 'Infinity' : '-Infinity';
  return floatRepr(x);
}

function dumpString(text: string, ensureAscii: boolean): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
