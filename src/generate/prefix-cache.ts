import { MowgliError, throwIfAborted } from '../errors.ts';
import { kvTokenBytes } from '../model/kv-transfer.ts';
import type { Engine } from './engine.ts';
import { commonLength, KvBlocks, type StoredPrefix } from './kv-blocks.ts';

/** What the cache asks of an engine. */
export type KvHolder = Pick<
  Engine,
  'evaluated' | 'position' | 'kvShape' | 'rewind' | 'readKv' | 'writeKv'
>;

/** What a prefix cache did since the model was loaded, and what it holds. */
export interface PrefixCacheUse {
  /** Bytes of host memory to use at most, and in use, for keys and values. */
  readonly budget: number;
  readonly bytes: number;
  readonly blocks: number;
  /** Sequences that were asked for, and those of which at least one token was there. */
  readonly requests: number;
  readonly hits: number;
  /** Tokens that did not have to be evaluated again, and those of them that came from host memory. */
  readonly reusedTokens: number;
  readonly restoredTokens: number;
  /** Tokens whose keys and values were copied to host memory. */
  readonly savedTokens: number;
  readonly evictions: number;
  /** Savings that failed for want of host memory; the tokens are evaluated again when needed. */
  readonly failures: number;
}

/**
 * Tokens of a block. A block of a large model is some megabytes: a piece that the allocator and the bus
 * like, of runs of 16 KiB per head. Fewer would be more copies for the same bytes; more would hold more
 * bytes twice, since sequences that part within a block share what lies before it.
 */
const defaultBlockTokens = 64;

/** Fewer tokens are evaluated again rather than saved or restored: they join a chunk nearly for free. */
const leastTokens = 8;

/**
 * Lets one engine serve many sequences that take turns: what it has evaluated is kept in host memory
 * when another sequence takes its place, and brought back when a sequence begins with it. Sequences
 * that grow one behind the other cost nothing, since their keys and values are on the GPU still.
 *
 * One caller at a time, and nobody else may use the engine meanwhile; `clear` may be called any time.
 */
export class PrefixCache {
  readonly #engine: KvHolder;
  readonly #blocks: KvBlocks;
  readonly #tokenBytes: number;
  /** Tells a saving under way that what it adds to is gone. */
  #cleared = 0;
  #counts = {
    requests: 0,
    hits: 0,
    reusedTokens: 0,
    restoredTokens: 0,
    savedTokens: 0,
    failures: 0,
  };

  /**
   * @param budget bytes of host memory for keys and values, besides those of the sequence that is being
   * brought back; with 0, only what is on the GPU is used again
   */
  constructor(engine: KvHolder, budget: number, blockTokens = defaultBlockTokens) {
    this.#engine = engine;
    this.#blocks = new KvBlocks(blockTokens, budget);
    this.#tokenBytes = kvTokenBytes(engine.kvShape);
  }

  /**
   * Makes the engine hold as much of the beginning of some tokens as is known, and nothing else. At
   * least the last token is left to evaluate: its logits are what is wanted.
   *
   * @returns how many tokens the engine holds
   * @throws MowgliError `ABORTED`, between blocks, and errors of the device; the engine then holds a
   * beginning of the tokens, or what it held before
   */
  prepare(tokens: readonly number[], signal?: AbortSignal): Promise<number> {
    return this.#bring(tokens, Math.max(0, tokens.length - 1), signal);
  }

  /** As `prepare`, but of all the tokens: to copy their keys and values elsewhere. */
  recall(tokens: readonly number[], signal?: AbortSignal): Promise<number> {
    return this.#bring(tokens, tokens.length, signal);
  }

  /** Makes the engine hold nothing, for who wants every token evaluated. */
  async vacate(signal?: AbortSignal): Promise<void> {
    await this.#keep(0, signal);
    this.#engine.rewind(0);
  }

  /**
   * Makes the engine hold tokens whose keys and values come from elsewhere: blocks of `blockTokens`
   * tokens each, the last one of what is left. When they fail to come, it holds those that came.
   */
  async load(
    tokens: readonly number[],
    blockTokens: number,
    blocks: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.vacate(signal);
    let from = 0;
    for await (const block of blocks) {
      throwIfAborted(signal, 'reading a session');
      await this.#engine.writeKv(tokens.slice(from, from + blockTokens), block);
      from += blockTokens;
    }
  }

  /**
   * Copies what the engine has evaluated to host memory, as far as the budget goes, and not what is
   * there already. `prepare` does so when it has to; this is for those who know that it will.
   */
  async save(signal?: AbortSignal): Promise<void> {
    const tokens = [...this.#engine.evaluated];
    if (this.#blocks.budget > 0) await this.#save(tokens, this.#blocks.find(tokens), signal);
  }

  /** Gives up all host memory. What is on the GPU stays there. */
  clear(): void {
    this.#cleared++;
    this.#blocks.clear();
  }

  use(): PrefixCacheUse {
    const { budget, bytes, size, evictions } = this.#blocks;
    return { budget, bytes, blocks: size, evictions, ...this.#counts };
  }

  async #bring(
    tokens: readonly number[],
    most: number,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const live = commonLength(this.#engine.evaluated, tokens, most);
    const stored = live < most ? this.#blocks.find(tokens, most) : { path: [], count: 0 };
    const gains = stored.count - live >= leastTokens;
    if (gains) this.#blocks.touch(stored.path);
    await this.#keep(live, signal);
    this.#engine.rewind(live);
    if (gains) await this.#restore(tokens, stored, signal);
    const { position } = this.#engine;
    this.#counts.requests++;
    if (position > 0) this.#counts.hits++;
    this.#counts.reusedTokens += position;
    this.#counts.restoredTokens += position - live;
    return position;
  }

  /** Goes on behind the tokens that the engine holds with those of blocks. */
  async #restore(
    tokens: readonly number[],
    { path, count }: StoredPrefix,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { blockTokens } = this.#blocks;
    for (const [i, block] of path.entries()) {
      const from = this.#engine.position;
      const begin = i * blockTokens;
      const end = Math.min(begin + block.tokens.length, count);
      if (end <= from) continue;
      throwIfAborted(signal, 'restoring the keys and values of a prompt');
      await this.#engine.writeKv(tokens.slice(from, end), block.bytes, from - begin);
    }
  }

  /** Saves what the engine holds before all behind the first `live` tokens is lost. */
  async #keep(live: number, signal: AbortSignal | undefined): Promise<void> {
    const { evaluated } = this.#engine;
    if (this.#blocks.budget <= 0 || evaluated.length - live < leastTokens) return;
    const tokens = [...evaluated];
    const stored = this.#blocks.find(tokens);
    if (tokens.length - stored.count < leastTokens) return;
    await this.#save(tokens, stored, signal);
  }

  /** Adds blocks until all tokens are stored, or until nothing else is left to evict. */
  async #save(
    tokens: readonly number[],
    stored: StoredPrefix,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const blocks = this.#blocks;
    const { blockTokens } = blocks;
    blocks.touch(stored.path);
    if (stored.count === tokens.length) return;
    const cleared = this.#cleared;
    const path = stored.path.slice(0, Math.floor(stored.count / blockTokens));
    try {
      for (let from = path.length * blockTokens; from < tokens.length; from += blockTokens) {
        throwIfAborted(signal, 'saving the keys and values of a prompt');
        const part = tokens.slice(from, from + blockTokens);
        if (!blocks.makeRoom(path, part, part.length * this.#tokenBytes)) break;
        const bytes = await this.#engine.readKv(from, from + part.length);
        if (cleared !== this.#cleared) return;
        path.push(blocks.add(path, part, bytes));
        this.#counts.savedTokens += part.length;
      }
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      // The tokens are evaluated again when they are needed, and nothing else is lost.
      this.#counts.failures++;
    } finally {
      if (cleared === this.#cleared) blocks.touch(path);
    }
  }
}

function isOutOfMemory(error: unknown): boolean {
  // A RangeError is what JavaScript has for a buffer that cannot be allocated.
  if (error instanceof MowgliError) return error.code === 'OUT_OF_MEMORY';
  return error instanceof RangeError;
}
