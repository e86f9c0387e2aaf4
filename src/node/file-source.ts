import { type FileHandle, open } from 'node:fs/promises';
import { MowgliError, throwIfAborted } from '../errors.ts';
import { type ByteSource, checkRead, type ReadOptions } from '../files/byte-source.ts';

/**
 * Bytes per system call. A read in flight cannot be taken back, so this bounds how long an abort
 * has to wait; it is far above an expert, which is read in one call.
 */
const bytesPerCall = 64 * 1024 * 1024;

/** A file on disk, read at given positions. Reads run concurrently, in libuv's thread pool. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #reads = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  private constructor(name: string, size: number, handle: FileHandle) {
    this.name = name;
    this.size = size;
    this.#handle = handle;
  }

  /**
   * @throws MowgliError `FILE_NOT_FOUND` when there is no such file or it is a folder,
   * `READ_FAILED` when it cannot be opened.
   */
  static async open(path: string): Promise<FileSource> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r');
      const stats = await handle.stat();
      if (!stats.isFile()) {
        throw new MowgliError('FILE_NOT_FOUND', `${path} is not a file; pass the path of a file`);
      }
      return new FileSource(path, stats.size, handle);
    } catch (error) {
      await handle?.close();
      throw openError(path, error);
    }
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    if (this.#closed !== undefined) {
      throw new MowgliError('DISPOSED', `${this.name} was closed; open it again to read from it`);
    }
    checkRead(this, offset, length, options);
    const read = this.#read(offset, length, options);
    this.#reads.add(read);
    try {
      return await read;
    } finally {
      this.#reads.delete(read);
    }
  }

  async #read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    const target = options?.into?.subarray(0, length) ?? uninitialised(length);
    let done = 0;
    while (done < length) {
      const count = Math.min(bytesPerCall, length - done);
      const bytesRead = await this.#readOnce(target, done, count, offset + done);
      throwIfAborted(options?.signal, `Reading ${this.name}`);
      if (bytesRead === 0) {
        throw new MowgliError(
          'FILE_TRUNCATED',
          `${this.name} had ${this.size} bytes when it was opened, but now ends at ${offset + done}; leave the file alone while it is in use, or download it again`,
        );
      }
      done += bytesRead;
    }
    return target;
  }

  async #readOnce(target: Uint8Array, at: number, count: number, position: number) {
    try {
      return (await this.#handle.read(target, at, count, position)).bytesRead;
    } catch (cause) {
      throw new MowgliError(
        'READ_FAILED',
        `${this.name}: reading ${count} bytes at ${position} failed (${(cause as Error).message}); check the disk and try again`,
        { cause },
      );
    }
  }

  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#reads).then(() => this.#handle.close());
    return this.#closed;
  }
}

/** Not zeroed, since every byte is about to be read; its own memory, not a slice of Node's pool. */
function uninitialised(length: number): Uint8Array {
  const buffer = Buffer.allocUnsafeSlow(length);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, length);
}

function openError(path: string, cause: unknown): MowgliError {
  if (cause instanceof MowgliError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new MowgliError('FILE_NOT_FOUND', `${path} does not exist; check the path`, { cause });
  }
  return new MowgliError(
    'READ_FAILED',
    `${path} cannot be opened (${message}); check its permissions`,
    { cause },
  );
}
