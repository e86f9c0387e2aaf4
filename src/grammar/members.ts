import type { ByteClasses } from './byte-classes.ts';
import { type CompletionOf, Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';

/** A part with a name, of which there is one at most: a property of an object, a parameter of a call. */
export interface Member {
  /** Up to its value. A literal, so that what it costs does not depend on the other names. */
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
  /** A bit for each required member. */
  readonly required: bigint;
}

/** How far the members of an object have come. */
export interface MemberProgress {
  /** A bit for each member that may still come. */
  readonly open: bigint;
  /** Members written so far; where no limit asks for it, only whether there are any. */
  readonly written: number;
  /** Different names so far, as far as the minimum asks for it. */
  readonly distinct: number;
  /** Whether a member with another name was counted among the different ones. */
  readonly otherCounted: boolean;
}

/**
 * The rest of an object's members. Which are left is a set, because they may come in any order; so
 * what follows is an alternative for each, made only where it is walked.
 */
export class Members extends Expression {
  readonly table: MemberTable;
  readonly progress: MemberProgress;
  #expansion: Expression | undefined;

  constructor(id: number, table: MemberTable, progress: MemberProgress) {
    super(id, mayEnd(table, progress), 0);
    this.table = table;
    this.progress = progress;
  }

  classes(make: Expressions): ByteClasses {
    return make.stateOf(this.#expand(make)).classes;
  }

  derive(byte: number, make: Expressions): Expression {
    return make.derivative(this.#expand(make), byte);
  }

  /** The required members and, where too few are, the shortest of the others. */
  measure(of: CompletionOf): number {
    const { members, other, opening, separator, min, max } = this.table;
    const { open, written, distinct, otherCounted } = this.progress;
    let count = 0;
    let sum = 0;
    const further: number[] = [];
    members.forEach(({ name, value, required }, i) => {
      if (!(open & (1n << BigInt(i)))) return;
      const length = of(name) + of(value);
      if (required) {
        count++;
        sum += length;
      } else {
        further.push(length);
      }
    });
    if (other && !otherCounted) further.push(of(other));
    const missing = Math.max(0, min - distinct - count);
    if (missing > further.length || written + count + missing > max) {
      return Number.POSITIVE_INFINITY;
    }
    if (missing > 0) {
      further.sort((a, b) => a - b);
      for (let i = 0; i < missing; i++) sum += further[i]!;
      count += missing;
    }
    if (count === 0) return 0;
    const first = written === 0 ? of(opening) : of(separator);
    return sum + first + (count - 1) * of(separator);
  }

  override forget(): void {
    super.forget();
    this.#expansion = undefined;
  }

  #expand(make: Expressions): Expression {
    this.#expansion ??= this.#nexts(make);
    return this.#expansion;
  }

  #nexts(make: Expressions): Expression {
    const { table, progress } = this;
    const { open, written } = progress;
    const before = written === 0 ? table.opening : table.separator;
    const nexts: Expression[] = [];
    if (written < table.max) {
      for (const [i, { name, value, required }] of table.members.entries()) {
        const bit = 1n << BigInt(i);
        if (!(open & bit)) continue;
        // In order, what comes before a member that is written is passed over.
        const left = table.inOrder ? (open >> BigInt(i + 1)) << BigInt(i + 1) : open & ~bit;
        nexts.push(
          make.sequence(name, value, make.membersLeft(table, after(table, progress, left))),
        );
        if (required && table.inOrder) break;
      }
      if (table.other && !(table.inOrder && open & table.required)) {
        const left = make.membersLeft(table, afterOther(table, progress));
        nexts.push(make.sequence(table.other, left));
      }
    }
    const more = make.sequence(before, make.alternatives(...nexts));
    return this.nullable ? make.alternatives(make.epsilon, more) : more;
  }
}

function mayEnd({ required, min }: MemberTable, { open, distinct }: MemberProgress): boolean {
  return (open & required) === 0n && distinct >= min;
}

/** The beginning of an object. */
export function noMembers(table: MemberTable): MemberProgress {
  const open = (1n << BigInt(table.members.length)) - 1n;
  return { open, written: 0, distinct: 0, otherCounted: table.min === 0 };
}

function after(table: MemberTable, progress: MemberProgress, open: bigint): MemberProgress {
  const { written, distinct, otherCounted } = progress;
  return {
    open,
    written: countWritten(table, written),
    distinct: Math.min(distinct + 1, table.min),
    otherCounted,
  };
}

/** Other names may repeat: all of them together are sure to be one name. */
function afterOther(table: MemberTable, progress: MemberProgress): MemberProgress {
  const { open, written, distinct, otherCounted } = progress;
  return {
    open: table.inOrder ? 0n : open,
    written: countWritten(table, written),
    distinct: otherCounted ? distinct : Math.min(distinct + 1, table.min),
    otherCounted: true,
  };
}

function countWritten({ max }: MemberTable, written: number): number {
  return max === Number.POSITIVE_INFINITY ? 1 : written + 1;
}
