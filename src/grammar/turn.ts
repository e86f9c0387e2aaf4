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
    const call = make.rule();
    call.definition = make.alternatives(
      ...tools.map((tool) => grammar.call(tool, { loose: isLoose(tool) })),
    );
    make.settle([call]);
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
    const further = make.rule();
    further.definition = make.alternatives(
      ...tools.map((tool) => grammar.call(tool, { loose: isLoose(tool) })),
    );
    make.settle([further]);
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

  #furtherCalls(call: Expression, max: number): Expression {
    const { make } = this.#texts;
    return make.repeat(make.sequence(make.literal('\n'), call), 0, max - 1);
  }
}
