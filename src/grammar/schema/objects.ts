import type { Expression } from '../expression.ts';
import type { ValueContext } from './compiler.ts';
import type { SchemaNode } from './document.ts';
import { type Facets, memberSchemas } from './facets.ts';
import { spelled } from './strings.ts';

/** The members of an object: the schemas of each. */
export interface ObjectMembers {
  /** `nodes` is `undefined` where no value is allowed. */
  readonly listed: readonly {
    readonly name: string;
    readonly nodes: readonly SchemaNode[] | undefined;
    readonly required: boolean;
  }[];
  /** Of all other members; `undefined`: there are none. */
  readonly others: readonly SchemaNode[] | undefined;
}

/** Makes expressions of what facets demand of objects. */
export class Objects {
  readonly #context: ValueContext;
  readonly #inOrder: boolean;

  /** @param inOrder whether members come in the order of the schema, those that it does not list last */
  constructor(context: ValueContext, inOrder: boolean) {
    this.#context = context;
    this.#inOrder = inOrder;
  }

  /** The members that there may be. Others than the listed ones only where a schema wants them. */
  members(facets: Facets): ObjectMembers {
    const { objects, closed } = facets;
    const required = new Set(facets.required);
    const names = new Set(objects.flatMap(({ properties }) => [...properties.keys()]));
    const listed = [...new Set([...names, ...required])].map((name) => ({
      name,
      nodes: this.#isName(facets, name) ? memberSchemas(facets, name) : undefined,
      required: required.has(name),
    }));
    const said = objects.flatMap(({ additional }) => additional ?? []);
    const tooFew = facets.minProperties > listed.filter(({ nodes }) => nodes).length;
    const free = said.length > 0 || objects.length + required.size === 0 || tooFew;
    const mayHaveOthers = free && !closed && !said.some((node) => node.schema === false);
    return {
      listed: listed.filter(({ nodes, required }) => nodes || required),
      others: mayHaveOthers ? said : undefined,
    };
  }

  /** The JSON texts. */
  json(facets: Facets): Expression {
    const { json, document, value } = this.#context;
    const { empty } = json.texts.make;
    const { listed, others } = this.members(facets);
    // Names that are not fixed may repeat: only one of them is sure to be new.
    const different = listed.filter(({ nodes }) => nodes).length + 1;
    if (others && facets.minProperties > different) {
      document.refuse(
        `${facets.pointer}/minProperties`,
        `it is supported up to one more than the listed properties, here ${different}`,
      );
    }
    const members = listed.map(({ name, nodes, required }) =>
      nodes && json.permits(JSON.stringify(name))
        ? { name: json.fixedName(name), value: json.value(value(nodes)), required }
        : { name: empty, value: empty, required },
    );
    const names = listed.map(({ name }) => name);
    return json.object({
      members,
      other: others && this.#otherMember(facets, names, others),
      inOrder: this.#inOrder,
      min: facets.minProperties,
      max: facets.maxProperties,
    });
  }

  #otherMember(
    facets: Facets,
    listed: readonly string[],
    nodes: readonly SchemaNode[],
  ): Expression {
    const { json, strings, value } = this.#context;
    const { texts } = json;
    const { make } = texts;
    let name = make.complement(texts.oneOf(listed.map((text) => spelled(text, texts.json))));
    name = make.intersection(texts.json.text, name);
    if (facets.names.length > 0) {
      const allowed = this.#namings(facets).map((other) => strings.texts(other, texts.json));
      name = make.intersection(name, make.alternatives(...allowed));
    }
    return json.member(json.name(name), value(nodes));
  }

  #isName(facets: Facets, name: string): boolean {
    if (facets.names.length === 0) return true;
    return this.#namings(facets).some((other) => this.#context.membership.test(other)(name));
  }

  /** What names must be: any of these. */
  #namings(facets: Facets): readonly Facets[] {
    const alternatives = this.#context.alternatives(facets.names);
    return alternatives.filter((other) => other.types.has('string'));
  }
}
