import { open, readFile } from 'node:fs/promises';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** What matters of this computer for running a model. */
export interface Machine {
  readonly platform: string;
  readonly nodeVersion: string;
  readonly cpu: string;
  /** CPU cores that this process may use. */
  readonly cores: number;
  readonly memory: {
    /** Bytes of RAM, or what this container may use of it. */
    readonly totalBytes: number;
    /** Bytes that this process could still take without swapping. */
    readonly availableBytes: number;
  };
}

/** How fast a file was read. */
export interface ReadSpeed {
  readonly file: string;
  readonly bytes: number;
  readonly ms: number;
  readonly bytesPerSecond: number;
  /**
   * Where the bytes came from, by the kernel's own count of what this process made it fetch: the
   * operating system's page cache, the disk, or some of both; `unknown` outside Linux. A file
   * system that does not count what it fetches (some network mounts) looks like the page cache.
   */
  readonly from: 'page cache' | 'disk' | 'mixed' | 'unknown';
}

export function describeMachine(): Machine {
  // 0, absurdly large or absent where no container limits memory.
  const limit = process.constrainedMemory?.() ?? 0;
  const totalBytes = limit > 0 && limit < totalmem() ? limit : totalmem();
  return {
    platform: `${process.platform}-${process.arch}`,
    nodeVersion: process.versions.node,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory: { totalBytes, availableBytes: Math.min(process.availableMemory(), totalBytes) },
  };
}

/**
 * Reads the start of a file as an engine reads weights, several large reads in flight, and times it.
 * A file that was read lately comes out of the page cache: that is what a second run will see, and
 * says nothing about the disk.
 *
 * @param maxBytes Bytes to read at most.
 */
export async function measureReadSpeed(
  file: string,
  { maxBytes = 512 * 2 ** 20, signal }: { maxBytes?: number; signal?: AbortSignal } = {},
): Promise<ReadSpeed> {
  const blockBytes = 4 * 2 ** 20;
  const readers = 4; // As many as libuv's pool has threads.
  const handle = await open(file, 'r');
  try {
    const bytes = Math.min((await handle.stat()).size, maxBytes);
    const fetchedBefore = await bytesFetchedFromStorage();
    const start = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: readers }, async () => {
        const block = Buffer.allocUnsafe(Math.min(blockBytes, bytes));
        while (next < bytes) {
          signal?.throwIfAborted();
          const offset = next;
          next += blockBytes;
          await handle.read(block, 0, Math.min(blockBytes, bytes - offset), offset);
        }
      }),
    );
    const ms = performance.now() - start;
    const fetchedAfter = await bytesFetchedFromStorage();
    const fetched =
      fetchedBefore === undefined || fetchedAfter === undefined
        ? undefined
        : (fetchedAfter - fetchedBefore) / bytes;
    return { file, bytes, ms, bytesPerSecond: bytes / (ms / 1000), from: origin(fetched) };
  } finally {
    await handle.close();
  }
}

/** `read_bytes` of proc_pid_io(5): what this process caused to be fetched from the storage layer. */
export async function bytesFetchedFromStorage(): Promise<number | undefined> {
  const text = await readFile('/proc/self/io', 'utf8').catch(() => '');
  const match = /^read_bytes: (\d+)$/m.exec(text);
  return match ? Number(match[1]) : undefined;
}

function origin(fetchedShare: number | undefined): ReadSpeed['from'] {
  if (fetchedShare === undefined) return 'unknown';
  if (fetchedShare < 0.1) return 'page cache';
  return fetchedShare > 0.9 ? 'disk' : 'mixed';
}
