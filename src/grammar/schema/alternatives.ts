import type { SchemaDocument, SchemaNode, SchemaObject } from './document.ts';
import { anyValue, both, type Facets, sizeOfBoth } from './facets.ts';
import { ownFacets } from './keywords.ts';
import { Overlaps } from './overlaps.ts';

/** More than anybody wrote by hand; each is compiled. */
const MAX_ALTERNATIVES = 1000;
/** Units of work that it takes to read the keywords of a schema. */
const READING = 6;
/** Schemas within schemas that are about the same value. */
const MAX_NESTED = 60;

/** Takes away from an alternative what belongs to another one, exactly, or refuses. */
export type Subtract = (from: Facets, other: Facets, pointer: string) => Facets | undefined;

/** A schema that is read within itself. */
class CircularSchema extends Error {
  readonly node: SchemaNode;

  constructor(node: SchemaNode) {
    super(node.pointer);
    this.node = node;
  }
}

/**
 * Reads schemas as alternatives of plain demands: references, `allOf`, `anyOf`, `oneOf` and `not` are
 * multiplied out.
 */
export class AlternativeReader {
  readonly #document: SchemaDocument;
  readonly #subtract: Subtract;
  readonly #known = new Map<SchemaNode, readonly Facets[]>();
  /** Schemas that are being read, because they are about the same value as one of them. */
  readonly #open: SchemaNode[] = [];

  constructor(document: SchemaDocument, subtract: Subtract) {
    this.#document = document;
    this.#subtract = subtract;
  }

  /** What a value that matches all of some schemas must be. */
  all(nodes: readonly SchemaNode[]): readonly Facets[] {
    if (nodes[0]) this.#document.read(nodes[0].pointer);
    try {
      return this.#all(nodes);
    } catch (error) {
      if (!(error instanceof CircularSchema) || this.#open.length > 0) throw error;
      const { pointer } = error.node;
      return this.#document.refuse(pointer, 'it refers to itself without anything in between');
    }
  }

  /** The same; `undefined` when one of them is only being read. */
  allIfKnown(nodes: readonly SchemaNode[]): readonly Facets[] | undefined {
    try {
      return this.#all(nodes);
    } catch (error) {
      if (error instanceof CircularSchema) return undefined;
      throw error;
    }
  }

  #all(nodes: readonly SchemaNode[]): readonly Facets[] {
    return nodes.reduce<readonly Facets[]>(
      (list, node) => this.#product(list, this.#read(node), node),
      [anyValue],
    );
  }

  #read(node: SchemaNode): readonly Facets[] {
    if (typeof node.schema === 'boolean') return node.schema ? [anyValue] : [];
    let list = this.#known.get(node);
    if (list) return list;
    if (this.#open.includes(node)) throw new CircularSchema(node);
    if (this.#open.length > MAX_NESTED) {
      this.#document.refuse(node.pointer, `more than ${MAX_NESTED} schemas within each other`);
    }
    this.#open.push(node);
    try {
      list = this.#combined(node, node.schema);
    } finally {
      this.#open.pop();
    }
    this.#known.set(node, list);
    return list;
  }

  #combined(node: SchemaNode, schema: SchemaObject): readonly Facets[] {
    const document = this.#document;
    document.spend(READING);
    let list: readonly Facets[] = [ownFacets(document, node)];
    if (schema.$ref !== undefined) {
      list = this.#product(list, this.#read(document.resolve(node, schema.$ref)), node);
    }
    for (const part of this.#parts(node, schema, 'allOf')) {
      list = this.#product(list, this.#read(part), part);
    }
    const any = this.#parts(node, schema, 'anyOf');
    if (any.length > 0) {
      list = this.#product(
        list,
        any.flatMap((part) => this.#read(part)),
        node,
      );
    }
    const one = this.#parts(node, schema, 'oneOf');
    if (one.length > 0) {
      const each = one.map((part) => this.#product(list, this.#read(part), part));
      const overlaps = new Overlaps(each.flat());
      list = each.flatMap((own) => {
        const ofOthers = (facets: Facets) => !own.includes(facets);
        return own.flatMap((facets) => {
          const others = [...overlaps.of(facets)].filter(ofOthers);
          return this.#without([facets], others, `${node.pointer}/oneOf`);
        });
      });
    }
    if (schema.not !== undefined) {
      const part = document.child(node, schema.not, 'not');
      list = this.#without(list, this.#read(part), part.pointer);
    }
    return list;
  }

  #parts(node: SchemaNode, schema: SchemaObject, keyword: string): readonly SchemaNode[] {
    const parts = schema[keyword];
    if (parts === undefined) return [];
    if (!Array.isArray(parts) || parts.length === 0) {
      this.#document.refuse(`${node.pointer}/${keyword}`, 'it is a list of at least one schema');
    }
    return parts.map((part: unknown, i) => this.#document.child(node, part, keyword, i));
  }

  #product(a: readonly Facets[], b: readonly Facets[], node: SchemaNode): readonly Facets[] {
    if (a.length * b.length > MAX_ALTERNATIVES) {
      this.#document.refuse(node.pointer, `more than ${MAX_ALTERNATIVES} alternatives`);
    }
    return a.flatMap((x) =>
      b.flatMap((y) => {
        this.#document.spend(sizeOfBoth(x, y));
        return both(x, y) ?? [];
      }),
    );
  }

  #without(from: readonly Facets[], others: readonly Facets[], pointer: string): readonly Facets[] {
    return from.flatMap((facets) => {
      let rest: Facets | undefined = facets;
      for (const other of others) {
        this.#document.spend(sizeOfBoth(facets, other));
        rest = rest && this.#subtract(rest, other, pointer);
      }
      return rest ?? [];
    });
  }
}
