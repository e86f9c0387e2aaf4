import { ApiError, badField } from './api-error.ts';

interface Range {
  readonly min?: number;
  readonly max?: number;
}

/** A value of a request, and where it was: `messages[2].content`. */
export interface Item {
  readonly value: unknown;
  readonly path: string;
}

/**
 * A JSON object of a request, read field by field. A field that is absent or `null` is `undefined`, as
 * OpenAI's clients mean it; one of the wrong type is an error that names it.
 */
export class Fields {
  readonly path: string;
  readonly value: Readonly<Record<string, unknown>>;

  /** @throws ApiError 400 unless the value is an object */
  constructor({ value, path }: Item) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw path
        ? badField(path, `must be an object, not ${describe(value)}`, 'invalid_type')
        : new ApiError(400, 'the body must be a JSON object', { code: 'invalid_type' });
    }
    this.path = path;
    this.value = value as Record<string, unknown>;
  }

  /** Where a field is. */
  at(name: string): string {
    return this.path ? `${this.path}.${name}` : name;
  }

  item(name: string): Item {
    const value = Object.hasOwn(this.value, name) ? (this.value[name] ?? undefined) : undefined;
    return { value, path: this.at(name) };
  }

  has(name: string): boolean {
    return this.item(name).value !== undefined;
  }

  text(name: string): string | undefined {
    return this.#typed(name, 'string');
  }

  boolean(name: string): boolean | undefined {
    return this.#typed(name, 'boolean');
  }

  number(name: string, { min = -Infinity, max = Infinity }: Range = {}): number | undefined {
    const value = this.#typed(name, 'number');
    if (value === undefined || (value >= min && value <= max)) return value;
    const range = max === Infinity ? `at least ${min}` : `from ${min} to ${max}`;
    throw badField(this.at(name), `must be ${range}, not ${value}`, 'invalid_value');
  }

  integer(
    name: string,
    { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: Range = {},
  ): number | undefined {
    const value = this.#typed(name, 'number');
    if (value === undefined) return undefined;
    if (!Number.isInteger(value)) {
      throw badField(this.at(name), `must be an integer, not ${value}`, 'invalid_type');
    }
    if (value >= min && value <= max) return value;
    throw badField(this.at(name), `must be from ${min} to ${max}, not ${value}`, 'invalid_value');
  }

  object(name: string): Fields | undefined {
    return this.has(name) ? new Fields(this.item(name)) : undefined;
  }

  list(name: string, { max = Infinity }: Pick<Range, 'max'> = {}): readonly Item[] | undefined {
    const { value, path } = this.item(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) {
      throw badField(path, `must be a list, not ${describe(value)}`, 'invalid_type');
    }
    if (value.length > max) {
      throw badField(
        path,
        `has ${value.length} items; at most ${max} are allowed`,
        'invalid_value',
      );
    }
    return value.map((item, i) => ({ value: item, path: `${path}[${i}]` }));
  }

  /** A value that has to be there. */
  required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    throw new ApiError(400, `${this.at(name)} is missing`, {
      param: this.at(name),
      code: 'missing_required_parameter',
    });
  }

  #typed(name: string, type: 'string'): string | undefined;
  #typed(name: string, type: 'boolean'): boolean | undefined;
  #typed(name: string, type: 'number'): number | undefined;
  #typed(name: string, type: string): unknown {
    const { value, path } = this.item(name);
    if (value === undefined || typeof value === type) return value;
    throw badField(path, `must be a ${type}, not ${describe(value)}`, 'invalid_type');
  }
}

/** A value's type, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/**
 * Refuses JSON that is nested deeper than anybody means it: what walks over a request's values may do so
 * by calling itself.
 */
export function refuseDeep(body: unknown, limit = 64): void {
  let level: unknown[] = [body];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limit) {
      throw new ApiError(400, `the body is nested more than ${limit} levels deep`, {
        code: 'invalid_value',
      });
    }
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      for (const inner of Object.values(value)) {
        if (typeof inner === 'object' && inner !== null) next.push(inner);
      }
    }
    level = next;
  }
}
