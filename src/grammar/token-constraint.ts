import { MowgliError } from '../errors.ts';
import type { TokenConstraint } from '../generate/constraint.ts';
import type { Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';
import type { Masks } from './masks.ts';
import type { State } from './state.ts';
import type { Vocabulary } from './vocabulary.ts';
import { TooMuchWork } from './work.ts';

/** Work that one token may take, about a tenth of a second. Ordinary grammars take some thousands. */
const MAX_WORK = 40_000;

/** What constraints of one model share. */
export interface Automaton {
  readonly make: Expressions;
  readonly vocabulary: Vocabulary;
  readonly masks: Masks;
  /** Expressions that may gather from token to token, at some hundred bytes each. */
  readonly maxGathered: number;
}

/** Holds one generation to an expression. */
export class GrammarConstraint implements TokenConstraint {
  readonly #automaton: Automaton;
  readonly #what: string;
  readonly #guides: boolean;
  #state: State;

  /**
   * @param what What messages call it that asks for the expression.
   * @param guides Whether it guides the whole text to an end, and not only parts of it.
   */
  constructor(automaton: Automaton, expression: Expression, what: string, guides: boolean) {
    this.#automaton = automaton;
    this.#what = what;
    this.#guides = guides;
    this.#state = automaton.make.stateOf(expression);
  }

  allowed(remaining: number): Uint32Array {
    return this.#limited(() => this.#allowed(remaining));
  }

  accept(token: number): void {
    this.#state = this.#limited(() => this.#after(token));
  }

  get complete(): boolean | undefined {
    return this.#guides ? this.#state.nullable : undefined;
  }

  get finished(): boolean {
    return this.#state.nullable && this.#limited(() => !this.#mayGoOn());
  }

  #allowed(remaining: number): Uint32Array {
    const { make, masks, maxGathered } = this.#automaton;
    if (make.size - make.kept > maxGathered) {
      make.forget();
      masks.forget();
      this.#state = make.stateOf(this.#state.expression);
    }
    const needed = make.completionOf(this.#state);
    if (needed > remaining) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${this.#what} cannot be completed within ${remaining} tokens: the shortest text that is ` +
          `sure to fit needs ${needed}. Raise maxTokens, or the context that the model is loaded with.`,
      );
    }
    return masks.allowed(this.#state, remaining - 1);
  }

  #after(token: number): State {
    const { make, vocabulary } = this.#automaton;
    let state = this.#state;
    for (const byte of vocabulary.tokenBytes(token)) state = make.next(state, byte);
    if (make.completionOf(state) === Number.POSITIVE_INFINITY) {
      throw new MowgliError(
        'OPTION_INVALID',
        `token ${token} was not among those that ${this.#what} allows here. Accept only tokens ` +
          'whose bits are set.',
      );
    }
    return state;
  }

  #mayGoOn(): boolean {
    const { make } = this.#automaton;
    return this.#state.classes.examples.some(
      (byte) => make.completionOf(make.next(this.#state, byte)) < Number.POSITIVE_INFINITY,
    );
  }

  /** @throws MowgliError `OPTION_INVALID` when it takes too much work */
  #limited<T>(step: () => T): T {
    try {
      return this.#automaton.make.work.within(MAX_WORK, step);
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      throw new MowgliError(
        'OPTION_INVALID',
        `${this.#what} leads to too many states: its patterns or alternatives are too complex to hold ` +
          'a text to them. Use simpler patterns, smaller counts in them, or fewer alternatives.',
        { cause: error },
      );
    }
  }
}
