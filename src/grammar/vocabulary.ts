import { MowgliError } from '../errors.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** Below this many tokens, sorting them by a byte is quicker than counting bytes. */
const FEW = 48;

/**
 * The tokens that are text, as a trie over their bytes. Its nodes are numbered in the order of a walk
 * that goes down first, and node 0 is the root: so the descendants of a node are the numbers between
 * it and its `end`, and a walk is a loop.
 */
export class Vocabulary {
  /** Ids are less than this. */
  readonly size: number;
  /** The longest token. */
  readonly maxBytes: number;
  readonly nodes: number;
  /** The byte that leads to a node. */
  readonly byteOf: Uint8Array;
  readonly depthOf: Uint16Array;
  /** One more than the last descendant of a node, or than the node itself. */
  readonly endOf: Uint32Array;
  /** The token that a node is the end of, or -1. */
  readonly tokenOf: Int32Array;
  /** Further tokens with the same bytes as another one. */
  readonly twinsOf: ReadonlyMap<number, readonly number[]>;
  /** Bytes of all tokens, one after the other. */
  readonly #bytes: Uint8Array;
  readonly #offsets: Uint32Array;

  /**
   * Control tokens and tokens that end a text are left out; added tokens that are text
   * (`<tool_call>`) are not.
   * @throws MowgliError `TOKENIZER_INVALID` when a byte is no token: then not every text that a
   * grammar allows can be written.
   */
  constructor(tokenizer: Tokenizer, endTokens: readonly number[] = []) {
    this.size = tokenizer.vocabSize;
    const parts: Uint8Array[] = [];
    this.#offsets = new Uint32Array(this.size + 1);
    const ends = new Set(endTokens);
    const tokens: number[] = [];
    let maxBytes = 0;
    let total = 0;
    for (let id = 0; id < this.size; id++) {
      const bytes = tokenizer.tokenBytes(id);
      this.#offsets[id] = total;
      total += bytes.length;
      parts.push(bytes);
      if (bytes.length === 0 || tokenizer.isSpecial(id) || ends.has(id)) continue;
      tokens.push(id);
      maxBytes = Math.max(maxBytes, bytes.length);
    }
    this.#offsets[this.size] = total;
    this.#bytes = new Uint8Array(total);
    for (const [id, part] of parts.entries()) this.#bytes.set(part, this.#offsets[id]!);
    this.maxBytes = maxBytes;

    const builder = new TrieBuilder(this.#bytes, this.#offsets, Int32Array.from(tokens));
    builder.build();
    this.nodes = builder.count;
    this.byteOf = builder.byteOf.slice(0, builder.count);
    this.depthOf = builder.depthOf.slice(0, builder.count);
    this.endOf = builder.endOf.slice(0, builder.count);
    this.tokenOf = builder.tokenOf.slice(0, builder.count);
    this.twinsOf = builder.twinsOf;
    this.#requireBytes();
  }

  tokenBytes(id: number): Uint8Array {
    return this.#bytes.subarray(this.#offsets[id]!, this.#offsets[id + 1]!);
  }

  /** How many tokens spell a text at least, from each byte on to its end. */
  spelling(bytes: Uint8Array): Uint32Array {
    const tokens = new Uint32Array(bytes.length + 1);
    for (let from = bytes.length - 1; from >= 0; from--) {
      let least = Number.POSITIVE_INFINITY;
      let node = 0;
      for (let at = from; at < bytes.length; at++) {
        node = this.#child(node, bytes[at]!);
        if (node < 0) break;
        if (this.tokenOf[node]! >= 0) least = Math.min(least, 1 + tokens[at + 1]!);
      }
      tokens[from] = least;
    }
    return tokens.subarray(0, bytes.length);
  }

  #child(parent: number, byte: number): number {
    const end = this.endOf[parent]!;
    for (let child = parent + 1; child < end; child = this.endOf[child]!) {
      if (this.byteOf[child] === byte) return child;
    }
    return -1;
  }

  #requireBytes(): void {
    for (let byte = 0; byte < 256; byte++) {
      const node = this.#child(0, byte);
      if (node >= 0 && this.tokenOf[node]! >= 0) continue;
      throw new MowgliError(
        'TOKENIZER_INVALID',
        `the vocabulary has no token for the byte 0x${byte.toString(16).padStart(2, '0')} alone, ` +
          'so that constrained output could come to a dead end. Generate without responseFormat ' +
          "and toolChoice, or use the tokenizer.json that belongs to the model's weights.",
      );
    }
  }
}

/** Sorts tokens by their bytes, byte after byte, and numbers the nodes on the way. */
class TrieBuilder {
  readonly byteOf: Uint8Array;
  readonly depthOf: Uint16Array;
  readonly endOf: Uint32Array;
  readonly tokenOf: Int32Array;
  readonly twinsOf = new Map<number, number[]>();
  count = 0;
  readonly #bytes: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #tokens: Int32Array;
  readonly #sorted: Int32Array;

  constructor(bytes: Uint8Array, offsets: Uint32Array, tokens: Int32Array) {
    this.#bytes = bytes;
    this.#offsets = offsets;
    this.#tokens = tokens;
    this.#sorted = new Int32Array(tokens.length);
    const most = bytes.length + 1;
    this.byteOf = new Uint8Array(most);
    this.depthOf = new Uint16Array(most);
    this.endOf = new Uint32Array(most);
    this.tokenOf = new Int32Array(most).fill(-1);
  }

  build(): void {
    this.#node(0, this.#tokens.length, 0, 0);
  }

  /** The node of tokens `from` to `to`, which have their first `depth` bytes in common. */
  #node(from: number, to: number, depth: number, byte: number): void {
    const node = this.count++;
    this.byteOf[node] = byte;
    this.depthOf[node] = depth;
    const first = this.#takeEnding(node, from, to, depth);
    this.#sort(first, to, depth);
    for (let start = first; start < to; ) {
      const next = this.#byte(start, depth);
      let end = start + 1;
      while (end < to && this.#byte(end, depth) === next) end++;
      this.#node(start, end, depth + 1, next);
      start = end;
    }
    this.endOf[node] = this.count;
  }

  /** Moves tokens that end at a node to the front, gives them to it, and returns where others begin. */
  #takeEnding(node: number, from: number, to: number, depth: number): number {
    const tokens = this.#tokens;
    let first = from;
    for (let i = from; i < to; i++) {
      const token = tokens[i]!;
      if (this.#offsets[token + 1]! - this.#offsets[token]! !== depth) continue;
      tokens[i] = tokens[first]!;
      tokens[first++] = token;
      const owner = this.tokenOf[node]!;
      if (owner < 0) this.tokenOf[node] = token;
      else this.twinsOf.set(owner, [...(this.twinsOf.get(owner) ?? []), token]);
    }
    return first;
  }

  #sort(from: number, to: number, depth: number): void {
    const tokens = this.#tokens;
    if (to - from <= FEW) {
      for (let i = from + 1; i < to; i++) {
        const token = tokens[i]!;
        const byte = this.#byte(i, depth);
        let at = i;
        for (; at > from && this.#byte(at - 1, depth) > byte; at--) tokens[at] = tokens[at - 1]!;
        tokens[at] = token;
      }
      return;
    }
    const starts = new Uint32Array(257);
    for (let i = from; i < to; i++) starts[this.#byte(i, depth) + 1]!++;
    for (let byte = 0; byte < 256; byte++) starts[byte + 1]! += starts[byte]!;
    for (let i = from; i < to; i++) {
      this.#sorted[starts[this.#byte(i, depth)]!++] = tokens[i]!;
    }
    tokens.set(this.#sorted.subarray(0, to - from), from);
  }

  #byte(at: number, depth: number): number {
    return this.#bytes[this.#offsets[this.#tokens[at]!]! + depth]!;
  }
}
