import { MowgliError, throwIfAborted } from '../errors.ts';
import { type ByteSource, isCount, type OpenOptions } from '../files/byte-source.ts';
import { isJsonObject } from '../files/json.ts';
import { type KvShape, kvTokenBytes } from '../model/kv-transfer.ts';

/**
 * A session in a file: what was said, its tokens, and their keys and values. Little-endian:
 *
 *     "MOWGLISE"  u32 version  u32 bytes of the head
 *     head        JSON: { model, kv, tokens, blockTokens, header }
 *     digest
 *     tokens      u32 each
 *     digest
 *     block       keys and values of `blockTokens` tokens, as `KvTransfer` has them; then digest
 *     ...         the last block may be shorter
 *
 * A digest is the SHA-256 of the bytes since the digest before, and of that digest: so each part is
 * known to be whole, and to belong to those before it, when it is read.
 */
const magic = 'MOWGLISE';
const version = 1;
const digestBytes = 32;
const fixedBytes = magic.length + 8;

/** A larger head is none that anybody wrote. */
const maxHeadBytes = 256 << 20;

/** Tokens of a block that is written; files may have others. */
const blockTokens = 64;
const maxBlockTokens = 4096;

/** Takes bytes in order. They may be overwritten once the promise has settled. */
export type ByteSink = (bytes: Uint8Array) => Promise<void>;

/** What `writeSession` writes. */
export interface SessionState {
  /** Of the model; see `fingerprint`. */
  readonly fingerprint: string;
  readonly kv: KvShape;
  /** Whatever belongs to the session, as JSON. */
  readonly header: unknown;
  readonly tokens: readonly number[];
  /** The keys and values of the tokens [from, to). */
  readonly readKv: (from: number, to: number) => Promise<Uint8Array>;
}

/** What a session file has to fit. */
export interface SessionReader {
  readonly fingerprint: string;
  readonly kv: KvShape;
  /** Tokens that the KV cache holds. */
  readonly context: number;
}

/** A session that was opened. */
export interface SessionFile {
  /** From a stranger's file: JSON, and nothing more is known of it. */
  readonly header: unknown;
  readonly tokens: readonly number[];
  readonly blockTokens: number;
  /**
   * Reads the keys and values, a block after the other. They may be overwritten by the next one.
   * @throws MowgliError `FILE_INVALID` for a damaged block, and what `ByteSource.read` throws
   */
  blocks(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/**
 * Writes a session, a block at a time.
 * @throws MowgliError `ABORTED`, and what `readKv` and the sink throw
 */
export async function writeSession(
  sink: ByteSink,
  session: SessionState,
  { signal }: OpenOptions = {},
): Promise<void> {
  const { fingerprint, kv, header, tokens, readKv } = session;
  const { type, layers, heads, headDim } = kv;
  const head: Head = {
    model: fingerprint,
    kv: { type, layers, heads, headDim },
    tokens: tokens.length,
    blockTokens,
    header,
  };
  const digests = new DigestChain();
  await sink(await digests.seal(encodeHead(head)));
  await sink(await digests.seal(encodeTokens(tokens)));
  for (let from = 0; from < tokens.length; from += blockTokens) {
    throwIfAborted(signal, 'writing a session');
    const block = await readKv(from, Math.min(tokens.length, from + blockTokens));
    await sink(await digests.seal(block));
  }
}

/**
 * Opens a session for a model: reads all but the keys and values.
 *
 * @throws MowgliError `FILE_INVALID` when it is no session or damaged, `FILE_TRUNCATED` when its end is
 * missing, `OPTION_INVALID` when it is another model's or its keys and values have another number
 * format, `CONTEXT_EXCEEDED` when it does not fit the context, and what `ByteSource.read` throws
 */
export async function readSession(
  source: ByteSource,
  reader: SessionReader,
  { signal }: OpenOptions = {},
): Promise<SessionFile> {
  const file = new SealedParts(source, signal);
  const headBytes = await checkStart(source, signal);
  const head = parseHead(source.name, (await file.next(fixedBytes + headBytes)).slice(fixedBytes));
  checkFit(source.name, head, reader);
  const { tokens: count, blockTokens: perBlock, header } = head;
  const tokenBytes = kvTokenBytes(reader.kv);
  const blocks = Math.ceil(count / perBlock);
  const left = 4 * count + count * tokenBytes + (1 + blocks) * digestBytes;
  if (source.size > file.position + left) {
    throw damaged(source.name, 'has bytes behind its end');
  }
  if (source.size < file.position + left) throw truncated(source.name, file.position + left);
  const words = await file.next(4 * count);
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const tokens = Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
  return {
    header,
    tokens,
    blockTokens: perBlock,
    async *blocks() {
      for (let from = 0; from < count; from += perBlock) {
        yield await file.next(Math.min(perBlock, count - from) * tokenBytes);
      }
    },
  };
}

interface Head {
  readonly model: string;
  readonly kv: KvShape;
  readonly tokens: number;
  readonly blockTokens: number;
  readonly header: unknown;
}

/** Bytes of the head. */
async function checkStart(source: ByteSource, signal: AbortSignal | undefined): Promise<number> {
  const { name, size } = source;
  const start = await source.read(0, Math.min(size, fixedBytes), { signal });
  if (!magic.startsWith(latin1(start.subarray(0, magic.length)))) {
    throw new MowgliError(
      'FILE_INVALID',
      `${name} is not a session; pass a file that a session was saved to`,
    );
  }
  if (size < fixedBytes) throw truncated(name, fixedBytes);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const found = view.getUint32(magic.length, true);
  if (found !== version) {
    throw new MowgliError(
      'FILE_INVALID',
      `${name} is a session of format ${found}, and this version reads format ${version}; update ` +
        'mowgli-llm, or save the session again',
    );
  }
  const headBytes = view.getUint32(magic.length + 4, true);
  if (headBytes > maxHeadBytes) throw damaged(name, `claims a head of ${headBytes} bytes`);
  const least = fixedBytes + headBytes + digestBytes;
  if (size < least) throw truncated(name, least);
  return headBytes;
}

function parseHead(name: string, bytes: Uint8Array): Head {
  const head = parseJson(name, bytes);
  if (isJsonObject(head) && isJsonObject(head.kv)) {
    const { model, tokens, blockTokens: perBlock, header } = head;
    const { type, layers, heads, headDim } = head.kv;
    const sizes = [tokens, perBlock, layers, heads, headDim];
    if (typeof model === 'string' && typeof type === 'string' && sizes.every(isCount)) {
      // Larger blocks would ask for memory that nobody needs.
      if ((perBlock as number) >= 1 && (perBlock as number) <= maxBlockTokens) {
        const kv = { type, layers, heads, headDim } as KvShape;
        return { model, kv, tokens: tokens as number, blockTokens: perBlock as number, header };
      }
    }
  }
  throw damaged(name, 'has a head that makes no sense');
}

function parseJson(name: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw damaged(name, `has a head that is not JSON (${(cause as Error).message})`, cause);
  }
}

function checkFit(name: string, { model, kv, tokens }: Head, reader: SessionReader): void {
  if (model !== reader.fingerprint) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${name} is a session with another model, or with another quantization of this one; load the ` +
        'model that it was saved with',
    );
  }
  if (kv.type !== reader.kv.type) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${name} has keys and values in ${kv.type}, and this model keeps them in ${reader.kv.type}; load ` +
        `the model with kvType ${kv.type}`,
    );
  }
  const sizes = ['layers', 'heads', 'headDim'] as const;
  if (sizes.some((size) => kv[size] !== reader.kv[size])) {
    throw damaged(name, 'has keys and values of another shape than the model that it names');
  }
  if (tokens > reader.context) {
    throw new MowgliError(
      'CONTEXT_EXCEEDED',
      `${name} has ${tokens} tokens, and the context holds ${reader.context}; load the model with a ` +
        'larger context',
    );
  }
}

function encodeHead(head: Head): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(fixedBytes + json.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < magic.length; i++) bytes[i] = magic.charCodeAt(i);
  view.setUint32(magic.length, version, true);
  view.setUint32(magic.length + 4, json.length, true);
  bytes.set(json, fixedBytes);
  return bytes;
}

function encodeTokens(tokens: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * tokens.length);
  const view = new DataView(bytes.buffer);
  for (const [i, token] of tokens.entries()) view.setUint32(4 * i, token, true);
  return bytes;
}

/** Parts of a file, each followed by a digest of itself and of the digest before. */
class DigestChain {
  #last = new Uint8Array(digestBytes);

  /** A part with its digest. */
  async seal(part: Uint8Array): Promise<Uint8Array> {
    const sealed = new Uint8Array(part.length + digestBytes);
    sealed.set(part);
    sealed.set(await this.#next(sealed), part.length);
    return sealed;
  }

  /** Whether a part ends with its digest, which is lost in the comparison. */
  async verify(sealed: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const found = sealed.slice(sealed.length - digestBytes);
    const wanted = await this.#next(sealed);
    return found.every((byte, i) => byte === wanted[i]);
  }

  async #next(sealed: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    sealed.set(this.#last, sealed.length - digestBytes);
    this.#last = new Uint8Array(await crypto.subtle.digest('SHA-256', sealed));
    return this.#last;
  }
}

/** Reads what `DigestChain` sealed. */
class SealedParts {
  /** Bytes read so far. */
  position = 0;
  readonly #source: ByteSource;
  readonly #signal: AbortSignal | undefined;
  readonly #digests = new DigestChain();
  #buffer = new Uint8Array();

  constructor(source: ByteSource, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#signal = signal;
  }

  /** The next part, of so many bytes. The next call overwrites it. */
  async next(bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const length = bytes + digestBytes;
    if (this.#buffer.length < length) this.#buffer = new Uint8Array(length);
    const sealed = this.#buffer.subarray(0, length);
    await this.#source.read(this.position, length, { into: sealed, signal: this.#signal });
    if (!(await this.#digests.verify(sealed))) {
      throw damaged(
        this.#source.name,
        `is damaged between bytes ${this.position} and ${this.position + length}`,
      );
    }
    this.position += length;
    return sealed.subarray(0, bytes);
  }
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function truncated(name: string, least: number): MowgliError {
  return new MowgliError(
    'FILE_TRUNCATED',
    `${name} ends before its ${least} bytes; save the session again, or copy the file again`,
  );
}

function damaged(name: string, what: string, cause?: unknown): MowgliError {
  return new MowgliError('FILE_INVALID', `${name} ${what}; save the session again`, { cause });
}
