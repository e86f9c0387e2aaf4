import { MowgliError } from '../errors.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** The group of the bytes of characters beyond ASCII. */
export const BEYOND_ASCII = 31;

/**
 * Bytes put into at most 32 groups, so that a set of them is a word. ASCII that grammars tell apart is
 * apart; bytes of longer characters are one group.
 */
export const byteGroups = groupBytes([
  '"',
  '\\',
  '<',
  '>',
  '/',
  '\n',
  '\r\t',
  ' ',
  '0123456789',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
  'abcdefghijklmnopqrstuvwxyz',
  '_',
  '-+',
  '.',
  ',',
  ':',
  '[]',
  '{}',
  '()',
  "'`",
]);
function groupBytes(groups: readonly string[]): Uint8Array {
  const of = new Uint8Array(256).fill(groups.length, 0, 128).fill(BEYOND_ASCII, 128);
  // Control characters are seldom, and never among those of the other groups.
  of.fill(groups.length + 1, 0, 0x20);
  for (const [group, text] of groups.entries()) {
    for (const character of text) of[character.charCodeAt(0)] = group;
  }
  return of;
}

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
  /** How many tokens come before a node, in the order of nodes. */
  readonly tokensBefore: Uint32Array;
  /** The tokens in the order of nodes. */
  readonly inOrder: Int32Array;
  /** The groups of the bytes below a node, a bit for each. */
  readonly groupsBelow: Uint32Array;
  /** Bytes from a node to the deepest one below it. */
  readonly heightOf: Uint16Array;
  /** Whether all that begins behind a node is whole characters. */
  readonly isTextBelow: Uint8Array;
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
    const { count } = builder;
    this.nodes = count;
    this.byteOf = builder.byteOf.slice(0, count);
    this.depthOf = builder.depthOf.slice(0, count);
    this.endOf = builder.endOf.slice(0, count);
    this.tokenOf = builder.tokenOf.slice(0, count);
    this.tokensBefore = new Uint32Array(count + 1);
    this.groupsBelow = new Uint32Array(count);
    this.heightOf = new Uint16Array(count);
    this.isTextBelow = new Uint8Array(count).fill(1);
    this.#summarize();
    this.inOrder = this.tokenOf.filter((token) => token >= 0);
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

  /** Looks at what is below each node, from the last one on, so that its children are done before. */
  #summarize(): void {
    const { nodes, byteOf, endOf, tokenOf } = this;
    for (let node = 0; node < nodes; node++) {
      this.tokensBefore[node + 1] = this.tokensBefore[node]! + (tokenOf[node]! < 0 ? 0 : 1);
    }
    for (let node = nodes - 1; node >= 0; node--) {
      let groups = 0;
      let height = 0;
      for (let child = node + 1; child < endOf[node]!; child = endOf[child]!) {
        groups |= (1 << byteGroups[byteOf[child]!]!) | this.groupsBelow[child]!;
        height = Math.max(height, this.heightOf[child]! + 1);
        if (!this.#isText(child, nextInUtf8(0, byteOf[child]!))) this.isTextBelow[node] = 0;
      }
      this.groupsBelow[node] = groups;
      this.heightOf[node] = height;
    }
  }

  /** Whether a node that is reached in a state of UTF-8 leads to whole characters only. */
  #isText(node: number, state: number): boolean {
    if (state === 0) return this.isTextBelow[node] === 1;
    if (state < 0 || this.tokenOf[node]! >= 0) return false;
    for (let child = node + 1; child < this.endOf[node]!; child = this.endOf[child]!) {
      if (!this.#isText(child, nextInUtf8(state, this.byteOf[child]!))) return false;
    }
    return true;
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

/**
 * The state of UTF-8 behind a byte: 0 behind a whole character, -1 where there can be none. Others are
 * how many bytes are missing, and four for lead bytes after which not every continuation is allowed.
 */
export function nextInUtf8(state: number, byte: number): number {
  const continues = byte >= 0x80 && byte < 0xc0;
  switch (state) {
    case 0:
      if (byte < 0x80) return 0;
      if (byte < 0xc2 || byte > 0xf4) return -1;
      if (byte < 0xe0) return 1;
      if (byte < 0xf0) return byte === 0xe0 ? 4 : byte === 0xed ? 5 : 2;
      return byte === 0xf0 ? 6 : byte === 0xf4 ? 7 : 3;
    case 4:
      return continues && byte >= 0xa0 ? 1 : -1;
    case 5:
      return continues && byte < 0xa0 ? 1 : -1;
    case 6:
      return continues && byte >= 0x90 ? 2 : -1;
    case 7:
      return continues && byte < 0x90 ? 2 : -1;
    default:
      return continues ? state - 1 : -1;
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
