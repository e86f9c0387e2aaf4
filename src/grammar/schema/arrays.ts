import type { Expression } from '../expression.ts';
import type { ValueContext } from './compiler.ts';
import type { SchemaNode } from './document.ts';
import { type Facets, itemSchemas } from './facets.ts';

/** Values of items that must differ from each other. */
const MAX_DIFFERENT = 64;

/** Makes expressions of what facets demand of arrays. */
export class Arrays {
  readonly #context: ValueContext;

  constructor(context: ValueContext) {
    this.#context = context;
  }

  /** The JSON texts. */
  json(facets: Facets): Expression {
    const { json, value } = this.#context;
    const { minItems, unique, arrays } = facets;
    let { maxItems } = facets;
    const listed = Math.max(0, ...arrays.map(({ first }) => first.length));
    const first: Expression[] = [];
    for (let i = 0; i < listed && i < maxItems; i++) {
      const nodes = itemSchemas(facets, i);
      if (nodes) first.push(value(nodes));
      else maxItems = i;
    }
    const nodes = itemSchemas(facets, listed);
    if (!nodes) maxItems = Math.min(maxItems, listed);
    if (unique && maxItems > 1) {
      if (listed > 0) this.#refuseUnique(facets);
      return json.arrayOfDifferent(this.#fewValues(facets, nodes ?? []), minItems, maxItems);
    }
    const rest = nodes ? value(nodes) : json.texts.make.empty;
    return json.array(minItems, maxItems, first, rest);
  }

  /** The JSON texts of items that are so few that they can be listed. */
  #fewValues(array: Facets, nodes: readonly SchemaNode[]): readonly string[] {
    const values = new Set<string>();
    for (const facets of this.#context.alternatives(nodes)) {
      for (const value of this.#allValues(facets) ?? this.#refuseUnique(array)) {
        if (typeof value === 'object' && value !== null) this.#refuseUnique(array);
        values.add(JSON.stringify(value));
      }
    }
    if (values.size > MAX_DIFFERENT) this.#refuseUnique(array);
    return [...values];
  }

  /** All values there are, where they are few. */
  #allValues(facets: Facets): readonly unknown[] | undefined {
    if (facets.values) return this.#context.membership.listed(facets);
    const values: unknown[] = [];
    for (const type of facets.types) {
      if (type === 'null') values.push(null);
      else if (type === 'boolean') values.push(...facets.booleans);
      else return undefined;
    }
    return values;
  }

  #refuseUnique(facets: Facets): never {
    this.#context.document.refuse(
      `${facets.pointer}/uniqueItems`,
      `it is supported for items that are one of up to ${MAX_DIFFERENT} values (enum of scalars)`,
    );
  }
}
