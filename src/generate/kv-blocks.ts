/** Keys and values of a few tokens that follow those of the blocks before it. */
export interface KvBlock {
  /** As many as a block has, or fewer where a sequence ended. */
  readonly tokens: readonly number[];
  /** As `KvTransfer` reads them. */
  readonly bytes: Uint8Array;
  readonly before: KvBlock | undefined;
}

/** A block in the tree. */
interface Node extends KvBlock {
  readonly before: Node | undefined;
  /** Blocks before it. */
  readonly depth: number;
  /** What follows, by the first token. Only whole blocks are followed by others. */
  readonly after: Map<number, Node[]>;
}

/** Blocks that a sequence of tokens begins with. */
export interface StoredPrefix {
  readonly path: readonly KvBlock[];
  /** Tokens that are the sequence's: all of the blocks but for some at the end of the last one. */
  readonly count: number;
}

/**
 * Blocks of keys and values by the tokens that lead to them: a tree, in which sequences share what they
 * have in common from the first token on. Tokens are compared themselves, never by a hash alone, so
 * that no prompt can pass for another one.
 *
 * Only leaves are evicted, the one used longest ago first. A block counts as used later than what
 * follows it, so the oldest block of all is always a leaf.
 */
export class KvBlocks {
  readonly blockTokens: number;
  /** Bytes to hold at most. */
  readonly budget: number;
  #first = new Map<number, Node[]>();
  /** All blocks, the one used longest ago first. */
  #used = new Set<Node>();
  #bytes = 0;
  #evictions = 0;

  constructor(blockTokens: number, budget: number) {
    this.blockTokens = blockTokens;
    this.budget = budget;
  }

  /** Bytes of keys and values held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Blocks held. */
  get size(): number {
    return this.#used.size;
  }

  /** Blocks that had to make room, so far. */
  get evictions(): number {
    return this.#evictions;
  }

  /** The most of the beginning of some tokens, up to `most` of them, that there is. */
  find(tokens: readonly number[], most = tokens.length): StoredPrefix {
    const path: Node[] = [];
    let count = 0;
    while (count < most) {
      let best: Node | undefined;
      let length = 0;
      for (const node of this.#after(path.at(-1)).get(tokens[count]) ?? []) {
        const same = commonLength(
          node.tokens,
          tokens,
          Math.min(most - count, this.blockTokens),
          count,
        );
        if (same > length) [best, length] = [node, same];
      }
      if (!best) break;
      path.push(best);
      count += length;
      if (length < this.blockTokens) break;
    }
    return { path, count };
  }

  /** Marks the blocks of a path as used now. */
  touch(path: readonly KvBlock[]): void {
    for (const block of path.toReversed()) {
      if (this.#used.delete(block as Node)) this.#used.add(block as Node);
    }
  }

  /**
   * Evicts blocks until there is room for some tokens behind a path. Blocks of the path stay, and so
   * does the shorter block that these tokens supersede, whose bytes count as room.
   *
   * @param path used last of all: see `touch`
   * @returns whether there is room
   */
  makeRoom(path: readonly KvBlock[], tokens: readonly number[], bytes: number): boolean {
    const shorter = this.#superseded(path.at(-1) as Node | undefined, tokens);
    const wanted = bytes - (shorter?.bytes.length ?? 0);
    while (this.#bytes + wanted > this.budget) {
      const [oldest] = this.#used;
      if (!oldest || oldest === shorter || path[oldest.depth] === oldest) return false;
      this.#remove(oldest);
      this.#evictions++;
    }
    return true;
  }

  /**
   * Adds a block behind a path that is in the tree, whose last block is whole. A shorter block that
   * these tokens begin with goes. `touch` the path with it when it is complete.
   */
  add(path: readonly KvBlock[], tokens: readonly number[], bytes: Uint8Array): KvBlock {
    const before = path.at(-1) as Node | undefined;
    const shorter = this.#superseded(before, tokens);
    if (shorter) this.#remove(shorter);
    const node: Node = { tokens, bytes, before, depth: path.length, after: new Map() };
    const siblings = this.#after(before);
    const same = siblings.get(tokens[0]);
    if (same) same.push(node);
    else siblings.set(tokens[0], [node]);
    this.#used.add(node);
    this.#bytes += bytes.length;
    return node;
  }

  clear(): void {
    this.#first = new Map();
    this.#used = new Set();
    this.#bytes = 0;
  }

  #after(node: Node | undefined): Map<number, Node[]> {
    return node ? node.after : this.#first;
  }

  /** The block behind another one that is a beginning of some tokens. There is one at most. */
  #superseded(before: Node | undefined, tokens: readonly number[]): Node | undefined {
    return this.#after(before)
      .get(tokens[0])
      ?.find((node) => commonLength(node.tokens, tokens) === node.tokens.length);
  }

  #remove(node: Node): void {
    const siblings = this.#after(node.before);
    const [first] = node.tokens;
    const others = (siblings.get(first) ?? []).filter((other) => other !== node);
    if (others.length) siblings.set(first, others);
    else siblings.delete(first);
    this.#used.delete(node);
    this.#bytes -= node.bytes.length;
  }
}

/** How many tokens at the beginning of `a`, up to `most`, are those of `b` from `offset` on. */
export function commonLength(
  a: readonly number[],
  b: readonly number[],
  most = Number.POSITIVE_INFINITY,
  offset = 0,
): number {
  const end = Math.min(a.length, b.length - offset, most);
  let length = 0;
  while (length < end && a[length] === b[offset + length]) length++;
  return Math.max(0, length);
}
