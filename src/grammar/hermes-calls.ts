import type { CallGrammar } from './call-grammar.ts';
import { CodePoints } from './code-points.ts';
import type { Expression } from './expression.ts';
import type { JsonText } from './json-text.ts';
import { SPACE } from './pattern.ts';
import { SchemaCompiler } from './schema/compiler.ts';
import type { Tool } from './tools.ts';

const OPENER = '<tool_call>';

/** Calls as JSON between tags; see `text/tool-calls/hermes.ts`. */
export class HermesCalls implements CallGrammar {
  readonly openers = [OPENER];
  readonly marks: Expression;
  readonly #json: JsonText;
  readonly #known = new WeakMap<Tool, Expression>();

  constructor(json: JsonText, tools: readonly Tool[]) {
    this.#json = json;
    const { make } = json.texts;
    this.marks = make.alternatives(make.literal(OPENER), this.#bareCall(tools));
  }

  call(tool: Tool, { loose = false, behind = '' } = {}): Expression {
    const { make } = this.#json.texts;
    const name = JSON.stringify(tool.offered.name);
    const before = `${OPENER}\n{"name": ${name}, "arguments": `;
    return make.sequence(
      make.literal(before.slice(behind.length)),
      loose ? this.#anyObject() : this.#arguments(tool),
      make.literal('}\n</tool_call>'),
    );
  }

  #arguments(tool: Tool): Expression {
    let value = this.#known.get(tool);
    if (!value) {
      value = tool.document.within(this.#json.texts.make.work, () => {
        const compiler = new SchemaCompiler(this.#json, tool.document, { inOrder: false });
        const made = compiler.value(tool.schemas);
        compiler.finish();
        return made;
      });
      this.#known.set(tool, value);
    }
    return value;
  }

  #anyObject(): Expression {
    const { texts, any } = this.#json;
    const other = this.#json.member(this.#json.name(texts.json.text), any);
    return this.#json.object({ members: [], other });
  }

  /**
   * JSON that is read as a call without its tags, because it names a tool. Where the name has escapes,
   * it may be any tool's.
   */
  #bareCall(tools: readonly Tool[]): Expression {
    const { make, raw } = this.#json.texts;
    const space = make.repeat(raw.character(SPACE));
    const quoted = ['"', "'"].map((quote) => {
      const plain = make.repeat(raw.character(CodePoints.in(`${quote}\\`).complement));
      const names = tools.map(({ offered }) => make.literal(`${offered.name}${quote}`));
      return make.sequence(
        make.literal(quote),
        make.alternatives(make.sequence(plain, make.literal('\\')), ...names),
      );
    });
    return make.sequence(
      make.literal('{'),
      space,
      make.literal('"name"'),
      space,
      make.literal(':'),
      space,
      make.alternatives(...quoted),
    );
  }
}
