import { MowgliError, throwIfAborted } from '../errors.ts';

/** Options of one read. */
export interface ReadOptions {
  /**
   * Buffer to fill from its start; must hold at least `length` bytes. A fresh one is made when absent.
   * The answer is a view of exactly `length` bytes of it.
   */
  into?: Uint8Array;
  /** Once the promise has settled, fired or not, nothing writes to the buffer any more. */
  signal?: AbortSignal | undefined;
}

/** Options of opening something that takes several reads. */
export interface OpenOptions {
  signal?: AbortSignal | undefined;
}

/**
 * Random access to immutable bytes: a file, a range-requested URL, memory, or a generator.
 * Reads may run concurrently and complete in any order.
 */
export interface ByteSource {
  /** What to call it in messages: a path or URL. */
  readonly name: string;
  /** Total bytes. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes from `offset`.
   * @throws MowgliError `FILE_TRUNCATED` when the range passes the end, `READ_FAILED` on I/O errors,
   * `ABORTED` when the signal fires, `OPTION_INVALID` for a range or buffer that makes no sense,
   * `DISPOSED` after `close`.
   */
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  /** Waits for the reads in flight, then gives the source up. Closing again does nothing. */
  close(): Promise<void>;
}

/** A set of named byte sources, such as a model's folder. */
export interface ByteFolder {
  readonly name: string;
  /**
   * Opens one file; `undefined` when there is none of that name.
   * @throws MowgliError `FILE_INVALID` when the name is not that of a file directly in the folder,
   * `READ_FAILED` when the file is there but cannot be opened.
   */
  open(file: string): Promise<ByteSource | undefined>;
}

/**
 * The checks every `ByteSource.read` begins with, before it allocates anything.
 * @throws MowgliError `ABORTED`, `OPTION_INVALID`, `FILE_TRUNCATED`, as `ByteSource.read` says.
 */
export function checkRead(
  source: Pick<ByteSource, 'name' | 'size'>,
  offset: number,
  length: number,
  options: ReadOptions | undefined,
): void {
  const { into, signal } = options ?? {};
  throwIfAborted(signal, `Reading ${source.name}`);
  if (!isCount(offset) || !isCount(length)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${source.name}: cannot read ${length} bytes at ${offset}; pass whole numbers of bytes from 0 up`,
    );
  }
  if (into !== undefined && into.length < length) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${source.name}: ${length} bytes do not fit into a buffer of ${into.length}; pass a larger one`,
    );
  }
  if (offset + length > source.size) {
    throw new MowgliError(
      'FILE_TRUNCATED',
      `${source.name}: bytes ${offset} to ${offset + length} were asked for, but it has only ${source.size}; download it again`,
    );
  }
}

/** Whether `value` can be a size or an offset: a whole number that a double holds exactly. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * Whether `name` is that of a file directly in a folder. File names also come from a model's
 * `model.safetensors.index.json`, which must not be able to point anywhere else.
 */
export function isPlainFileName(name: string): boolean {
  if (name === '' || name === '.' || name === '..') return false;
  return !['/', '\\', ':', '\0'].some((character) => name.includes(character));
}

/** @throws MowgliError `FILE_INVALID` unless `isPlainFileName(file)`. */
export function checkFileName(folder: string, file: string): void {
  if (isPlainFileName(file)) return;
  throw new MowgliError(
    'FILE_INVALID',
    `${folder}: ${JSON.stringify(file)} is not the name of a file in this folder; download the model again from a source you trust`,
  );
}
