import type { ByteClasses } from './byte-classes.ts';
import { type CompletionOf, Expression, type FixedText, Literal } from './expression.ts';
import type { Expressions } from './expressions.ts';
import { byteString, endOfRange } from './one-of.ts';
import { Positions } from './positions.ts';

/** A part with a name, of which there is one at most: a property of an object, a parameter of a call. */
export interface Member {
  /** Up to its value: a literal, or `empty` where there can be no such member. */
  readonly name: Expression;
  readonly value: Expression;
  readonly required: boolean;
}

/** What the members of an object may be. */
export interface MemberRules {
  readonly members: readonly Member[];
  /** A member with any other name; there may be several. */
  readonly other: Expression | undefined;
  /** Before the first member. */
  readonly opening: Expression;
  /** Between members. */
  readonly separator: Expression;
  /** Whether members come in the order in which they are listed, others last. */
  readonly inOrder: boolean;
  readonly min: number;
  readonly max: number;
}

/** {@link MemberRules}, and what of them was looked up once. */
export interface MemberTable extends MemberRules {
  readonly id: number;
  readonly required: Positions;
  /** The names, sorted by their bytes, and whose they are. */
  readonly names: readonly string[];
  readonly owners: Uint32Array;
  /** The names by their members. */
  readonly texts: readonly (FixedText | undefined)[];
}

/** How far the members of an object have come. */
export interface MemberProgress {
  /** The members that may still come. */
  readonly open: Positions;
  /** Members written so far; where no limit asks for it, only whether there are any. */
  readonly written: number;
  /** Different names so far, as far as the minimum asks for it. */
  readonly distinct: number;
  /** Whether a member with another name was counted among the different ones. */
  readonly otherCounted: boolean;
}

/** Members that are gone through in one unit of work. */
const MEMBERS_PER_UNIT = 16;

/** @param id tells tables apart */
export function memberTable(id: number, rules: MemberRules): MemberTable {
  const texts = rules.members.map(({ name }) => (name instanceof Literal ? name.text : undefined));
  const named = texts.flatMap((text, owner) =>
    text ? [{ name: byteString(text.bytes), owner }] : [],
  );
  named.sort((a, b) => (a.name < b.name ? -1 : 1));
  const isRequired = (i: number) => rules.members[i]!.required;
  return {
    ...rules,
    id,
    required: Positions.where(rules.members.length, isRequired),
    names: named.map(({ name }) => name),
    owners: Uint32Array.from(named, ({ owner }) => owner),
    texts,
  };
}

/**
 * The rest of an object's members. Which are left is a set, because they may come in any order; what
 * follows each is made only where it is walked.
 */
export class Members extends Expression {
  readonly table: MemberTable;
  readonly progress: MemberProgress;
  /** In order, the member behind which none may come yet; or the number of members. */
  readonly last: number;
  #expansion: Expression | undefined;
  /** By what it was asked with, which stays the same. */
  readonly #totals = new Map<CompletionOf, Totals>();

  constructor(id: number, table: MemberTable, progress: MemberProgress) {
    super(id, mayEnd(table, progress), 0);
    this.table = table;
    this.progress = progress;
    const next = table.inOrder ? progress.open.firstIn(table.required) : -1;
    this.last = next < 0 ? table.members.length : next;
  }

  /** Whether a member may come next. */
  mayComeNext(member: number): boolean {
    return member <= this.last && this.progress.open.has(member);
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.#expand(make)).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    return make.derivative(this.#expand(make), byte);
  }

  /** The required members and, where too few are, the shortest of the others. */
  measure(of: CompletionOf, make: Expressions): number {
    const { table, progress } = this;
    make.work.spend(table.members.length / MEMBERS_PER_UNIT);
    const totals = new Totals(this, of);
    const left = totals.left(progress.written, progress.distinct, undefined);
    if (left === 0 || left === Number.POSITIVE_INFINITY || progress.written > 0) return left;
    return left - of(table.separator) + of(table.opening);
  }

  /** What measuring needs of the members that are left. */
  totals(of: CompletionOf, make: Expressions): Totals {
    let totals = this.#totals.get(of);
    if (!totals) {
      make.work.spend(this.table.members.length / MEMBERS_PER_UNIT);
      totals = new Totals(this, of);
      this.#totals.set(of, totals);
    }
    return totals;
  }

  override forget(): void {
    super.forget();
    this.#expansion = undefined;
    this.#totals.clear();
  }

  /** What is left behind a member that comes next. */
  after(member: number, make: Expressions): Expression {
    const { table, progress } = this;
    const { open, written, distinct, otherCounted } = progress;
    return make.membersLeft(table, {
      // In order, what comes before a member that is written is passed over.
      open: table.inOrder ? open.behind(member) : open.without(member),
      written: countWritten(table, written),
      distinct: Math.min(distinct + 1, table.min),
      otherCounted,
    });
  }

  #expand(make: Expressions): Expression {
    this.#expansion ??= this.#nexts(make);
    return this.#expansion;
  }

  #nexts(make: Expressions): Expression {
    const { table, progress } = this;
    const { open, written, distinct, otherCounted } = progress;
    const nexts: Expression[] = [];
    if (written < table.max) {
      nexts.push(make.memberNames(this, 0, table.names.length, 0));
      if (table.other && !(table.inOrder && this.last < table.members.length)) {
        // Other names may repeat: all of them together are sure to be one name.
        const left = make.membersLeft(table, {
          open: table.inOrder ? Positions.none(table.members.length) : open,
          written: countWritten(table, written),
          distinct: otherCounted ? distinct : Math.min(distinct + 1, table.min),
          otherCounted: true,
        });
        nexts.push(make.sequence(table.other, left));
      }
    }
    const before = written === 0 ? table.opening : table.separator;
    const more = make.sequence(before, make.alternatives(...nexts));
    return this.nullable ? make.alternatives(make.epsilon, more) : more;
  }
}

/** Sums over the members that are left, so that what is behind each of them is quickly measured. */
class Totals {
  readonly #members: Members;
  readonly #of: CompletionOf;
  readonly #required: number;
  readonly #length: number;
  /** How many of the required ones cannot be completed; they are not part of the length. */
  readonly #endless: number;
  /** Lengths of those that are not required, the shortest first, and how long so many of them are. */
  readonly #further: number[];
  readonly #sums: number[];

  constructor(members: Members, of: CompletionOf) {
    const { table, progress } = members;
    this.#members = members;
    this.#of = of;
    let required = 0;
    let sum = 0;
    let endless = 0;
    const further: number[] = [];
    progress.open.forEach((i) => {
      const { name, value, required: must } = table.members[i]!;
      const length = of(name) + of(value);
      if (must) {
        required++;
        if (length < Number.POSITIVE_INFINITY) sum += length;
        else endless++;
      } else if (table.min > 0) {
        further.push(length);
      }
    });
    if (table.min > 0 && table.other && !progress.otherCounted) further.push(of(table.other));
    further.sort((a, b) => a - b);
    let total = 0;
    this.#sums = [0, ...further.map((length) => (total += length))];
    this.#required = required;
    this.#length = sum;
    this.#endless = endless;
    this.#further = further;
  }

  /** How much is needed behind the value of a member that comes next, and can be completed. */
  behind(member: number, make: Expressions): number {
    const { table, progress } = this.#members;
    // What is passed over cannot be counted on any more.
    if (table.inOrder && table.min > 0) return this.#of(this.#members.after(member, make));
    const written = countWritten(table, progress.written);
    return this.left(written, Math.min(progress.distinct + 1, table.min), member);
  }

  /** How much is needed but for one member, each behind a separator. */
  left(written: number, distinct: number, but: number | undefined): number {
    const { table } = this.#members;
    let required = this.#required;
    let length = this.#length;
    let shortest = this.#further.length;
    let replaced: number | undefined;
    if (but !== undefined) {
      const { name, value, required: must } = table.members[but]!;
      const own = this.#of(name) + this.#of(value);
      if (must) {
        required--;
        length -= own;
      } else if (table.min > 0) {
        shortest--;
        replaced = own;
      }
    }
    const missing = Math.max(0, table.min - distinct - required);
    const tooMany = written + required + missing > table.max;
    if (this.#endless > 0 || missing > shortest || tooMany) {
      return Number.POSITIVE_INFINITY;
    }
    if (missing > 0) {
      const isCounted = replaced !== undefined && replaced <= this.#further[missing - 1]!;
      length += isCounted ? this.#sums[missing + 1]! - replaced! : this.#sums[missing]!;
    }
    const count = required + missing;
    return count === 0 ? 0 : length + count * this.#of(table.separator);
  }
}

/** The rest of the name of one of the members that may come next, its value, and what is behind. */
export class MemberName extends Expression {
  readonly members: Members;
  /** Of the sorted names, `from` to `to`, behind their first `depth` bytes. */
  readonly from: number;
  readonly to: number;
  readonly depth: number;

  constructor(id: number, members: Members, from: number, to: number, depth: number) {
    super(id, false, 0);
    this.members = members;
    this.from = from;
    this.to = to;
    this.depth = depth;
  }

  classes(make: Expressions): ByteClasses {
    const { names } = this.members.table;
    const bytes: number[] = [];
    for (let at = this.from; at < this.to; ) {
      const byte = names[at]!.charCodeAt(this.depth);
      bytes.push(byte);
      at = endOfRange(names, at, this.to, this.depth, byte);
    }
    make.work.spend(bytes.length);
    return make.byteClasses.apart(bytes);
  }

  derive(byte: number, make: Expressions): Expression {
    const { names } = this.members.table;
    const from = endOfRange(names, this.from, this.to, this.depth, byte - 1);
    const to = endOfRange(names, from, this.to, this.depth, byte);
    const depth = this.depth + 1;
    // Only the first can end here.
    const ends = from < to && names[from]!.length === depth;
    const rest = make.memberNames(this.members, ends ? from + 1 : from, to, depth);
    const { owners, members } = this.members.table;
    const owner = owners[from]!;
    if (!ends || !this.members.mayComeNext(owner)) return rest;
    const { value } = members[owner]!;
    return make.alternatives(make.sequence(value, this.members.after(owner, make)), rest);
  }

  measure(of: CompletionOf, make: Expressions): number {
    const { members, from, to, depth } = this;
    const { owners, texts, members: all } = members.table;
    const totals = members.totals(of, make);
    make.work.spend((to - from) / MEMBERS_PER_UNIT);
    let least = Number.POSITIVE_INFINITY;
    for (let at = from; at < to; at++) {
      const owner = owners[at]!;
      const value = of(all[owner]!.value);
      if (value === Number.POSITIVE_INFINITY || !members.mayComeNext(owner)) continue;
      const name = texts[owner]!.tokens[depth]!;
      least = Math.min(least, name + value + totals.behind(owner, make));
    }
    return least;
  }
}

function mayEnd({ required, min }: MemberTable, { open, distinct }: MemberProgress): boolean {
  return open.firstIn(required) < 0 && distinct >= min;
}

/** The beginning of an object. */
export function noMembers(table: MemberTable): MemberProgress {
  const open = Positions.all(table.members.length);
  return { open, written: 0, distinct: 0, otherCounted: table.min === 0 };
}

function countWritten({ max }: MemberTable, written: number): number {
  return max === Number.POSITIVE_INFINITY ? 1 : written + 1;
}
