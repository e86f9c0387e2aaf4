/** Values written as plain text, turned into JSON text by what the parameter's schema allows. */
import { jsonNumber, looseJson, stringBody } from './loose-json.ts';

const TYPES = ['null', 'integer', 'number', 'boolean', 'object', 'array', 'string'] as const;

export type JsonType = (typeof TYPES)[number];

/** Schemas within schemas about one value; what is deeper is not looked into. */
const MAX_DEPTH = 100;

/** Finds the types that a schema allows. */
export class TypeReader {
  readonly #root: unknown;
  /** What is known of references; those being read are, too, and say nothing. */
  readonly #known = new Map<string, ReadonlySet<JsonType> | undefined>();

  /** `root` is the schema that `$ref` refers to. */
  constructor(root: unknown) {
    this.#root = root;
  }

  /** The allowed types; text where the schema names none. */
  read(schema: unknown): ReadonlySet<JsonType> {
    const types = this.#types(schema, 0) ?? new Set();
    return types.size > 0 ? types : new Set(['string']);
  }

  /** `undefined`: the schema says nothing of types. `depth`: schemas that it is within. */
  #types(schema: unknown, depth: number): ReadonlySet<JsonType> | undefined {
    if (!isRecord(schema) || depth > MAX_DEPTH) return undefined;
    const types = this.#declared(schema, depth + 1);
    return types && schema.nullable === true ? new Set([...types, 'null' as const]) : types;
  }

  #declared(
    schema: Readonly<Record<string, unknown>>,
    depth: number,
  ): ReadonlySet<JsonType> | undefined {
    const { type, $ref } = schema;
    if (typeof type === 'string' || Array.isArray(type)) {
      const listed = new Set([type].flat());
      return new Set(TYPES.filter((known) => listed.has(known)));
    }
    if (typeof $ref === 'string') {
      if (!this.#known.has($ref)) {
        this.#known.set($ref, undefined);
        this.#known.set($ref, this.#types(this.#resolve($ref), depth));
      }
      return this.#known.get($ref);
    }
    const options = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(options)) {
      const found = options.flatMap((option) => [...(this.#types(option, depth) ?? [])]);
      return found.length > 0 ? new Set(found) : undefined;
    }
    if (Array.isArray(schema.allOf)) {
      const found = schema.allOf.map((part) => this.#types(part, depth)).filter((x) => x);
      return found.reduce((all, part) => new Set([...all!].filter((x) => part!.has(x))), found[0]);
    }
    if (Array.isArray(schema.enum)) return new Set(schema.enum.map(typeOf));
    if ('const' in schema) return new Set([typeOf(schema.const)]);
    return undefined;
  }

  #resolve(reference: string): unknown {
    const path = referencePath(reference);
    if (!path) return undefined;
    let found = this.#root;
    for (const key of path) {
      const inner = isRecord(found) || Array.isArray(found) ? found : {};
      found = Object.hasOwn(inner, key) ? (inner as Record<string, unknown>)[key] : undefined;
    }
    return found;
  }
}

/**
 * The keys that a reference within a schema, a JSON pointer such as `#/$defs/Name`, leads through;
 * `undefined` for any other reference.
 */
export function referencePath(reference: string): readonly string[] | undefined {
  if (!/^#(\/|$)/.test(reference)) return undefined;
  const parts = reference.split('/').slice(1);
  return parts.map((part) => percentDecoded(part).replaceAll('~1', '/').replaceAll('~0', '~'));
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function typeOf(value: unknown): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  if (typeof value === 'boolean') return 'boolean';
  return typeof value === 'object' ? 'object' : 'string';
}

/**
 * The JSON text of a value. The first type that it fits is taken, text last; so text that fits none
 * is passed on as a string, for the tool to refuse. Digits are kept as they are.
 */
export function jsonOfText(text: string, types: ReadonlySet<JsonType>): string {
  for (const type of TYPES) {
    const json = types.has(type) ? jsonAs(type, text.trim()) : undefined;
    if (json !== undefined) return json;
  }
  return JSON.stringify(text);
}

function jsonAs(type: JsonType, text: string): string | undefined {
  switch (type) {
    case 'null':
      return text === 'null' || text === 'None' ? 'null' : undefined;
    case 'boolean':
      return /^(true|false)$/i.test(text) ? text.toLowerCase() : undefined;
    case 'number':
      return jsonNumber(text);
    case 'integer': {
      const json = jsonNumber(text);
      return json !== undefined && Number.isInteger(Number(json)) ? json : undefined;
    }
    case 'object':
      return text.startsWith('{') ? looseJson(text) : undefined;
    case 'array':
      return text.startsWith('[') ? looseJson(text) : undefined;
    case 'string':
      return undefined;
  }
}

/** Writes one value as JSON text while its characters come; text is passed on at once. */
export class ValueWriter {
  readonly #types: ReadonlySet<JsonType>;
  readonly #emit: (json: string) => void;
  /** Whether the value can be nothing but text, so far as is known. */
  #isText = false;
  #held = '';
  /** What is held, without white space before it and with one space for any behind it. */
  #word = '';

  constructor(types: ReadonlySet<JsonType>, emit: (json: string) => void) {
    this.#types = types;
    this.#emit = emit;
    this.write('');
  }

  write(text: string): void {
    if (this.#isText) {
      this.#emit(stringBody(text));
      return;
    }
    this.#held += text;
    if (!this.#mustBeText(text)) return;
    this.#isText = true;
    this.#emit(`"${stringBody(this.#held)}`);
  }

  end(): void {
    this.#emit(this.#isText ? '"' : jsonOfText(this.#held, this.#types));
  }

  /**
   * Text is certain from the start, or, where only null is allowed besides, once it is not null. Only
   * `added`, which came last, is looked at: what is held may be long.
   */
  #mustBeText(added: string): boolean {
    for (const type of this.#types) if (type !== 'string' && type !== 'null') return false;
    if (!this.#types.has('null')) return true;
    const start = (this.#word + added).trimStart();
    const word = start.trimEnd();
    this.#word = word.length < start.length ? `${word} ` : word;
    return !'null'.startsWith(word) && !'None'.startsWith(word);
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
