import { MowgliError } from '../errors.ts';
import type { TokenConstraint } from '../generate/constraint.ts';
import type { Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';
import type { Masks } from './masks.ts';
import type { State } from './state.ts';
import type { Vocabulary } from './vocabulary.ts';

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
  #state: State;

  /** @param what What messages call it that asks for the expression. */
  constructor(automaton: Automaton, expression: Expression, what: string) {
    this.#automaton = automaton;
    this.#what = what;
    this.#state = automaton.make.stateOf(expression);
  }

  allowed(remaining: number): Uint32Array {
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

  accept(token: number): void {
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
    this.#state = state;
  }

  get finished(): boolean {
    const { make } = this.#automaton;
    const { nullable, classes } = this.#state;
    const goesOn = (byte: number) =>
      make.completionOf(make.next(this.#state, byte)) < Number.POSITIVE_INFINITY;
    return nullable && !classes.examples.some(goesOn);
  }
}
