import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { MowgliError } from '../errors.ts';
import type { KeptDistribution } from './next-token-loss.ts';

/*
 * A text's tokens, and a model's distributions of the next token after some of them; little-endian:
 *
 *   8 bytes  "MOWGLIKL"
 *   u32      version: 1; vocabulary; window; tokens
 *   u32      the tokens' ids
 *   then for each position that is scored, window by window:
 *   f32      log-probability of the likeliest token; step
 *   u16      for each token id, how many steps less likely it is; 65535 stands for all beyond
 */
const magic = 'MOWGLIKL';
const version = 1;
const headerBytes = 24;

/** Steps reach down to e^-24 times the likeliest token, which all of a large vocabulary does not add up to. */
const range = 24;
const levels = 65535;

/** What a file says about itself. */
export interface DistributionsHeader {
  readonly vocab: number;
  /** Tokens that are evaluated together. */
  readonly window: number;
  readonly tokens: readonly number[];
}

/** Writes a file of distributions; it gets its name when it is complete. */
export class DistributionsWriter {
  readonly #file: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #row: Buffer;

  private constructor(file: string, temporary: string, handle: FileHandle, vocab: number) {
    this.#file = file;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#row = Buffer.alloc(8 + 2 * vocab);
  }

  /** @throws MowgliError `WRITE_FAILED` */
  static create(file: string, header: DistributionsHeader): Promise<DistributionsWriter> {
    return writing(file, async () => {
      const temporary = `${file}.${randomUUID()}.tmp`;
      const handle = await open(temporary, 'wx');
      const writer = new DistributionsWriter(file, temporary, handle, header.vocab);
      const { vocab, window, tokens } = header;
      const words = [version, vocab, window, tokens.length, ...tokens];
      const bytes = Buffer.alloc(8 + 4 * words.length);
      bytes.write(magic, 'latin1');
      for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 8 + 4 * i);
      try {
        await handle.writeFile(bytes);
      } catch (error) {
        await writer.abandon();
        throw error;
      }
      return writer;
    });
  }

  /**
   * Adds the next position.
   * @param norm what to subtract from a logit for its log-probability
   */
  add(logits: Float32Array, norm: number): Promise<void> {
    let max = Number.NEGATIVE_INFINITY;
    for (const logit of logits) if (logit > max) max = logit;
    const step = Math.fround(range / levels);
    const row = this.#row;
    row.writeFloatLE(max - norm, 0);
    row.writeFloatLE(step, 4);
    for (let id = 0; id < logits.length; id++) {
      row.writeUInt16LE(Math.min(levels, Math.round((max - logits[id]!) / step)), 8 + 2 * id);
    }
    return writing(this.#file, () => this.#handle.writeFile(row));
  }

  /** Closes the file and gives it its name. */
  complete(): Promise<void> {
    return writing(this.#file, async () => {
      await this.#handle.close();
      await rename(this.#temporary, this.#file);
    });
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {}); // may be closed already
    await rm(this.#temporary, { force: true });
  }
}

/** Reads a file of distributions, position by position. */
export class DistributionsReader {
  readonly header: DistributionsHeader;
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #row: Buffer;
  #at: number;

  private constructor(file: string, handle: FileHandle, header: DistributionsHeader) {
    this.#file = file;
    this.#handle = handle;
    this.header = header;
    this.#row = Buffer.alloc(8 + 2 * header.vocab);
    this.#at = headerBytes + 4 * header.tokens.length;
  }

  /** @throws MowgliError `FILE_NOT_FOUND`, `FILE_INVALID` */
  static async open(file: string): Promise<DistributionsReader> {
    const handle = await open(file, 'r').catch((cause) => {
      throw new MowgliError(
        'FILE_NOT_FOUND',
        `${file} cannot be opened (${cause.message}); check the path`,
        { cause },
      );
    });
    try {
      const { size } = await handle.stat();
      const head = Buffer.alloc(headerBytes);
      await handle.read(head, 0, headerBytes, 0);
      const [found, vocab, window, count] = [8, 12, 16, 20].map((at) => head.readUInt32LE(at));
      const scored = Math.floor(count! / window!) * scoredPerWindow(window!);
      const bytes = headerBytes + 4 * count! + scored * (8 + 2 * vocab!);
      if (head.toString('latin1', 0, 8) !== magic || found !== version || size !== bytes) {
        throw notOurs(file);
      }
      const ids = Buffer.alloc(4 * count!);
      await handle.read(ids, 0, ids.length, headerBytes);
      const tokens = Array.from({ length: count! }, (_, i) => ids.readUInt32LE(4 * i));
      return new DistributionsReader(file, handle, { vocab: vocab!, window: window!, tokens });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The next position. */
  async next(): Promise<KeptDistribution> {
    const row = this.#row;
    const { bytesRead } = await this.#handle.read(row, 0, row.length, this.#at);
    if (bytesRead !== row.length) throw notOurs(this.#file);
    this.#at += row.length;
    const kept = new Uint16Array(this.header.vocab);
    for (let id = 0; id < kept.length; id++) kept[id] = row.readUInt16LE(8 + 2 * id);
    return { top: row.readFloatLE(0), step: row.readFloatLE(4), levels: kept };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Index in a window of the first token whose prediction is scored: before it, there is little context. */
export function firstScored(window: number): number {
  return Math.floor(window / 2);
}

/** Positions of a window whose prediction is scored. The last token's is of none of the window. */
export function scoredPerWindow(window: number): number {
  return window - 1 - firstScored(window);
}

async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new MowgliError(
      'WRITE_FAILED',
      `${file} cannot be written (${(cause as Error).message}); name a file on a disk with enough room`,
      { cause },
    );
  }
}

function notOurs(file: string): MowgliError {
  return new MowgliError(
    'FILE_INVALID',
    `${file} is no complete file of mowgli perplexity --save-base; make it again`,
  );
}
