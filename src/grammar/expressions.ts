import { ByteClassTable } from './byte-classes.ts';
import { ByteSet } from './byte-set.ts';
import { Completions } from './completions.ts';
import {
  Alternatives,
  Bytes,
  Complement,
  Empty,
  Epsilon,
  type Expression,
  type FixedText,
  Intersection,
  Lexeme,
  Literal,
  Multiple,
  Repeat,
  Rule,
  Sequence,
} from './expression.ts';
import {
  MemberName,
  type MemberProgress,
  type MemberRules,
  Members,
  type MemberTable,
  memberTable,
  noMembers,
} from './members.ts';
import { byteString, OneOf, type TextTable } from './one-of.ts';
import { State } from './state.ts';
import { Work } from './work.ts';

/** Another character for each byte. */
const oneByteEach = new TextDecoder('latin1');
/** Bytes of texts that are gone through in one unit of work. */
const BYTES_PER_UNIT = 32;
/** Bytes whose spelling in tokens takes one unit of work. */
const SPELLED_PER_UNIT = 4;
/** Bytes of the shortest of many texts that are spelled in tokens; the others count by bytes. */
const MOST_SPELLED = 2 ** 14;
/** Bytes that take as much memory as an expression. */
const BYTES_LIKE_ONE = 64;

/** How many tokens spell a text, from each byte on to its end. */
export type SpellingOf = (bytes: Uint8Array) => Uint32Array;

/** Every byte is a token. */
export const bytewise: SpellingOf = ({ length }) =>
  Uint32Array.from({ length }, (_, at) => length - at);

/**
 * Makes expressions, in a normal form: equal ones are the same object, and many that only mean the
 * same are equal. So a loop of the automaton leads back to the state where it began.
 */
export class Expressions {
  byteClasses = new ByteClassTable();
  readonly work = new Work();
  readonly empty: Expression;
  readonly epsilon: Expression;
  /** All byte strings. */
  readonly anything: Expression;
  readonly #completions = new Completions(this);
  readonly #spelling: SpellingOf;
  readonly #table = new Map<string, Expression>();
  readonly #texts = new Map<string, FixedText>();
  /** Of fixed texts, which all stay. */
  #textBytes = 0;
  /** Any text of each alphabet. */
  readonly #alphabets: Expression[] = [];
  readonly #alphabetBytes: ByteSet[] = [];
  readonly #keeping = new Set<Expression>();
  #keeps = true;
  #made = 0;

  constructor(spelling: SpellingOf = bytewise) {
    this.#spelling = spelling;
    this.empty = this.#intern('empty', (id) => new Empty(id, false, ~0));
    this.epsilon = this.#intern('epsilon', (id) => new Epsilon(id, true, ~0));
    this.anything = this.repeat(this.bytes(ByteSet.all));
  }

  /** Expressions that there are at present; fixed texts count as many as take so much memory. */
  get size(): number {
    return this.#table.size + Math.ceil(this.#textBytes / BYTES_LIKE_ONE);
  }

  /** Those of them that stay. */
  get kept(): number {
    return this.#keeping.size + Math.ceil(this.#textBytes / BYTES_LIKE_ONE);
  }

  /** Makes what it makes such that it stays when the rest is forgotten. */
  keep<T>(make: () => T): T {
    const before = this.#keeps;
    this.#keeps = true;
    try {
      return make();
    } finally {
      this.#keeps = before;
    }
  }

  /** From now on, what is made need not stay. */
  endSetup(): void {
    this.#keeps = false;
  }

  bytes(set: ByteSet): Expression {
    if (set.isEmpty) return this.empty;
    return this.#intern(`b${set.key}`, (id) => {
      let alphabets = 0;
      this.#alphabetBytes.forEach((all, i) => {
        if (set.isSubsetOf(all)) alphabets |= 1 << i;
      });
      return new Bytes(id, alphabets, set);
    });
  }

  literal(text: string | Uint8Array): Expression {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    const key = oneByteEach.decode(bytes);
    let fixed = this.#texts.get(key);
    if (!fixed) {
      fixed = { id: this.#texts.size, bytes, tokens: this.#spelled(bytes) };
      this.#texts.set(key, fixed);
      this.#textBytes += bytes.length;
    }
    return this.literalFrom(fixed, 0);
  }

  literalFrom(text: FixedText, from: number): Expression {
    if (from === text.bytes.length) return this.epsilon;
    return this.#intern(`l${text.id},${from}`, (id) => new Literal(id, text, from));
  }

  /** One of some texts. */
  oneOf(texts: readonly string[]): Expression {
    const sorted = [...new Set(texts.map(bytesOf))].sort();
    if (sorted.length === 0) return this.empty;
    if (sorted.length === 1) return this.literal(texts[0]!);
    const length = sorted.reduce((sum, text) => sum + text.length, 0);
    this.work.spend(sorted.length / 2 + length / BYTES_PER_UNIT);
    this.#textBytes += length;
    const table = { id: this.#made++, texts: sorted, tokens: this.#shortestSpelled(sorted) };
    return this.restOfTexts(table, 0, sorted.length, 0);
  }

  /** See {@link OneOf}. */
  restOfTexts(table: TextTable, from: number, to: number, depth: number): Expression {
    if (from === to) return this.empty;
    if (to === from + 1 && table.texts[from]!.length === depth) return this.epsilon;
    return this.#intern(
      `t${table.id},${from},${depth}`,
      (id) => new OneOf(id, table, from, to, depth),
    );
  }

  sequence(...parts: readonly Expression[]): Expression {
    return parts.reduceRight((tail, head) => this.#pair(head, tail), this.epsilon);
  }

  alternatives(...parts: readonly Expression[]): Expression {
    const flat = new Set<Expression>();
    this.work.spend(parts.length / 2);
    for (const part of parts) {
      if (part instanceof Alternatives) for (const inner of part.parts) flat.add(inner);
      else if (part !== this.empty) flat.add(part);
    }
    if (flat.has(this.anything)) return this.anything;
    if (flat.size > 1) this.#dropWhatIsCovered(flat);
    if (flat.size > 1) this.#joinTails(flat);
    if (flat.size > 1) this.#joinHeads(flat);
    if (flat.has(this.epsilon)) {
      const others = [...flat].filter((part) => part !== this.epsilon);
      if (others.some((part) => part.nullable)) flat.delete(this.epsilon);
    }
    if (flat.size === 0) return this.empty;
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length === 1) return sorted[0]!;
    const key = `a${sorted.map((part) => part.id).join(',')}`;
    return this.#intern(key, (id) => new Alternatives(id, sorted));
  }

  optional(part: Expression): Expression {
    return this.alternatives(this.epsilon, part);
  }

  repeat(part: Expression, min = 0, max = Number.POSITIVE_INFINITY): Expression {
    if (min > max) return this.empty;
    if (max === 0 || part === this.epsilon) return this.epsilon;
    if (part === this.empty) return min === 0 ? this.epsilon : this.empty;
    if (min === 1 && max === 1) return part;
    const least = part.nullable ? 0 : min;
    if (part instanceof Repeat && part.max === Number.POSITIVE_INFINITY && part.min <= 1) {
      if (least === 0 && part.min === 0) return part;
    }
    const key = `r${part.id},${least},${max}`;
    return this.#intern(key, (id) => new Repeat(id, part, least, max));
  }

  intersection(...parts: readonly Expression[]): Expression {
    const flat = new Set<Expression>();
    this.work.spend(parts.length / 2);
    for (const part of parts) {
      if (part instanceof Intersection) for (const inner of part.parts) flat.add(inner);
      else if (part !== this.anything) flat.add(part);
    }
    if (flat.size === 0) return this.anything;
    if (flat.has(this.empty)) return this.empty;
    if (flat.has(this.epsilon)) {
      return [...flat].every((part) => part.nullable) ? this.epsilon : this.empty;
    }
    for (const part of flat) {
      if (part instanceof Complement && flat.has(part.part)) return this.empty;
      // Any text of an alphabet: what is text of it anyway need not be held to it.
      const alphabet = this.#alphabets.indexOf(part);
      if (
        alphabet >= 0 &&
        someOther(flat, part, (other) => (other.alphabets & (1 << alphabet)) !== 0)
      ) {
        flat.delete(part);
      }
    }
    const sets = [...flat].filter((part) => part instanceof Bytes);
    if (sets.length > 1) {
      for (const part of sets) flat.delete(part);
      flat.add(this.bytes(sets.map((part) => part.set).reduce((a, b) => a.intersect(b))));
      return this.intersection(...flat);
    }
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length === 1) return sorted[0]!;
    const key = `i${sorted.map((part) => part.id).join(',')}`;
    return this.#intern(key, (id) => new Intersection(id, sorted));
  }

  complement(part: Expression): Expression {
    if (part instanceof Complement) return part.part;
    if (part === this.empty) return this.anything;
    if (part === this.anything) return this.empty;
    return this.#intern(`c${part.id}`, (id) => new Complement(id, part));
  }

  /** See {@link Lexeme}. */
  lexeme(inner: Expression): Expression {
    if (inner === this.empty || inner === this.epsilon || inner instanceof Lexeme) return inner;
    return this.#intern(`x${inner.id}`, (id) => new Lexeme(id, inner));
  }

  /** A rule to be defined later. */
  rule(): Rule {
    return this.#intern(`rule${this.#made}`, (id) => new Rule(id)) as Rule;
  }

  multiple(divisor: number, remainder = 0): Expression {
    return this.#intern(`m${divisor},${remainder}`, (id) => new Multiple(id, divisor, remainder));
  }

  members(rules: MemberRules): Expression {
    this.work.spend(2 * rules.members.length);
    const table = memberTable(this.#made++, rules);
    return this.membersLeft(table, noMembers(table));
  }

  membersLeft(table: MemberTable, progress: MemberProgress): Expression {
    const { open, written, distinct, otherCounted } = progress;
    const key = `o${table.id},${open.key},${written},${distinct},${otherCounted}`;
    return this.#intern(key, (id) => new Members(id, table, progress));
  }

  /** See {@link MemberName}. */
  memberNames(members: Members, from: number, to: number, depth: number): Expression {
    const { owners } = members.table;
    let first = from;
    while (first < to && !members.mayComeNext(owners[first]!)) first++;
    this.work.spend((first - from) / BYTES_PER_UNIT);
    if (first === to) return this.empty;
    return this.#intern(
      `n${members.id},${from},${depth}`,
      (id) => new MemberName(id, members, from, to, depth),
    );
  }

  /**
   * Any text made of characters that are each one of `characters`, which tell each other apart, as an
   * alphabet: see {@link Expression.alphabets}. `bytes` are those that are whole characters.
   */
  alphabet(
    characters: Expression,
    bytes: ByteSet,
  ): { readonly text: Expression; readonly bit: number } {
    const bit = 1 << this.#alphabets.length;
    characters.alphabets |= bit;
    const text = this.repeat(characters);
    this.#alphabets.push(text);
    this.#alphabetBytes.push(bytes);
    return { text, bit };
  }

  /** What may follow `byte` in a text of `expression`. */
  derivative(expression: Expression, byte: number): Expression {
    return this.next(this.stateOf(expression), byte).expression;
  }

  stateOf(expression: Expression): State {
    if (!expression.state) {
      this.work.spend(1);
      expression.state = new State(expression, expression.classes(this));
    }
    return expression.state;
  }

  next(state: State, byte: number): State {
    const of = state.classes.of[byte]!;
    let next = state.next[of];
    if (next === undefined) {
      next = this.stateOf(state.expression.derive(byte, this));
      state.next[of] = next;
    }
    return next;
  }

  /** Whether a text belongs to an expression. */
  accepts(expression: Expression, text: string | Uint8Array): boolean {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    let state = this.stateOf(expression);
    for (const byte of bytes) state = this.next(state, byte);
    return state.nullable;
  }

  /**
   * How many tokens complete a text of `expression`, at most: the shortest way is at least as short.
   * Infinity: it cannot be completed, or finding out took too long. There is always a token after
   * which it is one less, or more.
   */
  completion(expression: Expression): number {
    return this.#completions.of(expression);
  }

  completionOf(state: State): number {
    if (state.completion < 0) state.completion = this.completion(state.expression);
    return state.completion;
  }

  /** Finds the completions of rules, which may contain each other. Needed before any other. */
  settle(rules: readonly Rule[]): void {
    this.#completions.settle(rules);
  }

  /** Searches for completions that were given up; a sign of an expression too complex to be used. */
  get givenUp(): number {
    return this.#completions.givenUp;
  }

  /** Lets go of all that was not made within `keep`. What is in use remains right. */
  forget(): void {
    this.byteClasses = new ByteClassTable();
    for (const [key, expression] of this.#table) {
      expression.forget();
      if (!this.#keeping.has(expression)) this.#table.delete(key);
    }
  }

  #spelled(bytes: Uint8Array): Uint32Array {
    this.work.spend(bytes.length / SPELLED_PER_UNIT);
    return this.#spelling(bytes);
  }

  /** How tokens spell the shortest of some texts: one of these is what a completion is made of. */
  #shortestSpelled(texts: readonly string[]): (Uint32Array | undefined)[] {
    const tokens = new Array<Uint32Array | undefined>(texts.length).fill(undefined);
    const byLength = Array.from(texts.keys()).sort((a, b) => texts[a]!.length - texts[b]!.length);
    let spelled = 0;
    for (const at of byLength) {
      const text = texts[at]!;
      spelled += text.length;
      if (spelled > MOST_SPELLED) break;
      tokens[at] = this.#spelled(Uint8Array.from(text, (byte) => byte.charCodeAt(0)));
    }
    return tokens;
  }

  #intern(key: string, make: (id: number) => Expression): Expression {
    let expression = this.#table.get(key);
    if (!expression) {
      this.work.spend(2);
      expression = make(this.#made++);
      this.#table.set(key, expression);
      if (this.#keeps) this.#keeping.add(expression);
    }
    return expression;
  }

  #pair(head: Expression, tail: Expression): Expression {
    if (head === this.empty || tail === this.empty) return this.empty;
    if (head === this.epsilon) return tail;
    if (tail === this.epsilon) return head;
    if (head instanceof Sequence) {
      const heads: Expression[] = [];
      let rest: Expression = head;
      for (; rest instanceof Sequence; rest = rest.tail) heads.push(rest.head);
      heads.push(rest);
      return heads.reduceRight((behind, part) => this.#pair(part, behind), tail);
    }
    if (head instanceof Repeat) {
      const [next, rest] = tail instanceof Sequence ? [tail.head, tail.tail] : [tail, this.epsilon];
      if (next instanceof Repeat && next.part === head.part) {
        return this.#pair(this.repeat(head.part, head.min + next.min, head.max + next.max), rest);
      }
    }
    const key = `s${head.id},${tail.id}`;
    return this.#intern(key, (id) => new Sequence(id, head, tail));
  }

  /** Removes what is part of another alternative that is any text of an alphabet. */
  #dropWhatIsCovered(parts: Set<Expression>): void {
    this.#alphabets.forEach((text, i) => {
      if (!parts.has(text)) return;
      for (const part of parts) {
        if (part !== text && part.alphabets & (1 << i)) parts.delete(part);
      }
    });
  }

  /** Makes `[a]x|[b]x` into `[ab]x`, and `x{1,2}y|x{2,5}y` into `x{1,5}y`. */
  #joinTails(parts: Set<Expression>): void {
    const bytesBefore = new Map<Expression, Expression[]>();
    const repeatsBefore = new Map<string, Expression[]>();
    for (const part of parts) {
      const [head, tail] = part instanceof Sequence ? [part.head, part.tail] : [part, this.epsilon];
      if (head instanceof Bytes) append(bytesBefore, tail, part);
      else if (head instanceof Repeat) append(repeatsBefore, `${head.part.id},${tail.id}`, part);
    }
    for (const [tail, joined] of bytesBefore) {
      if (joined.length === 1) continue;
      const sets = joined.map((part) => (headOf(part) as Bytes).set);
      for (const part of joined) parts.delete(part);
      parts.add(this.#pair(this.bytes(sets.reduce((a, b) => a.union(b))), tail));
    }
    for (const joined of repeatsBefore.values()) {
      if (joined.length === 1) continue;
      const { part } = headOf(joined[0]!) as Repeat;
      const tail = joined[0] instanceof Sequence ? joined[0].tail : this.epsilon;
      for (const old of joined) parts.delete(old);
      for (const [min, max] of mergeRanges(joined.map((old) => headOf(old) as Repeat))) {
        parts.add(this.#pair(this.repeat(part, min, max), tail));
      }
    }
  }

  /** Makes `xy|xz` into `x(y|z)`. */
  #joinHeads(parts: Set<Expression>): void {
    const byHead = new Map<Expression, Expression[]>();
    for (const part of parts) append(byHead, headOf(part), part);
    for (const [head, joined] of byHead) {
      if (joined.length === 1) continue;
      for (const part of joined) parts.delete(part);
      const tails = joined.map((part) => (part instanceof Sequence ? part.tail : this.epsilon));
      parts.add(this.#pair(head, this.alternatives(...tails)));
    }
  }
}

/** The bytes of a text, as a string with a character for each. */
function bytesOf(text: string): string {
  return /^[\0-\x7f]*$/.test(text) ? text : byteString(new TextEncoder().encode(text));
}

function headOf(expression: Expression): Expression {
  return expression instanceof Sequence ? expression.head : expression;
}

function append<K>(lists: Map<K, Expression[]>, key: K, value: Expression): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

function someOther(
  parts: ReadonlySet<Expression>,
  but: Expression,
  test: (part: Expression) => boolean,
): boolean {
  for (const part of parts) if (part !== but && test(part)) return true;
  return false;
}

/** The fewest ranges of counts that are the same counts. */
function mergeRanges(repeats: readonly Repeat[]): [number, number][] {
  const sorted = repeats.map(({ min, max }): [number, number] => [min, max]);
  sorted.sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [min, max] of sorted) {
    const last = merged.at(-1);
    if (last && min <= last[1] + 1) last[1] = Math.max(last[1], max);
    else merged.push([min, max]);
  }
  return merged;
}
