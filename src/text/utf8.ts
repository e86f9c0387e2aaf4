/**
 * UTF-8 that may be invalid, as it comes from a model: each maximal invalid part becomes one
 * U+FFFD (the WHATWG rule, which Rust's and Python's lossy decoders share), and a leading byte
 * order mark is text like any other.
 */
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true });

/** Decodes bytes that are all there is. */
export function decodeUtf8(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

/**
 * Decodes bytes that arrive in pieces. The pieces of text, joined, are exactly what
 * {@link decodeUtf8} makes of the joined bytes, wherever they were cut.
 */
export class Utf8Stream {
  /** Bytes of a character that has begun and may still be completed. */
  #pending: Uint8Array = new Uint8Array(0);

  /** Text that is certain after these bytes. */
  push(bytes: Uint8Array): string {
    let all = bytes;
    if (this.#pending.length > 0) {
      all = new Uint8Array(this.#pending.length + bytes.length);
      all.set(this.#pending);
      all.set(bytes, this.#pending.length);
    }
    const end = all.length - unfinishedTail(all);
    this.#pending = all.slice(end);
    return decodeUtf8(all.subarray(0, end));
  }

  /** What is left when no more bytes come: an unfinished character is invalid. */
  flush(): string {
    const text = decodeUtf8(this.#pending);
    this.#pending = new Uint8Array(0);
    return text;
  }
}

/**
 * How many bytes at the end (0 to 3) are the beginning of a character. Cutting before a lead byte
 * never changes the decoding, because no valid or invalid part extends across one.
 */
function unfinishedTail(bytes: Uint8Array): number {
  for (let n = 1; n <= Math.min(3, bytes.length); n++) {
    const byte = bytes[bytes.length - n]!;
    if (byte >= 0xc2 && byte <= 0xf4) {
      const size = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      if (n >= size) return 0;
      return n === 1 || secondByteFits(byte, bytes[bytes.length - n + 1]!) ? n : 0;
    }
    if (byte < 0x80 || byte > 0xbf) return 0;
  }
  return 0;
}

/**
 * Whether a continuation byte may follow this lead byte (Unicode table 3-7), except that a
 * surrogate's ED A0..BF is waited for as well: its three bytes are all invalid either way, and
 * they then come out together, as from Python's incremental decoder.
 */
function secondByteFits(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0;
  if (lead === 0xf0) return second >= 0x90;
  if (lead === 0xf4) return second <= 0x8f;
  return true;
}
