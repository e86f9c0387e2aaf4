/**
 * Languages of byte strings, as expressions. What may follow a byte is the expression's derivative by
 * that byte (Brzozowski 1964, https://doi.org/10.1145/321239.321249), so that expressions are the
 * states of an automaton that is made only as far as it is walked.
 *
 * Equal expressions are one object; `Expressions` makes them all and keeps it so.
 */
import type { ByteClasses } from './byte-classes.ts';
import type { ByteSet } from './byte-set.ts';
import type { Expressions } from './expressions.ts';
import type { State } from './state.ts';

/** Tokens that complete a text, for an expression within the one that is asked. */
export type CompletionOf = (part: Expression) => number;

export abstract class Expression {
  readonly id: number;
  /** Whether the empty string belongs to it. */
  readonly nullable: boolean;
  /**
   * The alphabets (`Expressions.alphabet`), a bit for each, whose texts hold all of this: then it adds
   * nothing to an alternative that is any text of that alphabet.
   */
  alphabets: number;
  /** `Expressions.completion`, once it is known; -1 before. */
  completion = -1;
  /** `Expressions.leastBytes`, once it is known; -1 before. */
  leastBytes = -1;
  state: State | undefined;

  constructor(id: number, nullable: boolean, alphabets: number) {
    this.id = id;
    this.nullable = nullable;
    this.alphabets = alphabets;
  }

  /** The bytes that {@link derive} tells apart, or finer. */
  abstract classes(make: Expressions): ByteClasses;
  /** What may follow `byte`. */
  abstract derive(byte: number, make: Expressions): Expression;
  /** The completion from those of its parts; for intersections and complements, a lower bound of it. */
  abstract measure(of: CompletionOf, make: Expressions): number;
  /**
   * The same but for counts that one token of at most `bytes` bytes cannot tell apart, which become
   * equal. Only where {@link measure} then changes by a constant.
   */
  clamp(_bytes: number, _make: Expressions): Expression {
    return this;
  }

  /** The most bytes within which no count of this can be reached; Infinity where there are none. */
  get reach(): number {
    return Number.POSITIVE_INFINITY;
  }

  /** Whether there is a count to be reached before the text can end. */
  get hasMinimum(): boolean {
    return false;
  }

  /** Whether another part has a say about how a text with counts can be completed. */
  get sharesCounts(): boolean {
    return false;
  }

  /**
   * The same without counts: within {@link reach} bytes, the same texts are begun, but minima that are
   * not reached by then count for nothing in {@link measure}. Where counts are shared, that only holds
   * for texts that can be completed within what is left of {@link reach}.
   */
  unlimited(_make: Expressions): Expression {
    return this;
  }

  /** Lets go of what was made of it, all of which can be made again. */
  forget(): void {
    this.state = undefined;
  }
}

/** No text at all. */
export class Empty extends Expression {
  classes(make: Expressions): ByteClasses {
    return make.byteClasses.whole;
  }

  derive(): Expression {
    return this;
  }

  measure(): number {
    return Number.POSITIVE_INFINITY;
  }
}

/** The empty text. */
export class Epsilon extends Expression {
  classes(make: Expressions): ByteClasses {
    return make.byteClasses.whole;
  }

  derive(_byte: number, make: Expressions): Expression {
    return make.empty;
  }

  measure(): number {
    return 0;
  }
}

/** One byte of a set. */
export class Bytes extends Expression {
  readonly set: ByteSet;

  constructor(id: number, alphabets: number, set: ByteSet) {
    super(id, false, alphabets);
    this.set = set;
  }

  classes(make: Expressions): ByteClasses {
    return make.byteClasses.split(this.set);
  }

  derive(byte: number, make: Expressions): Expression {
    return this.set.has(byte) ? make.epsilon : make.empty;
  }

  measure(): number {
    return 1;
  }
}

/** A fixed text that literals begin in at different places. */
export interface FixedText {
  readonly id: number;
  readonly bytes: Uint8Array;
  /** How many tokens spell it from each byte on. */
  readonly tokens: Uint32Array;
}

/** A fixed text from a byte on. */
export class Literal extends Expression {
  readonly text: FixedText;
  readonly from: number;

  constructor(id: number, text: FixedText, from: number) {
    super(id, false, 0);
    this.text = text;
    this.from = from;
  }

  classes(make: Expressions): ByteClasses {
    return make.byteClasses.apart([this.text.bytes[this.from]!]);
  }

  derive(byte: number, make: Expressions): Expression {
    if (byte !== this.text.bytes[this.from]) return make.empty;
    return make.literalFrom(this.text, this.from + 1);
  }

  measure(): number {
    return this.text.tokens[this.from]!;
  }
}

/** One after the other. `head` is no sequence itself. */
export class Sequence extends Expression {
  readonly head: Expression;
  readonly tail: Expression;

  constructor(id: number, head: Expression, tail: Expression) {
    super(id, head.nullable && tail.nullable, head.alphabets & tail.alphabets);
    this.head = head;
    this.tail = tail;
  }

  classes(make: Expressions): ByteClasses {
    const own = make.stateOf(this.head).classes;
    return this.head.nullable ? make.byteClasses.refine(own, make.stateOf(this.tail).classes) : own;
  }

  derive(byte: number, make: Expressions): Expression {
    const further = make.sequence(make.derivative(this.head, byte), this.tail);
    return this.head.nullable
      ? make.alternatives(further, make.derivative(this.tail, byte))
      : further;
  }

  measure(of: CompletionOf): number {
    return of(this.head) + of(this.tail);
  }

  override clamp(bytes: number, make: Expressions): Expression {
    return make.sequence(this.head.clamp(bytes, make), this.tail.clamp(bytes, make));
  }

  override get reach(): number {
    return Math.min(this.head.reach, this.tail.reach);
  }

  override get hasMinimum(): boolean {
    return this.head.hasMinimum || this.tail.hasMinimum;
  }

  override get sharesCounts(): boolean {
    return this.head.sharesCounts || this.tail.sharesCounts;
  }

  override unlimited(make: Expressions): Expression {
    return make.sequence(this.head.unlimited(make), this.tail.unlimited(make));
  }
}

/** Any of several. */
export class Alternatives extends Expression {
  readonly parts: readonly Expression[];

  constructor(id: number, parts: readonly Expression[]) {
    super(
      id,
      parts.some((part) => part.nullable),
      parts.reduce((all, part) => all & part.alphabets, ~0),
    );
    this.parts = parts;
  }

  classes(make: Expressions): ByteClasses {
    return refineAll(this.parts, make);
  }

  derive(byte: number, make: Expressions): Expression {
    return make.alternatives(...this.parts.map((part) => make.derivative(part, byte)));
  }

  measure(of: CompletionOf): number {
    return Math.min(...this.parts.map(of));
  }
}

/** `min` to `max` times the same. */
export class Repeat extends Expression {
  readonly part: Expression;
  readonly min: number;
  readonly max: number;

  constructor(id: number, part: Expression, min: number, max: number) {
    super(id, min === 0, part.alphabets);
    this.part = part;
    this.min = min;
    this.max = max;
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.part).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    const rest = make.repeat(this.part, Math.max(this.min - 1, 0), this.max - 1);
    return make.sequence(make.derivative(this.part, byte), rest);
  }

  measure(of: CompletionOf): number {
    // An infinite one stands for a minimum that is not reached anyway; see `unlimited`.
    return this.min === 0 || this.min === Number.POSITIVE_INFINITY ? 0 : this.min * of(this.part);
  }

  override clamp(bytes: number, make: Expressions): Expression {
    const max = this.max > bytes ? Number.POSITIVE_INFINITY : this.max;
    return make.repeat(this.part, Math.min(this.min, bytes + 1), max);
  }

  override get reach(): number {
    return Math.min(this.max, this.min || Number.POSITIVE_INFINITY) - 1;
  }

  override get hasMinimum(): boolean {
    return this.min > 0;
  }

  override unlimited(make: Expressions): Expression {
    const min = this.min === 0 ? 0 : Number.POSITIVE_INFINITY;
    return make.repeat(this.part, min, Number.POSITIVE_INFINITY);
  }
}

/** What belongs to each of several. */
export class Intersection extends Expression {
  readonly parts: readonly Expression[];

  constructor(id: number, parts: readonly Expression[]) {
    super(
      id,
      parts.every((part) => part.nullable),
      parts.reduce((all, part) => all | part.alphabets, 0),
    );
    this.parts = parts;
  }

  classes(make: Expressions): ByteClasses {
    return refineAll(this.parts, make);
  }

  derive(byte: number, make: Expressions): Expression {
    return make.intersection(...this.parts.map((part) => make.derivative(part, byte)));
  }

  measure(of: CompletionOf): number {
    return this.nullable ? 0 : Math.max(1, ...this.parts.map(of));
  }

  /** A minimum cannot be left out: whether the other parts can meet it is not known then. */
  override get reach(): number {
    return this.hasMinimum ? -1 : Math.min(...this.parts.map((part) => part.reach));
  }

  override get hasMinimum(): boolean {
    return this.parts.some((part) => part.hasMinimum);
  }

  override get sharesCounts(): boolean {
    return this.parts.some((part) => part.reach < Number.POSITIVE_INFINITY);
  }

  override unlimited(make: Expressions): Expression {
    return make.intersection(...this.parts.map((part) => part.unlimited(make)));
  }
}

/** What does not belong to another; of all byte strings, whether text or not. */
export class Complement extends Expression {
  readonly part: Expression;

  constructor(id: number, part: Expression) {
    super(id, !part.nullable, 0);
    this.part = part;
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.part).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    return make.complement(make.derivative(this.part, byte));
  }

  measure(): number {
    return this.nullable ? 0 : 1;
  }
}

/**
 * A regular part that sequences do not take apart: however far it is read, what follows it is behind
 * it, so that what is known of its states is good wherever it stands.
 */
export class Lexeme extends Expression {
  readonly inner: Expression;

  constructor(id: number, inner: Expression) {
    super(id, inner.nullable, 0);
    this.inner = inner;
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.inner).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    return make.lexeme(make.derivative(this.inner, byte));
  }

  measure(of: CompletionOf): number {
    return of(this.inner);
  }

  override clamp(bytes: number, make: Expressions): Expression {
    return make.lexeme(this.inner.clamp(bytes, make));
  }

  override get reach(): number {
    return this.inner.reach;
  }

  override get hasMinimum(): boolean {
    return this.inner.hasMinimum;
  }

  override get sharesCounts(): boolean {
    return this.inner.sharesCounts;
  }

  override unlimited(make: Expressions): Expression {
    return make.lexeme(this.inner.unlimited(make));
  }
}

/**
 * A named expression, which others and it itself may contain. It is never empty text, and where it
 * stands in itself, something comes before.
 */
export class Rule extends Expression {
  /** Set once, after what refers to it was made. */
  definition: Expression | undefined;

  constructor(id: number) {
    super(id, false, 0);
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.definition!).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    return make.derivative(this.definition!, byte);
  }

  measure(of: CompletionOf): number {
    return of(this.definition!);
  }
}

/** The digits of multiples of `divisor`, behind digits that leave `remainder`. */
export class Multiple extends Expression {
  readonly divisor: number;
  readonly remainder: number;

  constructor(id: number, divisor: number, remainder: number) {
    super(id, remainder === 0, 0);
    this.divisor = divisor;
    this.remainder = remainder;
  }

  classes(make: Expressions): ByteClasses {
    return make.byteClasses.apart(Array.from({ length: 10 }, (_, digit) => 0x30 + digit));
  }

  derive(byte: number, make: Expressions): Expression {
    if (byte < 0x30 || byte > 0x39) return make.empty;
    return make.multiple(this.divisor, (this.remainder * 10 + byte - 0x30) % this.divisor);
  }

  /** With k more digits, any of 10^k consecutive numbers can be reached. */
  measure(): number {
    let digits = 0;
    let shifted = this.remainder;
    for (let reach = 1; (this.divisor - shifted) % this.divisor >= reach; reach *= 10) {
      shifted = (shifted * 10) % this.divisor;
      digits++;
    }
    return digits;
  }
}

function refineAll(parts: readonly Expression[], make: Expressions): ByteClasses {
  let classes = make.byteClasses.whole;
  for (const part of parts) {
    classes = make.byteClasses.refine(classes, make.stateOf(part).classes);
  }
  return classes;
}
