import { MowgliError } from '../errors.ts';
import { type Expression, Sequence } from './expression.ts';
import type { Expressions } from './expressions.ts';
import { LruMap } from './lru-map.ts';
import type { State } from './state.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Masks that are kept; one of 151,669 tokens takes 19 KB. */
const KEPT = 256;
/** Expressions that one walk may add. Ordinary grammars add some hundreds. */
const MAX_ADDED = 150_000;
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** Tokens, a bit for each. */
interface Mask {
  readonly words: Uint32Array;
  /** The most tokens that complete the text after one of these. */
  readonly most: number;
}

/** The tokens that stay within the first part of a sequence. */
interface InnerMask extends Mask {
  /** Nodes of the vocabulary that have children and where the first part may be over. */
  readonly exits: readonly number[];
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
  /** The states on the way to a node, by its depth. */
  readonly #path: State[] = [];
  readonly #scratch: Uint32Array;

  constructor(make: Expressions, vocabulary: Vocabulary, endTokens: readonly number[]) {
    this.#make = make;
    this.#vocabulary = vocabulary;
    this.#endTokens = endTokens;
    this.#words = Math.ceil(vocabulary.size / 32);
    this.#scratch = new Uint32Array(this.#words);
  }

  /**
   * The tokens after which `budget` further ones complete the text. Good until the next call, and not
   * to be written to.
   */
  allowed(state: State, budget: number): Uint32Array {
    let mask = this.#whole.get(state);
    if (!mask) {
      const words = new Uint32Array(this.#words);
      mask = { words, most: this.#compose(state, NO_LIMIT, words) };
      this.#whole.set(state, mask);
    }
    if (mask.most <= budget) return mask.words;
    this.#scratch.fill(0);
    this.#compose(state, budget, this.#scratch);
    return this.#scratch;
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
    const inner = this.#innerMask(clamped);
    let most = further;
    if (budget >= further) {
      const left = budget - further;
      const within = left < inner.most ? this.#limit(clamped, left) : inner;
      or(words, within.words);
      most += within.most;
    }
    if (tail !== make.epsilon) {
      const behind = make.stateOf(tail);
      for (const node of inner.exits) {
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

  #innerMask(head: Expression): InnerMask {
    const state = this.#make.stateOf(head);
    let mask = this.#inner.get(state);
    if (!mask) {
      const words = new Uint32Array(this.#words);
      const exits: number[] = head.nullable ? [0] : [];
      mask = { words, exits, most: this.#walk(state, 0, NO_LIMIT, words, exits) };
      this.#inner.set(state, mask);
    }
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
   * over to `exits`.
   */
  #walk(state: State, root: number, budget: number, words: Uint32Array, exits?: number[]): number {
    const make = this.#make;
    const { byteOf, depthOf, endOf, tokenOf, twinsOf } = this.#vocabulary;
    const dead = make.stateOf(make.empty);
    const most = make.size + MAX_ADDED;
    const path = this.#path;
    path[depthOf[root]!] = state;
    let longest = 0;
    for (let node = root + 1, end = endOf[root]!; node < end; ) {
      const depth = depthOf[node]!;
      const before = path[depth - 1]!;
      const byte = byteOf[node]!;
      let next = before.next[before.classes.of[byte]!];
      if (next === undefined) {
        next = make.next(before, byte);
        if (make.size > most) throw tooComplex();
      }
      if (next === dead) {
        node = endOf[node]!;
        continue;
      }
      path[depth] = next;
      const token = tokenOf[node]!;
      if (token >= 0) {
        const missing = next.completion < 0 ? make.completionOf(next) : next.completion;
        if (missing <= budget) {
          if (missing > longest) longest = missing;
          words[token >> 5]! |= 1 << (token & 31);
          if (twinsOf.size > 0) for (const twin of twinsOf.get(token) ?? []) set(words, twin);
        }
      }
      if (exits && next.nullable && endOf[node]! > node + 1) exits.push(node);
      node++;
    }
    return longest;
  }
}

function set(words: Uint32Array, id: number): void {
  words[id >> 5]! |= 1 << (id & 31);
}

function or(words: Uint32Array, others: Uint32Array): void {
  for (let i = 0; i < others.length; i++) words[i]! |= others[i]!;
}

function tooComplex(): MowgliError {
  return new MowgliError(
    'OPTION_INVALID',
    'the schema leads to too many states: its patterns or alternatives are too complex to hold a ' +
      'text to them. Use simpler patterns, smaller counts in them, or fewer alternatives.',
  );
}
