import { ByteSet } from './byte-set.ts';
import { CodePoints } from './code-points.ts';
import { type Encoding, jsonEncoding, rawEncoding } from './encoding.ts';
import type { Expression, Rule } from './expression.ts';
import type { Expressions } from './expressions.ts';
import { type NumberRules, numberText } from './numbers.ts';
import { patternText } from './pattern.ts';

/** Spaces that a line may be indented by. */
const MAX_INDENT = 40;

/** Expressions that do not depend on any schema. */
export class Texts {
  readonly make: Expressions;
  /** Characters of JSON strings, each in one spelling. */
  readonly json: Encoding;
  readonly raw: Encoding;
  /** Characters of JSON strings, with all escapes that JSON has, but for halves of pairs. */
  readonly anyJsonCharacter: Expression;
  readonly #patterns = new Map<string, Expression>();
  readonly #numbers = new Map<string, Expression>();

  constructor(make: Expressions) {
    this.make = make;
    this.json = jsonEncoding(make);
    this.raw = rawEncoding(make);
    const hex = (...ranges: [number, number][]) => make.bytes(ByteSet.ranges(ranges));
    const digit = hex([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
    const d = make.bytes(ByteSet.of([0x44, 0x64]));
    const high = make.sequence(d, hex([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]));
    const low = make.sequence(d, hex([0x43, 0x46], [0x63, 0x66]));
    const rest = make.repeat(digit, 2, 2);
    const unit = make.alternatives(
      make.sequence(
        hex([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
        digit,
      ),
      make.sequence(d, hex([0x30, 0x37])),
    );
    this.anyJsonCharacter = make.alternatives(
      this.json.character(CodePoints.all),
      make.literal('\\/'),
      make.sequence(make.literal('\\u'), unit, rest),
      make.sequence(make.literal('\\u'), high, rest, make.literal('\\u'), low, rest),
    );
  }

  /**
   * The texts that a regular expression finds something in; see {@link patternText}.
   * @throws PatternError
   */
  pattern(source: string, encoding: Encoding): Expression {
    const key = `${encoding.name} ${source}`;
    let text = this.#patterns.get(key);
    if (!text) {
      text = patternText(source, this.make, encoding);
      this.#patterns.set(key, text);
    }
    return text;
  }

  number(rules: NumberRules): Expression {
    const key = [rules.integer, rules.min, rules.max, rules.multipleOf].join();
    let text = this.#numbers.get(key);
    if (!text) {
      text = this.make.lexeme(numberText(this.make, rules));
      this.#numbers.set(key, text);
    }
    return text;
  }

  /** One of some texts. */
  oneOf(texts: readonly string[]): Expression {
    return this.make.oneOf(texts);
  }

  /** Any text with one of `parts` in it. Bytes need not be whole characters. */
  containing(...parts: readonly Expression[]): Expression {
    const { anything } = this.make;
    return this.make.sequence(anything, this.make.alternatives(...parts), anything);
  }
}

/** Options of {@link JsonText}. */
export interface JsonTextOptions {
  /** What the JSON must not contain. They are texts of which a part can only be within a string. */
  readonly avoided?: readonly string[];
  /** Whether all is in one line. Default false. */
  readonly oneLine?: boolean;
}

/** What JSON consists of. White space is limited, so that a model cannot go on with it for ever. */
export class JsonText {
  readonly texts: Texts;
  readonly #make: Expressions;
  /** What must not occur in strings. */
  readonly #avoided: Expression | undefined;
  /** Nothing, a space, or, if there may be lines, a new line with indentation. */
  readonly space: Expression;
  readonly #comma: Expression;
  /** Any value. */
  readonly any: Rule;

  constructor(texts: Texts, { avoided = [], oneLine = false }: JsonTextOptions = {}) {
    this.texts = texts;
    this.#make = texts.make;
    const make = this.#make;
    this.#avoided =
      avoided.length === 0
        ? undefined
        : texts.containing(...avoided.map((text) => make.literal(text)));
    const blank = make.bytes(ByteSet.of([0x20]));
    const line = make.sequence(make.bytes(ByteSet.of([0x0a])), make.repeat(blank, 0, MAX_INDENT));
    this.space = make.alternatives(make.epsilon, blank, ...(oneLine ? [] : [line]));
    this.#comma = make.sequence(make.literal(','), this.space);
    this.any = make.rule();
    this.any.definition = make.alternatives(
      this.object({ members: [], other: this.member(this.name(texts.json.text), this.any) }),
      this.array(0, Number.POSITIVE_INFINITY, [], this.any),
      this.anyString(0, Number.POSITIVE_INFINITY),
      texts.number({
        integer: false,
        min: Number.NEGATIVE_INFINITY,
        max: Number.POSITIVE_INFINITY,
        multipleOf: undefined,
      }),
      ...['true', 'false', 'null'].map((word) => make.literal(word)),
    );
    make.settle([this.any]);
  }

  /** A string of `min` to `max` characters. */
  anyString(min: number, max: number): Expression {
    return this.string(this.#make.repeat(this.texts.anyJsonCharacter, min, max));
  }

  /** A string, from what is between its quotes. */
  string(body: Expression): Expression {
    const make = this.#make;
    const allowed = this.#avoided ? make.intersection(body, make.complement(this.#avoided)) : body;
    const quote = make.literal('"');
    return make.sequence(quote, make.lexeme(make.sequence(allowed, quote)));
  }

  /** Whether a fixed value may occur. */
  permits(json: string): boolean {
    return !this.#avoided || !this.#make.accepts(this.#avoided, json);
  }

  /** One of some values, given as JSON texts. */
  oneOf(values: readonly string[]): Expression {
    return this.texts.oneOf(values.filter((json) => this.permits(json)));
  }

  /** A member's name that is not fixed, with its colon. */
  name(body: Expression): Expression {
    return this.#make.sequence(this.string(body), this.#make.literal(':'));
  }

  /** A member's name. */
  fixedName(name: string): Expression {
    return this.#make.literal(`${JSON.stringify(name)}:`);
  }

  /** A member's value. */
  value(value: Expression): Expression {
    return this.#make.sequence(this.#make.optional(this.#make.literal(' ')), value);
  }

  member(name: Expression, value: Expression): Expression {
    return this.#make.sequence(name, this.value(value));
  }

  object({
    members,
    other,
    inOrder = false,
    min = 0,
    max = Number.POSITIVE_INFINITY,
  }: {
    members: readonly { name: Expression; value: Expression; required: boolean }[];
    other: Expression | undefined;
    inOrder?: boolean;
    min?: number;
    max?: number;
  }): Expression {
    const make = this.#make;
    const inner = make.members({
      members,
      other,
      opening: this.space,
      separator: this.#comma,
      inOrder,
      min,
      max,
    });
    return make.sequence(make.literal('{'), inner, this.space, make.literal('}'));
  }

  /** An array of `min` to `max` items: those of `first`, then any number of `rest`. */
  array(min: number, max: number, first: readonly Expression[], rest: Expression): Expression {
    const make = this.#make;
    let items = make.repeat(
      make.sequence(this.#comma, rest),
      Math.max(min - Math.max(first.length, 1), 0),
      max - Math.max(first.length, 1),
    );
    const listed = first.length === 0 ? [rest] : first.slice(0, Math.min(max, first.length));
    if (max < Math.max(first.length, 1)) items = make.epsilon;
    for (let i = (max === 0 ? 0 : listed.length) - 1; i >= 0; i--) {
      const before = i === 0 ? this.space : this.#comma;
      const more = make.sequence(before, listed[i]!, items);
      items = i < min ? more : make.optional(more);
    }
    return make.sequence(make.literal('['), items, this.space, make.literal(']'));
  }

  /** An array of different ones of some values, `min` to `max` of them. */
  arrayOfDifferent(values: readonly string[], min: number, max: number): Expression {
    const make = this.#make;
    const members = values
      .filter((json) => this.permits(json))
      .map((json) => ({ name: make.literal(json), value: make.epsilon, required: false }));
    const items = make.members({
      members,
      other: undefined,
      opening: this.space,
      separator: this.#comma,
      inOrder: false,
      min,
      max,
    });
    return make.sequence(make.literal('['), items, this.space, make.literal(']'));
  }
}
