import { type AST, RegExpParser } from '@eslint-community/regexpp';
import { ByteSet } from './byte-set.ts';
import { type CodePointRange, CodePoints } from './code-points.ts';
import type { Encoding } from './encoding.ts';
import { Alternatives, Bytes, type Expression, Repeat, Sequence } from './expression.ts';
import type { Expressions } from './expressions.ts';

/** Why a pattern cannot be used; the caller says where it stands. */
export class PatternError extends Error {}

/** Characters that are parsed in one unit of work. */
const CHARACTERS_PER_UNIT = 2;
/** Longer ones are no patterns that somebody wrote. */
const MAX_LENGTH = 2000;
/** Assertions one after the other, as in `^(^a)`. */
const MAX_ENDS = 20;
/** Bytes that no UTF-8 contains, for the two ends of a text. */
const START = 0xfe;
const END = 0xff;
const ENDS = ByteSet.of([START, END]);

const DIGIT = CodePoints.in('0123456789');
const WORD = DIGIT.union(
  CodePoints.of([
    [0x41, 0x5a],
    [0x61, 0x7a],
    [0x5f, 0x5f],
  ]),
);
const LINE_ENDS = CodePoints.in('\n\r\u2028\u2029');
/** What `\s` and `trim` mean. */
export const SPACE = CodePoints.in(
  '\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a' +
    '\u2028\u2029\u202f\u205f\u3000\ufeff',
);

/**
 * The texts that a regular expression of ECMAScript finds something in, as JSON Schema's `pattern`
 * means it: not anchored, by code point.
 * @throws PatternError for one that is no valid expression, or not a regular one.
 */
export function patternText(source: string, make: Expressions, encoding: Encoding): Expression {
  if (source.length > MAX_LENGTH) {
    throw new PatternError(`it is longer than ${MAX_LENGTH} characters`);
  }
  make.work.spend(source.length / CHARACTERS_PER_UNIT);
  const { alternatives } = parse(source);
  const reader = new PatternReader(make, encoding);
  const found = reader.disjunction(alternatives);
  if (!reader.hasEnds) return make.sequence(encoding.text, found, encoding.text);
  const any = make.repeat(make.alternatives(encoding.character(CodePoints.all), make.bytes(ENDS)));
  let whole = make.sequence(any, found, any);
  whole = closure(whole, make, (text) => make.derivative(text, START));
  whole = closure(whole, make, (text) => endDerivative(text, END, make));
  whole = replaceEnds(whole, make.empty, make);
  // In the empty text, start and end are one place, and their order does not matter.
  const matchesNothing = replaceEnds(found, make.epsilon, make).nullable;
  return matchesNothing ? make.optional(whole) : whole;
}

function parse(source: string): AST.Pattern {
  const parser = new RegExpParser({ ecmaVersion: 2025 });
  try {
    return parser.parsePattern(source, 0, source.length, { unicode: true });
  } catch (strict) {
    // Escapes of characters that need none (`\-`) are usual in other languages.
    try {
      if (/[\u{10000}-\u{10ffff}]|\\[pPk]|\\u\{/u.test(source)) throw strict;
      return parser.parsePattern(source, 0, source.length, { unicode: false });
    } catch {
      throw new PatternError((strict as Error).message);
    }
  }
}

class PatternReader {
  /** Whether the pattern asks for the start or the end of the text. */
  hasEnds = false;
  readonly #make: Expressions;
  readonly #encoding: Encoding;

  constructor(make: Expressions, encoding: Encoding) {
    this.#make = make;
    this.#encoding = encoding;
  }

  disjunction(alternatives: readonly AST.Alternative[]): Expression {
    const make = this.#make;
    return make.alternatives(
      ...alternatives.map(({ elements }) =>
        make.sequence(...elements.map((element) => this.#element(element))),
      ),
    );
  }

  #element(element: AST.Element): Expression {
    switch (element.type) {
      case 'Character':
      case 'CharacterSet':
      case 'CharacterClass':
        return this.#encoding.character(codePoints(element, this.#make));
      case 'Group':
        if (element.modifiers) throw new PatternError(`${element.raw} changes the flags`);
        return this.disjunction(element.alternatives);
      case 'CapturingGroup':
        return this.disjunction(element.alternatives);
      case 'Quantifier':
        return this.#make.repeat(this.#element(element.element), element.min, element.max);
      case 'Assertion':
        if (element.kind === 'start' || element.kind === 'end') {
          this.hasEnds = true;
          return this.#make.bytes(ByteSet.of([element.kind === 'start' ? START : END]));
        }
        throw new PatternError(`${element.raw} looks at the text around it`);
      default:
        throw new PatternError(`${element.raw} is not part of a regular language`);
    }
  }
}

type Characters = AST.Character | AST.CharacterSet | AST.CharacterClass | AST.CharacterClassRange;

function codePoints(element: Characters, make: Expressions): CodePoints {
  switch (element.type) {
    case 'Character':
      return CodePoints.of([[element.value, element.value]]);
    case 'CharacterClassRange':
      return CodePoints.of([[element.min.value, element.max.value]]);
    case 'CharacterClass': {
      const parts = element.elements.map((part) => codePoints(part as Characters, make));
      const union = CodePoints.none.union(...parts);
      return element.negate ? union.complement : union;
    }
    case 'CharacterSet': {
      if (element.kind === 'any') return LINE_ENDS.complement;
      const set = namedSet(element, make);
      return element.negate ? set.complement : set;
    }
  }
}

function namedSet(
  element: Exclude<AST.CharacterSet, AST.AnyCharacterSet>,
  make: Expressions,
): CodePoints {
  switch (element.kind) {
    case 'digit':
      return DIGIT;
    case 'word':
      return WORD;
    case 'space':
      return SPACE;
    case 'property':
      return property(
        element.value === null ? element.key : `${element.key}=${element.value}`,
        make,
      );
  }
}

/** Units of work that it takes to try all characters. */
const PROPERTY = 5000;
const properties = new Map<string, CodePoints>();

/** The characters with a Unicode property: the runs that a RegExp finds among all characters. */
function property(name: string, make: Expressions): CodePoints {
  let set = properties.get(name);
  if (!set) {
    make.work.spend(PROPERTY);
    const ranges: CodePointRange[] = [];
    for (const { 0: run, index } of everyCharacter().matchAll(new RegExp(`\\p{${name}}+`, 'gu'))) {
      ranges.push([characterAt(index), characterAt(index + run.length) - 1]);
    }
    set = CodePoints.of(ranges);
    properties.set(name, set);
  }
  return set;
}

/** All characters in their order, without surrogates. */
function everyCharacter(): string {
  if (every === '') {
    const blocks: string[] = [];
    for (let first = 0; first < 0x110000; first += 0x800) {
      if (first === 0xd800) continue;
      blocks.push(String.fromCodePoint(...Array.from({ length: 0x800 }, (_, i) => first + i)));
    }
    every = blocks.join('');
  }
  return every;
}

let every = '';

/** The character at a place in these. */
function characterAt(index: number): number {
  if (index < 0xd800) return index;
  return index < 0xf800 ? index + 0x800 : 0x10000 + (index - 0xf800) / 2;
}

/** What an end of the text may be taken from, any number of times: an assertion does not use it up. */
function closure(
  text: Expression,
  make: Expressions,
  take: (text: Expression) => Expression,
): Expression {
  let all = text;
  for (let times = 0; times < MAX_ENDS; times++) {
    const more = make.alternatives(all, take(all));
    if (more === all) return all;
    all = more;
  }
  throw new PatternError('it asks for an end of the text in too many ways');
}

/** What may come before `byte` at the end of a text: the derivative from the other side. */
function endDerivative(text: Expression, byte: number, make: Expressions): Expression {
  if (text instanceof Bytes) return text.set.has(byte) ? make.epsilon : make.empty;
  if (text instanceof Sequence) {
    const shorter = make.sequence(text.head, endDerivative(text.tail, byte, make));
    if (!text.tail.nullable) return shorter;
    return make.alternatives(shorter, endDerivative(text.head, byte, make));
  }
  if (text instanceof Alternatives) {
    return make.alternatives(...text.parts.map((part) => endDerivative(part, byte, make)));
  }
  if (text instanceof Repeat) {
    const before = make.repeat(text.part, Math.max(text.min - 1, 0), text.max - 1);
    return make.sequence(before, endDerivative(text.part, byte, make));
  }
  return make.empty;
}

/** The same with something else for each end. */
function replaceEnds(text: Expression, by: Expression, make: Expressions): Expression {
  if (text instanceof Bytes) {
    const bytes = make.bytes(text.set.without(ENDS));
    return text.set.intersect(ENDS).isEmpty ? bytes : make.alternatives(bytes, by);
  }
  if (text instanceof Sequence) {
    return make.sequence(replaceEnds(text.head, by, make), replaceEnds(text.tail, by, make));
  }
  if (text instanceof Alternatives) {
    return make.alternatives(...text.parts.map((part) => replaceEnds(part, by, make)));
  }
  if (text instanceof Repeat) {
    return make.repeat(replaceEnds(text.part, by, make), text.min, text.max);
  }
  return text;
}
