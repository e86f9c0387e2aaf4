/**
 * The spelling of bytes in a byte-level BPE vocabulary. GPT-2 chose one printable character for
 * every byte value, so that a vocabulary file is plain text: bytes that are printable Latin-1 stand
 * for themselves, the other 68 are written as U+0100, U+0101 ... in order (a space is "Ġ").
 */
const BYTE_OF_CHARACTER: ReadonlyMap<number, number> = (() => {
  const map = new Map<number, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(printable ? byte : next++, byte);
  }
  return map;
})();

/**
 * The bytes that a vocabulary entry stands for, or `undefined` when a character of it is outside
 * the byte alphabet (then the entry is no byte-level token).
 */
export function byteLevelBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(token.charCodeAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
