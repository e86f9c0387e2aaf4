import {
  Complement,
  type Expression,
  Intersection,
  Lexeme,
  type Rule,
  Sequence,
} from './expression.ts';
import type { Expressions } from './expressions.ts';
import type { State } from './state.ts';

/** States that a search looks at before it gives up: a fraction of a second. */
const MAX_SEARCHED = 4000;

/**
 * How many tokens complete a text, at most. What is made of parts adds up or takes the least of them;
 * what intersections and complements need is searched for in the automaton, byte by byte.
 */
export class Completions {
  /** Searches that came to no end. */
  givenUp = 0;
  readonly #make: Expressions;
  /** What parts are measured with; the same for all, so that sums can be kept by it. */
  readonly #ofEach = {
    completion: (part: Expression) => this.#measured(part, 'completion'),
    leastBytes: (part: Expression) => this.#measured(part, 'leastBytes'),
  };

  constructor(make: Expressions) {
    this.#make = make;
  }

  of(expression: Expression): number {
    return this.#measured(expression, 'completion');
  }

  /**
   * Rules: those first whose parts are settled; of those that contain each other the nearest to an end
   * (Knuth 1977, https://doi.org/10.1016/0020-0190(77)90002-3): a rule whose completion is the least of
   * all that are not settled cannot become shorter by them.
   */
  settle(rules: readonly Rule[]): void {
    const open = new Map<Rule, OpenRule>();
    for (const rule of rules) {
      if (rule.completion < 0) open.set(rule, { rule, least: 0, waitsFor: new Set(), users: [] });
    }
    for (const one of open.values()) one.least = this.#evaluate(one, open, one.waitsFor);
    for (const one of open.values()) {
      for (const used of one.waitsFor) open.get(used)!.users.push(one);
    }
    let next = [...open.values()].filter(({ waitsFor }) => waitsFor.size === 0);
    while (open.size > 0) {
      if (next.length === 0) next = nearest([...open.values()]);
      const changed = new Set<OpenRule>();
      for (const { rule, least, users } of next) {
        rule.completion = least;
        open.delete(rule);
        for (const user of users) {
          user.waitsFor.delete(rule);
          changed.add(user);
        }
      }
      next = [];
      for (const one of changed) {
        if (!open.has(one.rule)) continue;
        one.least = this.#evaluate(one, open);
        if (one.waitsFor.size === 0) next.push(one);
      }
    }
  }

  /** What a rule is known to need so far: as if others that are open had no end. */
  #evaluate({ rule }: OpenRule, open: ReadonlyMap<Rule, OpenRule>, uses?: Set<Rule>): number {
    const known = new Map<Expression, number>();
    const of = (part: Expression): number => {
      if (part.completion >= 0) return part.completion;
      if (open.has(part as Rule)) {
        uses?.add(part as Rule);
        return Number.POSITIVE_INFINITY;
      }
      // What is regular contains no rules.
      if (part instanceof Lexeme || isSearched(part)) return this.of(part);
      let value = known.get(part);
      if (value === undefined) {
        this.#make.work.spend(1 / 4);
        value = part.measure(of, this.#make);
        known.set(part, value);
      }
      return value;
    };
    return of(rule.definition!);
  }

  /** A completion that needs no search of its own; -1 for others. */
  #knownOf(expression: Expression): number {
    return isSearched(expression) ? expression.completion : this.of(expression);
  }

  #measured(expression: Expression, what: 'completion' | 'leastBytes'): number {
    if (expression.completion >= 0) return expression.completion;
    if (expression[what] >= 0) return expression[what];
    // Sequences can be long: from their end on, nothing has to be looked into deeply.
    const chain: Expression[] = [];
    let rest = expression;
    for (; rest instanceof Sequence && rest[what] < 0; rest = rest.tail) chain.push(rest);
    chain.push(rest);
    for (const part of chain.reverse()) {
      if (part[what] >= 0) continue;
      part[what] =
        what === 'completion' && isSearched(part)
          ? this.#search(part)
          : part.measure(this.#ofEach[what], this.#make);
    }
    return expression[what];
  }

  /** A* over derivatives; every state on the way found is then known as well. */
  #search(start: Expression): number {
    const make = this.#make;
    const best = new Map<State, { bytes: number; from: State | undefined; done: boolean }>();
    /** States to go on from, by the least length of a whole text through them. */
    const queue = new Map<number, State[]>();
    const reach = (state: State, bytes: number, from: State | undefined) => {
      const known = best.get(state);
      if (known && known.bytes <= bytes) return;
      const total = bytes + this.#measured(state.expression, 'leastBytes');
      if (total === Number.POSITIVE_INFINITY) return;
      best.set(state, { bytes, from, done: false });
      const bucket = queue.get(total);
      if (bucket) bucket.push(state);
      else queue.set(total, [state]);
    };
    reach(make.stateOf(start), 0, undefined);
    let searched = 0;
    while (queue.size > 0) {
      const total = Math.min(...queue.keys());
      // The latest first: of ways that promise the same, the one that has come farther.
      const state = queue.get(total)!.pop();
      if (!state) {
        queue.delete(total);
        continue;
      }
      const entry = best.get(state)!;
      if (entry.done) continue;
      entry.done = true;
      const known = state.nullable ? 0 : this.#knownOf(state.expression);
      if (known >= 0) {
        for (let at: State | undefined = state; at; at = best.get(at)!.from) {
          at.expression.completion = known + entry.bytes - best.get(at)!.bytes;
        }
        return start.completion;
      }
      if (++searched > MAX_SEARCHED) {
        this.givenUp++;
        return Number.POSITIVE_INFINITY;
      }
      make.work.spend(state.classes.examples.length / 4);
      for (const byte of state.classes.examples) {
        reach(make.next(state, byte), entry.bytes + 1, state);
      }
    }
    for (const state of best.keys()) state.expression.completion = Number.POSITIVE_INFINITY;
    return Number.POSITIVE_INFINITY;
  }
}

/** A rule whose completion is not known yet. */
interface OpenRule {
  readonly rule: Rule;
  least: number;
  readonly waitsFor: Set<Rule>;
  readonly users: OpenRule[];
}

function nearest(open: readonly OpenRule[]): OpenRule[] {
  const least = open.reduce((least, one) => Math.min(least, one.least), Number.POSITIVE_INFINITY);
  return open.filter((one) => one.least === least);
}

function isSearched(expression: Expression): boolean {
  return expression instanceof Intersection || expression instanceof Complement;
}
