import { MowgliError } from '../errors.ts';
import type { JsonType as ReadType } from '../text/tool-calls/value-types.ts';
import type { CallGrammar } from './call-grammar.ts';
import type { Expression } from './expression.ts';
import { JsonText, type Texts } from './json-text.ts';
import type { Member } from './members.ts';
import { SPACE } from './pattern.ts';
import { SchemaCompiler } from './schema/compiler.ts';
import type { SchemaNode } from './schema/document.ts';
import { anyValue, both, type Facets, type JsonType } from './schema/facets.ts';
import type { Tool } from './tools.ts';

const WRAPPER = '<tool_call>';
const FUNCTION = '<function=';
const VALUE_END = '\n</parameter>\n';
/** Tags that mean something wherever they stand in a value. */
const OPENERS = [WRAPPER, FUNCTION];
/** Tags that mean something at the beginning of a line of a value. */
const LINE_TAGS = ['</tool_call>', '</function>', '</parameter>', '<parameter='];
/** Tags that mean something behind `</parameter>`. */
const FOLLOWERS = ['<parameter=', '</function>', '</tool_call>'];
const OTHER_NAME = '^[a-zA-Z_][a-zA-Z0-9_]{0,63}$';

/** Calls in tags; see `text/tool-calls/xml.ts`. */
export class XmlCalls implements CallGrammar {
  readonly openers = [WRAPPER, FUNCTION];
  readonly marks: Expression;
  readonly #texts: Texts;
  readonly #json: JsonText;
  /** Values that the parser reads to where they end. */
  readonly #readable: Expression;
  readonly #known = new WeakMap<Tool, Expression>();

  constructor(texts: Texts) {
    this.#texts = texts;
    const { make } = texts;
    this.#json = new JsonText(texts, { avoided: [...OPENERS, '</parameter>'] });
    const literals = (list: readonly string[]) =>
      make.alternatives(...list.map((text) => make.literal(text)));
    this.marks = literals(OPENERS);
    const space = make.repeat(texts.raw.character(SPACE));
    const confusing = texts.containing(
      ...OPENERS.map((text) => make.literal(text)),
      make.sequence(make.literal('\n'), literals(LINE_TAGS)),
      make.sequence(make.literal('</parameter>'), space, literals(FOLLOWERS)),
    );
    // A value begins a line.
    const readable = make.derivative(make.complement(confusing), 0x0a);
    this.#readable = make.intersection(texts.raw.text, readable);
  }

  call(tool: Tool, { loose = false, behind = '' } = {}): Expression {
    const { make } = this.#texts;
    const { name } = tool.offered;
    if (!isWritable(name)) {
      throw new MowgliError(
        'OPTION_INVALID',
        `the tool ${JSON.stringify(name)} cannot be called in the format of this model: its name ` +
          'has white space, "<" or ">", or is too long. Rename it.',
      );
    }
    const unwrapped = behind === FUNCTION;
    const before = unwrapped ? `${FUNCTION}${name}>\n` : `${WRAPPER}\n${FUNCTION}${name}>\n`;
    return make.sequence(
      make.literal(before.slice(behind.length)),
      loose ? this.#anyParameters(tool) : this.#knownParameters(tool),
      unwrapped
        ? make.sequence(make.literal('</function>'), make.optional(make.literal('\n</tool_call>')))
        : make.literal('</function>\n</tool_call>'),
    );
  }

  #knownParameters(tool: Tool): Expression {
    let parameters = this.#known.get(tool);
    if (!parameters) {
      parameters = tool.document.within(this.#texts.make.work, () => this.#parameters(tool));
      this.#known.set(tool, parameters);
    }
    return parameters;
  }

  #parameters(tool: Tool): Expression {
    const { make } = this.#texts;
    const { document, schemas, offered } = tool;
    const compiler = new SchemaCompiler(this.#json, document, { inOrder: false });
    const lists = compiler.alternatives(schemas).map((facets) => {
      const { listed, others } = compiler.members(facets);
      const members = listed.flatMap(({ name, nodes, required }): Member[] => {
        if (!nodes || !isWritable(name)) {
          return required ? [{ name: make.empty, value: make.empty, required }] : [];
        }
        const types = offered.parameters.get(name) ?? offered.otherTypes;
        return [{ name: this.#name(name), value: this.#value(compiler, nodes, types), required }];
      });
      const names = listed.map(({ name }) => name);
      const other =
        others && facets.names.length === 0
          ? make.sequence(this.#otherName(names), this.#value(compiler, others, offered.otherTypes))
          : undefined;
      return this.#list(members, other, facets.minProperties, facets.maxProperties);
    });
    compiler.finish();
    return make.alternatives(...lists);
  }

  #name(name: string): Expression {
    return this.#texts.make.literal(`<parameter=${name}>\n`);
  }

  /** Parameters with any text for values. */
  #anyParameters({ offered }: Tool): Expression {
    const { make } = this.#texts;
    const end = make.literal(VALUE_END);
    const value = make.lexeme(make.sequence(this.#readable, end));
    const names = [...offered.parameters.keys()].filter(isWritable);
    const members = names.map((name) => ({
      name: this.#name(name),
      value,
      required: false,
    }));
    return this.#list(members, make.sequence(this.#otherName(names), value));
  }

  #list(
    members: readonly Member[],
    other: Expression | undefined,
    min = 0,
    max = Number.POSITIVE_INFINITY,
  ): Expression {
    const { make } = this.#texts;
    const nothing = make.epsilon;
    return make.members({
      members,
      other,
      opening: nothing,
      separator: nothing,
      inOrder: false,
      min,
      max,
    });
  }

  #otherName(listed: readonly string[]): Expression {
    const { make, raw } = this.#texts;
    const name = make.intersection(
      this.#texts.pattern(OTHER_NAME, raw),
      make.complement(this.#texts.oneOf(listed)),
    );
    return make.sequence(
      make.literal('<parameter='),
      make.lexeme(make.sequence(name, make.literal('>\n'))),
    );
  }

  /**
   * A value with its end. The parser reads text as the first of the schema's types that it fits, and as
   * a string if there is none: so a string must not look like a value of another type.
   */
  #value(
    compiler: SchemaCompiler,
    nodes: readonly SchemaNode[],
    types: ReadonlySet<ReadType>,
  ): Expression {
    const { make } = this.#texts;
    const list = compiler.alternatives(nodes);
    const parts = list.flatMap((facets) => {
      const rest = both(facets, valuesRead(types));
      return rest ? [rest] : [];
    });
    const values = make.sequence(compiler.values(parts), make.literal(VALUE_END));
    const strings = types.has('string') ? list.filter((facets) => facets.types.has('string')) : [];
    const allowed = make.intersection(this.#readable, make.complement(this.#readAs(types)));
    return make.alternatives(
      values,
      ...strings.map((facets) => this.#string(compiler, facets, allowed)),
    );
  }

  #string(compiler: SchemaCompiler, facets: Facets, allowed: Expression): Expression {
    const { make, raw } = this.#texts;
    const text = compiler.strings(facets, raw);
    const end = make.literal(VALUE_END);
    if (!facets.values) {
      return make.lexeme(make.sequence(make.intersection(text, allowed), end));
    }
    const texts = (facets.values as string[]).filter(
      (value) =>
        typeof value === 'string' && make.accepts(text, value) && make.accepts(allowed, value),
    );
    return make.sequence(this.#texts.oneOf(texts), end);
  }

  /** The texts that are read as something else than a string. */
  #readAs(types: ReadonlySet<ReadType>): Expression {
    const { make, raw } = this.#texts;
    const { anything } = make;
    const space = make.repeat(raw.character(SPACE));
    const pattern = (source: string) => this.#texts.pattern(source, raw);
    const forms: Expression[] = [];
    if (types.has('null')) forms.push(pattern('^(?:null|None)$'));
    if (types.has('boolean')) {
      forms.push(pattern('^(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$'));
    }
    if (types.has('integer') || types.has('number')) {
      forms.push(pattern('^[+-]?(?:\\d+(?:\\.\\d*)?|\\.\\d+)(?:[eE][+-]?\\d+)?$'));
    }
    if (types.has('object')) forms.push(make.sequence(make.literal('{'), anything));
    if (types.has('array')) forms.push(make.sequence(make.literal('['), anything));
    return make.sequence(space, make.alternatives(...forms), space);
  }
}

/** Whether the parser finds a name in a tag. */
function isWritable(name: string): boolean {
  return /^[^<>\n]{1,200}$/.test(name) && name === name.trim();
}

/** Any value, but for strings, of the types that a parser reads. */
function valuesRead(types: ReadonlySet<ReadType>): Facets {
  const read = new Set<JsonType>();
  for (const type of types) {
    if (type === 'integer') read.add('number');
    else if (type !== 'string') read.add(type);
  }
  return { ...anyValue, types: read, typed: true, integer: !types.has('number') };
}
