import type { ByteClasses } from './byte-classes.ts';
import type { Expression } from './expression.ts';

/** An expression as a state of the automaton: where each class of bytes leads, as far as was asked. */
export class State {
  readonly expression: Expression;
  readonly classes: ByteClasses;
  /** By class. */
  readonly next: (State | undefined)[];
  readonly nullable: boolean;
  /** `Expressions.completion`, once it is known; -1 before. */
  completion = -1;

  constructor(expression: Expression, classes: ByteClasses) {
    this.expression = expression;
    this.classes = classes;
    this.next = new Array<State | undefined>(classes.examples.length).fill(undefined);
    this.nullable = expression.nullable;
  }
}
