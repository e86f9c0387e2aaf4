import { MowgliError } from '../errors.ts';
import {
  type ByteFolder,
  type ByteSource,
  checkFileName,
  checkRead,
  type ReadOptions,
} from './byte-source.ts';
import type { FileSink, FolderSink } from './write-safetensors.ts';

/** Bytes that are already in memory. Reads copy: what a caller does to its buffer stays there. */
export class MemorySource implements ByteSource {
  readonly name: string;
  readonly size: number;
  #bytes: Uint8Array | undefined;

  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    if (this.#bytes === undefined) {
      throw new MowgliError('DISPOSED', `${this.name} was closed; open it again to read from it`);
    }
    checkRead(this, offset, length, options);
    const target = options?.into?.subarray(0, length) ?? new Uint8Array(length);
    target.set(this.#bytes.subarray(offset, offset + length));
    return target;
  }

  async close(): Promise<void> {
    this.#bytes = undefined;
  }
}

/** A folder in memory: for tests, for models made on the spot, and for files a page was handed. */
export class MemoryFolder implements ByteFolder, FolderSink {
  readonly name: string;
  /** The files by name; what `create` writes appears here when its sink is closed. */
  readonly files: Map<string, Uint8Array>;

  constructor(
    name: string,
    files: Iterable<readonly [string, Uint8Array]> | Record<string, Uint8Array | string> = [],
  ) {
    this.name = name;
    const encoder = new TextEncoder();
    const entries = Symbol.iterator in files ? files : Object.entries(files);
    this.files = new Map();
    for (const [file, bytes] of entries as Iterable<readonly [string, Uint8Array | string]>) {
      this.files.set(file, typeof bytes === 'string' ? encoder.encode(bytes) : bytes);
    }
  }

  async open(file: string): Promise<ByteSource | undefined> {
    checkFileName(this.name, file);
    const bytes = this.files.get(file);
    return bytes && new MemorySource(`${this.name}/${file}`, bytes);
  }

  async create(file: string): Promise<FileSink> {
    checkFileName(this.name, file);
    const parts: Uint8Array[] = [];
    return {
      write: async (bytes) => {
        parts.push(bytes.slice());
      },
      close: async () => {
        this.files.set(file, concatenate(parts));
      },
    };
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
