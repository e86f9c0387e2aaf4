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
  /** Groups of bytes (`byteGroups`) after all of which it is the same state again; -1 before asked. */
  loops = -1;
  /** The same without counts, where it is a lexeme; itself where there are none. Unknown before asked. */
  unlimited: State | undefined;
  /** The most bytes within which `unlimited` stands for it. */
  reach = Number.POSITIVE_INFINITY;
  /** Whether it does so only for texts that are completed within that. */
  sharesCounts = false;

  constructor(expression: Expression, classes: ByteClasses) {
    this.expression = expression;
    this.classes = classes;
    this.next = new Array<State | undefined>(classes.examples.length).fill(undefined);
    this.nullable = expression.nullable;
  }
}
