import { type Expression, Lexeme, Sequence } from './expression.ts';
import type { Expressions } from './expressions.ts';
import { LruMap } from './lru-map.ts';
import type { State } from './state.ts';
import { BEYOND_ASCII, byteGroups, nextInUtf8, type Vocabulary } from './vocabulary.ts';

/** Masks that are kept; one of 151,669 tokens takes 19 KB. */
const KEPT = 256;
/** Nodes below one that make it worth while to look for a way past them. */
const MANY = 16;
/** Bytes that are left for the end of a text when its counts are disregarded. */
const SPARE = 16;
/** Nodes that are walked over in one unit of work. */
const NODES_PER_UNIT = 50;
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** Tokens, a bit for each. */
interface Mask {
  readonly words: Uint32Array;
  /** The most tokens that complete the text after one of these. */
  readonly most: number;
}

/** The tokens that stay within the first part of a sequence. */
interface InnerMask extends Mask {
  /**
   * Nodes of the vocabulary that have children and where the first part may be over. Only where
   * something comes behind it.
   */
  readonly exits: readonly number[] | undefined;
}

/** A node on the way of a walk. */
interface Step {
  state: State;
  /** How much more the completion of the true state is than that of the state that stands for it. */
  shift: number;
  /** Completions up to this are sure to be possible for the true state as well. */
  slack: number;
}

/**
 * Which tokens may come next in a state. What most tokens depend on is the part that the text is in,
 * the body of a string; where it is in the whole matters to few. So masks of parts are kept, and put
 * together with the tokens that leave the part.
 */
export class Masks {
  readonly #make: Expressions;
  readonly #vocabulary: Vocabulary;
  readonly #endTokens: readonly number[];
  readonly #words: number;
  readonly #whole = new LruMap<State, Mask>(KEPT);
  readonly #inner = new LruMap<State, InnerMask>(KEPT);
  readonly #limited = new LruMap<string, Mask>(KEPT);
  /** What is on the way to a node, by its depth. */
  readonly #path: Step[] = [];

  constructor(make: Expressions, vocabulary: Vocabulary, endTokens: readonly number[]) {
    this.#make = make;
    this.#vocabulary = vocabulary;
    this.#endTokens = endTokens;
    this.#words = Math.ceil(vocabulary.size / 32);
  }

  /**
   * The tokens after which `budget` further ones complete the text. Not to be written to: many callers
   * get the same.
   */
  allowed(state: State, budget: number): Uint32Array {
    let mask = this.#whole.get(state);
    if (!mask) {
      const words = new Uint32Array(this.#words);
      mask = { words, most: this.#compose(state, NO_LIMIT, words) };
      this.#whole.set(state, mask);
    }
    if (mask.most <= budget) return mask.words;
    const words = new Uint32Array(this.#words);
    this.#compose(state, budget, words);
    return words;
  }

  /** Lets go of what was kept, because states were forgotten. */
  forget(): void {
    this.#whole.clear();
    this.#inner.clear();
    this.#limited.clear();
  }

  /** Adds a state's tokens to `words`. */
  #compose(state: State, budget: number, words: Uint32Array): number {
    const make = this.#make;
    const { expression } = state;
    const [head, tail] =
      expression instanceof Sequence
        ? [expression.head, expression.tail]
        : [expression, make.epsilon];
    const clamped = head.clamp(this.#vocabulary.maxBytes, make);
    const further = make.completion(tail) + make.completion(head) - make.completion(clamped);
    const inner = this.#innerMask(clamped, tail !== make.epsilon);
    let most = further;
    if (budget >= further) {
      const left = budget - further;
      const within = left < inner.most ? this.#limit(clamped, left) : inner;
      or(words, within.words);
      most += within.most;
    }
    if (tail !== make.epsilon) {
      const behind = make.stateOf(tail);
      for (const node of inner.exits!) {
        const found =
          node === 0
            ? this.#compose(behind, budget, words)
            : this.#walk(behind, node, budget, words);
        most = Math.max(most, found);
      }
    }
    if (state.nullable) for (const id of this.#endTokens) set(words, id);
    return most;
  }

  #innerMask(head: Expression, hasTail: boolean): InnerMask {
    const state = this.#make.stateOf(head);
    const known = this.#inner.get(state);
    if (known && (known.exits || !hasTail)) return known;
    const words = new Uint32Array(this.#words);
    const exits = hasTail ? (head.nullable ? [0] : []) : undefined;
    const mask = { words, exits, most: this.#walk(state, 0, NO_LIMIT, words, exits) };
    this.#inner.set(state, mask);
    return mask;
  }

  #limit(head: Expression, budget: number): Mask {
    const key = `${head.id},${budget}`;
    let mask = this.#limited.get(key);
    if (!mask) {
      const words = new Uint32Array(this.#words);
      mask = { words, most: this.#walk(this.#make.stateOf(head), 0, budget, words) };
      this.#limited.set(key, mask);
    }
    return mask;
  }

  /**
   * Adds the tokens that go on from a node in a state to `words`, and the nodes where the text may be
   * over to `exits`. The most that any of them leaves to be completed is returned.
   */
  #walk(start: State, root: number, budget: number, words: Uint32Array, exits?: number[]): number {
    const known = exits?.length;
    const most = this.#tryWalk(start, root, budget, words, true, exits);
    if (most !== undefined) return most;
    if (exits) exits.length = known!;
    return this.#tryWalk(start, root, budget, words, false, exits)!;
  }

  /**
   * The same. With `skips`, states without counts stand for those whose counts are out of reach, so that
   * loops are met more often; `undefined` when that cannot tell all.
   */
  #tryWalk(
    start: State,
    root: number,
    budget: number,
    words: Uint32Array,
    skips: boolean,
    exits: number[] | undefined,
  ): number | undefined {
    const make = this.#make;
    const { byteOf, depthOf, endOf, tokenOf, groupsBelow, isTextBelow, heightOf } =
      this.#vocabulary;
    const dead = make.stateOf(make.empty);
    const path = this.#path;
    const rootDepth = depthOf[root]!;
    path[rootDepth] = { state: start, shift: 0, slack: Number.POSITIVE_INFINITY };
    let most = 0;
    let walked = 0;
    for (let node = root + 1, last = endOf[root]!; node < last; ) {
      if (++walked % NODES_PER_UNIT === 0) make.work.spend(1);
      const end = endOf[node]!;
      const depth = depthOf[node]!;
      const before = path[depth - 1]!;
      const byte = byteOf[node]!;
      let state = before.state.next[before.state.classes.of[byte]!];
      if (state === undefined) {
        state = make.next(before.state, byte);
      }
      if (state === dead) {
        node = end;
        continue;
      }
      let { shift, slack } = before;
      let isLoop = false;
      if (end - node > MANY) {
        const unlimited = this.#unlimited(state);
        const height = heightOf[node]! + (state.sharesCounts ? SPARE : 0);
        if (skips && unlimited !== state && height <= state.reach) {
          const difference = make.completionOf(state) - make.completionOf(unlimited);
          // A minimum that is left out makes completions too long for what comes farther behind.
          if (difference === 0 || budget === NO_LIMIT) {
            shift += difference;
            if (state.sharesCounts) slack = Math.min(slack, state.reach + 1 - heightOf[node]!);
            state = unlimited;
          }
        }
        const loops = state.loops < 0 ? this.#loops(state) : state.loops;
        const beyond = isTextBelow[node] === 1 ? 0 : 1 << BEYOND_ASCII;
        isLoop = (groupsBelow[node]! & (~loops | beyond)) === 0 && !(exits && state.nullable);
      }
      const token = tokenOf[node]!;
      if (isLoop || token >= 0) {
        const completion = make.completionOf(state);
        // With counts, it might not be possible to complete it so.
        if (completion > slack && completion < Number.POSITIVE_INFINITY) return undefined;
        const missing = completion + shift;
        if (missing <= budget) {
          if (missing > most) most = missing;
          if (isLoop) this.#addAll(node, words);
          else this.#add(token, words);
        }
      }
      if (isLoop) {
        // Whatever comes below, it is this state again.
        node = end;
        continue;
      }
      const here = path[depth];
      if (here) {
        here.state = state;
        here.shift = shift;
        here.slack = slack;
      } else {
        path[depth] = { state, shift, slack };
      }
      if (exits && state.nullable && end > node + 1) exits.push(node);
      node++;
    }
    return most;
  }

  #add(token: number, words: Uint32Array): void {
    words[token >> 5]! |= 1 << (token & 31);
    const { twinsOf } = this.#vocabulary;
    if (twinsOf.size > 0) for (const twin of twinsOf.get(token) ?? []) set(words, twin);
  }

  /** Adds the token at a node and all below it. */
  #addAll(node: number, words: Uint32Array): void {
    const { tokensBefore, inOrder, endOf } = this.#vocabulary;
    const last = tokensBefore[endOf[node]!]!;
    for (let i = tokensBefore[node]!; i < last; i++) this.#add(inOrder[i]!, words);
  }

  /** A state without counts that few bytes cannot reach. */
  #unlimited(state: State): State {
    if (!state.unlimited) {
      const { expression } = state;
      state.unlimited = state;
      if (expression instanceof Lexeme && expression.reach < Number.POSITIVE_INFINITY) {
        state.reach = expression.reach;
        state.sharesCounts = expression.sharesCounts;
        state.unlimited = this.#make.stateOf(expression.unlimited(this.#make));
      }
    }
    return state.unlimited;
  }

  /** The groups of bytes after each of which a state is the same again. */
  #loops(state: State): number {
    const make = this.#make;
    let loops = 0x7fffffff;
    for (let byte = 0; byte < 128; byte++) {
      const bit = 1 << byteGroups[byte]!;
      if (loops & bit && make.next(state, byte) !== state) loops &= ~bit;
    }
    // A few letters tell whether it is worth while to try all characters.
    const isText = loops !== 0 && this.#returns(state, state, 0, new Set());
    // The highest bit is a sign to JavaScript, where -1 means unknown: as a positive number it is fine.
    state.loops = isText ? loops + 2 ** BEYOND_ASCII : loops;
    return state.loops;
  }

  /** Whether each character beyond ASCII leads back to `origin`, from within one in a state of UTF-8. */
  #returns(origin: State, state: State, within: number, seen: Set<string>): boolean {
    const key = `${state.expression.id},${within}`;
    if (seen.has(key)) return true;
    seen.add(key);
    for (let byte = 0x80; byte < 256; byte++) {
      const then = nextInUtf8(within, byte);
      if (then < 0) continue;
      const next = this.#make.next(state, byte);
      if (then === 0 ? next !== origin : !this.#returns(origin, next, then, seen)) return false;
    }
    return true;
  }
}

function set(words: Uint32Array, id: number): void {
  words[id >> 5]! |= 1 << (id & 31);
}

function or(words: Uint32Array, others: Uint32Array): void {
  for (let i = 0; i < others.length; i++) words[i]! |= others[i]!;
}
