import { MowgliError } from '../errors.ts';
import type { CallGrammar } from './call-grammar.ts';
import type { Expression } from './expression.ts';
import type { Texts } from './json-text.ts';
import type { Tool } from './tools.ts';

/** Turns of the assistant, put together from texts and calls. */
export class Turns {
  readonly #texts: Texts;

  constructor(texts: Texts) {
    this.#texts = texts;
  }

  /** Reasoning, which the prompt has opened, and what comes behind it. */
  afterReasoning(rest: Expression): Expression {
    const { make } = this.#texts;
    const end = make.literal('</think>');
    return make.sequence(
      make.lexeme(make.sequence(make.complement(this.#texts.containing(end)), end)),
      make.repeat(make.literal('\n'), 0, 2),
      rest,
    );
  }

  /** Calls of any of some tools, `max` at most. */
  calls(
    grammar: CallGrammar,
    tools: readonly Tool[],
    max: number,
    isLoose: (tool: Tool) => boolean = () => false,
  ): Expression {
    const { make } = this.#texts;
    const call = this.#anyCall(grammar, tools, isLoose);
    return make.sequence(call, this.#furtherCalls(call, max));
  }

  /** Text in which there are no calls. */
  text(grammar: CallGrammar): Expression {
    return this.#texts.make.complement(this.#texts.containing(grammar.marks));
  }

  /** Text, and calls behind it if there are any. */
  textAndCalls(
    grammar: CallGrammar,
    tools: readonly Tool[],
    max: number,
    isLoose: (tool: Tool) => boolean,
  ): Expression {
    const { make } = this.#texts;
    const text = this.text(grammar);
    const further = this.#anyCall(grammar, tools, isLoose);
    const withCalls = grammar.openers.map((opener) => {
      const bodies = tools.map((tool) =>
        grammar.call(tool, { loose: isLoose(tool), behind: opener }),
      );
      return make.sequence(
        make.lexeme(make.sequence(text, make.literal(opener))),
        make.alternatives(...bodies),
        this.#furtherCalls(further, max),
      );
    });
    return make.alternatives(text, ...withCalls);
  }

  #anyCall(
    grammar: CallGrammar,
    tools: readonly Tool[],
    isLoose: (tool: Tool) => boolean,
  ): Expression {
    const { make } = this.#texts;
    const call = make.rule();
    const calls = tools.map((tool) =>
      isLoose(tool) ? grammar.call(tool, { loose: true }) : this.#obedientCall(grammar, tool),
    );
    call.definition = make.alternatives(...calls);
    make.settle([call]);
    return call;
  }

  /**
   * A call with arguments that obey the schema. Where that cannot be had and the tool does not insist, one
   * with any arguments: a client that offers many tools did not write them all.
   */
  #obedientCall(grammar: CallGrammar, tool: Tool): Expression {
    try {
      return this.#callable(tool, () => grammar.call(tool));
    } catch (error) {
      const refused = error instanceof MowgliError && error.code === 'OPTION_INVALID';
      if (tool.strict || !refused) throw error;
      return this.#callable(tool, () => grammar.call(tool, { loose: true }));
    }
  }

  /** @throws MowgliError `OPTION_INVALID` for a call that cannot be written */
  #callable(tool: Tool, write: () => Expression): Expression {
    const { make } = this.#texts;
    const { givenUp } = make;
    const call = write();
    if (make.completion(call) < Number.POSITIVE_INFINITY || make.givenUp > givenUp) return call;
    throw new MowgliError(
      'OPTION_INVALID',
      `${tool.document.name}: the tool cannot be called, because no arguments match the schema ` +
        'in the format in which this model writes calls. Correct what contradicts itself, and ' +
        'name the types of parameters.',
    );
  }

  #furtherCalls(call: Expression, max: number): Expression {
    const { make } = this.#texts;
    return make.repeat(make.sequence(make.literal('\n'), call), 0, max - 1);
  }
}
