import { MowgliError } from '../errors.ts';
import { type ByteSource, isCount } from './byte-source.ts';
import { decodeText } from './json.ts';

/**
 * No header that means it well comes near: the largest vocabularies take 20 MB. It keeps a hostile
 * one from being read for minutes.
 */
const maxHeaderBytes = 100_000_000;

/** Read at first, and then as much again, but no more than `mostPerRead` at a time. */
const firstRead = 256 * 1024;
const mostPerRead = 4 * 1024 * 1024;

/**
 * The beginning of a file, read piece by piece as its parser goes on: nothing in it says how long the
 * header is, and what follows may be a terabyte of weights. Every byte is read once.
 *
 * The parser makes sure of the next bytes with `need` and takes them. Lengths come from the file: they
 * are compared with what is left of it before anything is read or allocated.
 */
export class GgufBytes {
  readonly #source: ByteSource;
  readonly #signal: AbortSignal | undefined;
  #buffer = new Uint8Array(0);
  #view = new DataView(this.#buffer.buffer);
  #filled = 0;
  #at = 0;

  constructor(source: ByteSource, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#signal = signal;
  }

  /** Bytes taken so far. */
  get position(): number {
    return this.#at;
  }

  /** Bytes from here to the end of the file. */
  get left(): number {
    return this.#source.size - this.#at;
  }

  /** Everything read so far. Later reads may move on to another buffer, with the same bytes and more. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#filled);
  }

  /** Whether the next `bytes` are there. A parser in a loop asks this first: awaiting takes time. */
  has(bytes: number): boolean {
    return this.#at + bytes <= this.#filled;
  }

  /**
   * Makes sure of the next `bytes`.
   * @param what they are, for messages
   * @throws MowgliError `FILE_TRUNCATED` when the file ends before, `FILE_INVALID` when the header
   * is too large to be true, and what `ByteSource.read` throws.
   */
  async need(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    if (bytes > this.left) {
      throw new MowgliError(
        'FILE_TRUNCATED',
        `${this.#source.name}: ${what} takes ${bytes} bytes at ${this.#at}, but the file ends after ${this.left} of them; download it again`,
      );
    }
    const end = this.#at + bytes;
    if (end > maxHeaderBytes) {
      throw new MowgliError(
        'FILE_INVALID',
        `${this.#source.name}: ${what} ends at byte ${end}, and a header of more than ${maxHeaderBytes} bytes is not to be believed; download it again`,
      );
    }
    const ahead = Math.min(Math.max(this.#filled, firstRead), mostPerRead);
    await this.#read(Math.min(this.#source.size, Math.max(end, this.#filled + ahead)));
  }

  async #read(end: number): Promise<void> {
    if (end > this.#buffer.length) {
      const capacity = Math.min(this.#source.size, Math.max(end, 2 * this.#buffer.length));
      const larger = new Uint8Array(capacity);
      larger.set(this.bytes);
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    const into = this.#buffer.subarray(this.#filled, end);
    await this.#source.read(this.#filled, into.length, { into, signal: this.#signal });
    this.#filled = end;
  }

  /** Takes the next `bytes`, which are there: a view, not a copy. */
  take(bytes: number): Uint8Array {
    this.#at += bytes;
    return this.#buffer.subarray(this.#at - bytes, this.#at);
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  /** A u64 as a number; not exact beyond 2^53, where `isCount` is false of it. */
  count(): number {
    this.#at += 8;
    const low = this.#view.getUint32(this.#at - 8, true);
    return this.#view.getUint32(this.#at - 4, true) * 2 ** 32 + low;
  }

  /** A view to read other numbers with, at the bytes taken last. */
  number<T>(bytes: number, read: (view: DataView, at: number) => T): T {
    this.#at += bytes;
    return read(this.#view, this.#at - bytes);
  }

  /**
   * A string: a u64 length and as many bytes of UTF-8.
   * @throws MowgliError `FILE_INVALID` when it is longer than `longest` or not UTF-8, and as `need`.
   */
  async string(what: string, longest = Number.POSITIVE_INFINITY): Promise<string> {
    await this.need(8, what);
    const length = this.count();
    if (length > longest) {
      throw new MowgliError(
        'FILE_INVALID',
        `${this.#source.name}: ${what} at byte ${this.#at} claims ${length} bytes, more than the ${longest} it may have; download it again`,
      );
    }
    await this.need(length, what);
    return decodeText(this.take(length), `${what} in ${this.#source.name}`);
  }

  /**
   * Goes past the next `count` strings.
   * @returns where each begins and ends, to look it up in `bytes` with
   */
  async skipStrings(count: number, what: string): Promise<Uint32Array> {
    const places = new Uint32Array(2 * count);
    for (let i = 0; i < count; i++) {
      if (!this.has(8)) await this.need(8, what);
      const length = this.count();
      if (!this.has(length)) await this.need(length, what);
      places[2 * i] = this.#at;
      this.#at += length;
      places[2 * i + 1] = this.#at;
    }
    return places;
  }

  /**
   * A number of things of which each takes at least `least` bytes.
   * @throws MowgliError `FILE_INVALID` when there are more than `most`, `FILE_TRUNCATED` when they
   * cannot all be in the file, and as `need`.
   */
  async countOf(what: string, least: number, most: number): Promise<number> {
    await this.need(8, `the number of ${what}`);
    const at = this.#at;
    const count = this.count();
    if (!isCount(count) || count > most) {
      throw new MowgliError(
        'FILE_INVALID',
        `${this.#source.name}: its header claims ${count} ${what} at byte ${at}; this is not a GGUF file of a model, or it is damaged: download it again`,
      );
    }
    if (count * least > this.left) {
      throw new MowgliError(
        'FILE_TRUNCATED',
        `${this.#source.name}: its header claims ${count} ${what} at byte ${at}, which take more than the ${this.left} bytes that are left; download it again`,
      );
    }
    return count;
  }
}
