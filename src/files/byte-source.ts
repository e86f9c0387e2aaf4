/** Options of one read. */
export interface ReadOptions {
  /** Buffer to fill; must hold at least `length` bytes. A fresh one is made when absent. */
  into?: Uint8Array;
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
   * `ABORTED` when the signal fires.
   */
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A set of named byte sources, such as a model's folder. */
export interface ByteFolder {
  readonly name: string;
  /** Opens one file; `undefined` when there is none of that name. */
  open(file: string): Promise<ByteSource | undefined>;
}
