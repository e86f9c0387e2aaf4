import { MowgliError } from '../../errors.ts';
import { isRecord, referencePath } from '../../text/tool-calls/value-types.ts';
import { TooMuchWork, type Work } from '../work.ts';

export type SchemaObject = Readonly<Record<string, unknown>>;

/** A schema within a document. There is one object for each place. */
export interface SchemaNode {
  readonly schema: SchemaObject | boolean;
  /** Where it stands: a JSON pointer as in `$ref`. */
  readonly pointer: string;
}

/** Work that a schema may take, about a tenth of a second. What somebody wrote takes some thousands. */
const MAX_WORK = 30_000;
/** Characters of pointers that are written or compared in one unit of work. */
const CHARACTERS_PER_UNIT = 100;

/** Schemas within schemas, and references to them. */
export class SchemaDocument {
  readonly root: SchemaNode;
  /** What messages call the schema. */
  readonly name: string;
  readonly #nodes = new Map<string, SchemaNode>();
  #work: Work | undefined;
  /** The part that is being read. */
  #reading = '#';

  constructor(schema: unknown, name: string) {
    this.name = name;
    this.root = this.node(schema, '#');
  }

  /**
   * Compiles the schema, or what is made of it.
   * @throws MowgliError `OPTION_INVALID` when that takes too much work
   */
  within<T>(work: Work, compile: () => T): T {
    this.#work = work;
    try {
      return work.within(MAX_WORK, compile);
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return this.refuse(
        this.#reading,
        'the schema is too large or too complex: what comes before this part, and the part itself, ' +
          'take too much work. Use fewer or shorter values, alternatives, properties and patterns',
      );
    }
  }

  /** Counts work on the schema. */
  spend(units: number): void {
    this.#work?.spend(units);
  }

  /** Tells what messages about too much work are to name. */
  read(pointer: string): void {
    this.#reading = pointer;
  }

  /** @throws MowgliError `OPTION_INVALID` when it is no schema. */
  node(schema: unknown, pointer: string): SchemaNode {
    let node = this.#nodes.get(pointer);
    if (!node) {
      if (typeof schema !== 'boolean' && !isRecord(schema)) {
        this.refuse(pointer, `a schema is an object or a boolean, not ${JSON.stringify(schema)}`);
      }
      this.spend(1 + pointer.length / CHARACTERS_PER_UNIT);
      node = { schema, pointer };
      this.#nodes.set(pointer, node);
    }
    return node;
  }

  /** The schema at a keyword of another one, and below it. */
  child(parent: SchemaNode, schema: unknown, ...path: readonly (string | number)[]): SchemaNode {
    return this.node(schema, at(parent.pointer, ...path));
  }

  /** What a `$ref` refers to. */
  resolve(from: SchemaNode, reference: unknown): SchemaNode {
    const where = at(from.pointer, '$ref');
    if (typeof reference !== 'string') this.refuse(where, 'a reference is a string');
    const path = referencePath(reference);
    if (!path) {
      this.refuse(where, `${JSON.stringify(reference)} is not within this schema (#/$defs/...)`);
    }
    this.spend(path.length);
    let found: unknown = this.root.schema;
    for (const key of path) {
      const within = Array.isArray(found) || isRecord(found);
      if (!within || !Object.hasOwn(found as object, key)) {
        this.refuse(where, `nothing stands at ${JSON.stringify(reference)}`);
      }
      found = (found as Record<string, unknown>)[key];
    }
    return this.node(found, at('#', ...path));
  }

  refuse(pointer: string, problem: string): never {
    throw new MowgliError(
      'OPTION_INVALID',
      `${this.name}: ${pointer}: ${problem}. Output is only constrained by what can be obeyed ` +
        'exactly; change this part of the schema, or leave it out.',
    );
  }
}

export function at(pointer: string, ...path: readonly (string | number)[]): string {
  const parts = path.map((part) => `${part}`.replaceAll('~', '~0').replaceAll('/', '~1'));
  return [pointer, ...parts].join('/');
}
