import { type ErrorCode, MowgliError } from '../errors.ts';
import { type ByteFolder, isCount, type OpenOptions } from './byte-source.ts';

/** Larger than any tokenizer.json or index; a file beyond it is not what its name says. */
const maxTextBytes = 100_000_000;

/** A parsed JSON object. Read it with `Object.hasOwn` or `Fields`: it comes from a stranger's file. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws MowgliError `FILE_INVALID` when the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MowgliError('FILE_INVALID', `${name} is not UTF-8 text; download it again`, {
      cause,
    });
  }
}

/** @throws MowgliError `FILE_INVALID` when the text is not JSON. */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MowgliError(
      'FILE_INVALID',
      `${name} is not JSON (${(cause as Error).message}); download it again`,
      { cause },
    );
  }
}

/**
 * The whole of a small text file; `undefined` when the folder has none of that name.
 * @throws MowgliError `FILE_INVALID` when it is not UTF-8 or larger than 100 MB, and what
 * `ByteFolder.open` and `ByteSource.read` throw.
 */
export async function readText(
  folder: ByteFolder,
  file: string,
  { signal }: OpenOptions = {},
): Promise<string | undefined> {
  const source = await folder.open(file);
  if (source === undefined) return undefined;
  try {
    if (source.size > maxTextBytes) {
      throw new MowgliError(
        'FILE_INVALID',
        `${source.name} has ${source.size} bytes, more than the ${maxTextBytes} a text file of a model may have; download it again`,
      );
    }
    return decodeText(await source.read(0, source.size, { signal }), source.name);
  } finally {
    await source.close();
  }
}

/** As `readText`, parsed. @throws MowgliError also `FILE_INVALID` when it is not JSON. */
export async function readJson(
  folder: ByteFolder,
  file: string,
  options?: OpenOptions,
): Promise<unknown> {
  const text = await readText(folder, file, options);
  return text === undefined ? undefined : parseJson(text, `${folder.name}/${file}`);
}

/** A value as it is shown in a message: short, and never the reason for a second error. */
export function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    return 'a value nested too deeply to show'; // where JSON.parse copes, JSON.stringify may not
  }
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

/** Bounds of a number, both included. */
export interface Range {
  min?: number;
  max?: number;
}

/**
 * Typed access to the fields of a JSON object. A field that is `null` counts as absent, because
 * that is how Python writes "not set". Only own fields are seen, so a key such as `constructor`
 * finds nothing that the file did not say.
 *
 * Every reader throws MowgliError `CONFIG_INVALID`, naming file and field, when the field is there
 * with the wrong type or range, or is absent and there is no `fallback`.
 */
export class Fields {
  /** What to call the object in messages, such as `config.json` or `config.json: rope_scaling`. */
  readonly where: string;
  readonly #json: JsonObject;

  constructor(json: unknown, where: string) {
    if (!isJsonObject(json)) {
      throw new MowgliError(
        'CONFIG_INVALID',
        `${where} must be a JSON object, not ${show(json)}; download the model's files again`,
      );
    }
    this.#json = json;
    this.where = where;
  }

  keys(): string[] {
    return Object.keys(this.#json);
  }

  /** The field as it is; `undefined` when absent or null. */
  value(key: string): unknown {
    return Object.hasOwn(this.#json, key) ? (this.#json[key] ?? undefined) : undefined;
  }

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** A whole number; `min` is 1 unless said otherwise. */
  integer(key: string, range: Range = {}, fallback?: number): number {
    const { min = 1, max = Number.MAX_SAFE_INTEGER } = range;
    const value = this.value(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (isCount(value) && value >= min && value <= max) return value;
    const bound = max === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${max}`;
    throw this.wrong(key, `a whole number of at least ${min}${bound}`);
  }

  /** A finite number. */
  number(key: string, range: Range = {}, fallback?: number): number {
    const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = range;
    const value = this.value(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max) {
      return value;
    }
    const bounds = [
      ...(min === Number.NEGATIVE_INFINITY ? [] : [`at least ${min}`]),
      ...(max === Number.POSITIVE_INFINITY ? [] : [`at most ${max}`]),
    ];
    throw this.wrong(key, ['a number', bounds.join(' and ')].filter(Boolean).join(' of '));
  }

  /** A finite number above zero. */
  positive(key: string, fallback?: number): number {
    const value = this.number(key, {}, fallback);
    if (value <= 0) throw this.wrong(key, 'a number above 0');
    return value;
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.value(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value === 'boolean') return value;
    throw this.wrong(key, 'true or false');
  }

  /** A string; `undefined` when the field is absent. */
  optionalString(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === 'string') return value;
    throw this.wrong(key, 'a string');
  }

  /** The error for a field whose value is not `expected`; for checks that this class does not know. */
  wrong(key: string, expected: string, code: ErrorCode = 'CONFIG_INVALID'): MowgliError {
    const value = this.value(key);
    const found = value === undefined ? 'it is missing' : `it is ${show(value)}`;
    return new MowgliError(
      code,
      `${this.where}: ${key} must be ${expected}, but ${found}; download the file again or correct it`,
    );
  }
}
