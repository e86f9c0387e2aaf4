import { describe, expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { MowgliError } from '../errors.ts';
import { kvTokenBytes } from '../model/kv-transfer.ts';
import { type KvHolder, PrefixCache } from './prefix-cache.ts';

/** Tokens below which nothing is saved or restored. */
const least = 8;

const kvShape = { type: 'f32', layers: 1, heads: 1, headDim: 4 } as const;
const tokenBytes = kvTokenBytes(kvShape);

/**
 * An engine without a model: the key of a position is a hash of the tokens up to there, its value
 * another one, so that each is right behind these tokens only.
 */
class FakeEngine implements KvHolder {
  readonly kvShape = kvShape;
  readonly evaluated: number[] = [];
  evaluatedTokens = 0;
  reads = 0;
  writes = 0;
  /** Called before each read; may throw, or do something else meanwhile. */
  onRead: () => void = () => {};
  /** [keys and values][position] */
  readonly #memory: number[][] = [[], []];

  get position(): number {
    return this.evaluated.length;
  }

  rewind(position: number): void {
    this.evaluated.length = Math.min(position, this.position);
  }

  evaluate(tokens: readonly number[]): void {
    const all = [...this.evaluated, ...tokens];
    const hashes = hashesOf(all);
    for (let position = this.position; position < all.length; position++) {
      this.#memory[0][position] = hashes[position];
      this.#memory[1][position] = ~hashes[position] >>> 0;
    }
    this.evaluated.push(...tokens);
    this.evaluatedTokens += tokens.length;
  }

  async readKv(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    this.reads++;
    this.onRead();
    expect(0 <= from && from < to && to <= this.position).toBe(true);
    const words = this.#memory.flatMap((run) =>
      run.slice(from, to).flatMap((word) => [word, 0, 0, 0]),
    );
    return new Uint8Array(Uint32Array.from(words).buffer);
  }

  async writeKv(tokens: readonly number[], block: Uint8Array, first = 0): Promise<void> {
    this.writes++;
    const words = new Uint32Array(block.slice().buffer);
    const positions = block.length / tokenBytes;
    expect(tokens.length).toBeGreaterThan(0);
    expect(first + tokens.length).toBeLessThanOrEqual(positions);
    for (const [half, run] of this.#memory.entries()) {
      for (let i = 0; i < tokens.length; i++) {
        run[this.position + i] = words[4 * (half * positions + first + i)];
      }
    }
    this.evaluated.push(...tokens);
  }

  /** Fails unless the memory is what evaluating the tokens gives. */
  check(): void {
    const hashes = hashesOf(this.evaluated);
    expect(this.#memory[0].slice(0, this.position)).toEqual(hashes);
    expect(this.#memory[1].slice(0, this.position)).toEqual(hashes.map((hash) => ~hash >>> 0));
  }
}

function hashesOf(tokens: readonly number[]): number[] {
  let hash = 0x811c9dc5;
  return tokens.map((token) => {
    hash = Math.imul(hash ^ token, 0x01000193) >>> 0;
    return hash;
  });
}

function common(a: readonly number[], b: readonly number[], most: number): number {
  let length = 0;
  while (length < most && length < a.length && length < b.length && a[length] === b[length]) {
    length++;
  }
  return length;
}

/** What a cache should hold, as a plain list of sequences of tokens up to each block's end. */
class Reference {
  readonly stored: { readonly tokens: readonly number[]; used: number }[] = [];
  evictions = 0;
  readonly #budget: number;
  readonly #blockTokens: number;
  #clock = 0;

  constructor(budget: number, blockTokens: number) {
    this.#budget = budget;
    this.#blockTokens = blockTokens;
  }

  get bytes(): number {
    const own = ({ tokens }: { tokens: readonly number[] }) =>
      tokens.length - this.#begin(tokens.length);
    return this.stored.reduce((sum, block) => sum + tokenBytes * own(block), 0);
  }

  /** Where the block that ends at `end` begins. */
  #begin(end: number): number {
    return this.#blockTokens * Math.floor((end - 1) / this.#blockTokens);
  }

  find(tokens: readonly number[], most: number): number {
    return Math.max(0, ...this.stored.map((block) => common(block.tokens, tokens, most)));
  }

  /** Marks what leads to the longest known beginning. */
  touch(tokens: readonly number[], most: number): void {
    const length = this.find(tokens, most);
    if (length === 0) return;
    const begin = this.#begin(length);
    const last = this.stored.find(
      (block) =>
        this.#begin(block.tokens.length) === begin && common(block.tokens, tokens, most) === length,
    )!;
    this.#clock++;
    for (const block of this.stored) {
      if (common(block.tokens, last.tokens, block.tokens.length) === block.tokens.length) {
        block.used = this.#clock;
      }
    }
  }

  #isLeaf({ tokens }: { readonly tokens: readonly number[] }): boolean {
    return !this.stored.some(
      (other) =>
        other.tokens.length > tokens.length &&
        common(other.tokens, tokens, tokens.length) === tokens.length,
    );
  }

  save(tokens: readonly number[]): number {
    this.touch(tokens, tokens.length);
    const count = this.find(tokens, tokens.length);
    let saved = 0;
    if (count === tokens.length) return saved;
    let end = this.#blockTokens * Math.floor(count / this.#blockTokens);
    while (end < tokens.length) {
      const begin = end;
      end = Math.min(tokens.length, begin + this.#blockTokens);
      const shorter = this.stored.find(
        (block) =>
          this.#begin(block.tokens.length) === begin &&
          common(block.tokens, tokens, end) === block.tokens.length,
      );
      const freed = shorter ? tokenBytes * (shorter.tokens.length - begin) : 0;
      let fits = true;
      while (this.bytes - freed + tokenBytes * (end - begin) > this.#budget) {
        const others = this.stored.filter(
          (block) =>
            this.#isLeaf(block) &&
            common(block.tokens, tokens, tokens.length) < block.tokens.length,
        );
        const oldest = others.sort((a, b) => a.used - b.used)[0];
        if (!oldest) {
          fits = false;
          break;
        }
        this.stored.splice(this.stored.indexOf(oldest), 1);
        this.evictions++;
      }
      if (!fits) break;
      if (shorter) this.stored.splice(this.stored.indexOf(shorter), 1);
      this.stored.push({ tokens: tokens.slice(0, end), used: 0 });
      saved += end - begin;
    }
    this.#clock++;
    for (const block of this.stored) {
      if (common(block.tokens, tokens, tokens.length) === block.tokens.length) {
        block.used = this.#clock;
      }
    }
    return saved;
  }

  keep(evaluated: readonly number[], live: number): number {
    if (this.#budget === 0 || evaluated.length - live < least) return 0;
    const stored = this.find(evaluated, evaluated.length);
    if (evaluated.length - Math.max(live, stored) < least) return 0;
    return this.save(evaluated);
  }

  /** How many tokens are there after `PrefixCache.prepare`, and how many of them were restored. */
  prepare(evaluated: readonly number[], tokens: readonly number[]): { held: number; live: number } {
    const most = Math.max(0, tokens.length - 1);
    const live = common(evaluated, tokens, most);
    const stored = live < most ? this.find(tokens, most) : 0;
    const gains = stored - live >= least;
    if (gains) this.touch(tokens, most);
    this.keep(evaluated, live);
    return { held: gains ? stored : live, live };
  }
}

/** A sequence that shares the beginning of one before, and then goes its own way. */
function nextSequence(random: Random, known: readonly (readonly number[])[]): number[] {
  const from = known.length && random.unit() < 0.9 ? known[random.below(known.length)] : [];
  const shared = random.unit() < 0.5 ? from.length : random.below(from.length + 1);
  const more = 1 + random.below(random.unit() < 0.3 ? 60 : 12);
  // Few different tokens, so that sequences also go the same way by chance.
  return [...from.slice(0, shared), ...Array.from({ length: more }, () => random.below(3))].slice(
    0,
    200,
  );
}

describe('against a naive reference', () => {
  test.each([
    ['no budget', 0, 8],
    ['less than a block', 7 * tokenBytes, 8],
    ['a block and a half', 12 * tokenBytes, 8],
    ['few blocks', 40 * tokenBytes, 8],
    ['some blocks', 150 * tokenBytes, 8],
    ['blocks of 16', 500 * tokenBytes, 16],
    ['blocks of 5', 300 * tokenBytes, 5],
    ['no limit', Number.POSITIVE_INFINITY, 8],
  ])(
    '%s: the longest beginning, the same bytes and evictions',
    async (name, budget, blockTokens) => {
      const random = new Random(`prefix cache ${name}`);
      const engine = new FakeEngine();
      const cache = new PrefixCache(engine, budget, blockTokens);
      let reference = new Reference(budget, blockTokens);
      let evictions = 0;
      let known: number[][] = [];
      let [reused, restored] = [0, 0];
      for (let step = 0; step < 700; step++) {
        const kind = random.unit();
        const what = `MOWGLI_SEED=${baseSeed}, step ${step}`;
        if (kind < 0.03) {
          reference.save(engine.evaluated);
          await cache.save();
        } else if (kind < 0.06) {
          reference.keep(engine.evaluated, 0);
          await cache.vacate();
          expect(engine.position, what).toBe(0);
        } else if (kind < 0.065) {
          evictions += reference.evictions;
          reference = new Reference(budget, blockTokens);
          cache.clear();
          known = known.slice(-2);
        } else {
          const tokens = nextSequence(random, known);
          if (known.length > 12) known.splice(random.below(known.length), 1);
          known.push(tokens);
          const { held, live } = reference.prepare([...engine.evaluated], tokens);
          expect(await cache.prepare(tokens), what).toBe(held);
          expect(engine.evaluated, what).toEqual(tokens.slice(0, held));
          engine.check();
          reused += held;
          restored += held - live;
          // Sometimes less is evaluated than was asked for, as when a request is aborted.
          engine.evaluate(tokens.slice(held, random.unit() < 0.9 ? undefined : held + 3));
        }
        const use = cache.use();
        expect(use.bytes, what).toBe(reference.bytes);
        expect(use.bytes, what).toBeLessThanOrEqual(budget);
        expect(use.blocks, what).toBe(reference.stored.length);
        expect(use.evictions, what).toBe(evictions + reference.evictions);
        expect([use.reusedTokens, use.restoredTokens], what).toEqual([reused, restored]);
      }
    },
  );
});

describe('what costs nothing', () => {
  test('a sequence that grows touches neither the GPU nor the host', async () => {
    const engine = new FakeEngine();
    const cache = new PrefixCache(engine, Number.POSITIVE_INFINITY);
    const tokens = Array.from({ length: 50 }, (_, i) => i);
    for (let turn = 0; turn < 20; turn++) {
      expect(await cache.prepare(tokens)).toBe(engine.position);
      engine.evaluate(tokens.slice(engine.position));
      tokens.push(...Array.from({ length: 30 }, (_, i) => 100 * turn + i));
    }
    expect([engine.reads, engine.writes, cache.use().bytes]).toEqual([0, 0, 0]);
    expect(engine.evaluatedTokens).toBe(50 + 19 * 30);
  });

  test('two sequences that take turns are evaluated once each, and saved as far as they are new', async () => {
    const engine = new FakeEngine();
    const cache = new PrefixCache(engine, Number.POSITIVE_INFINITY, 64);
    const sequences = [[...Array(150).keys()], [...Array(90).keys()].map((i) => 1000 + i)];
    for (let turn = 0; turn < 10; turn++) {
      for (const tokens of sequences) {
        await cache.prepare(tokens);
        engine.evaluate(tokens.slice(engine.position));
        engine.check();
        tokens.push(...Array.from({ length: 25 }, () => tokens.length + turn));
      }
    }
    const all = sequences.reduce((sum, tokens) => sum + tokens.length - 25, 0);
    expect(engine.evaluatedTokens).toBe(all);
    // A last block that was not whole is saved again when it has grown.
    expect(cache.use().savedTokens).toBeLessThanOrEqual(all + 2 * 10 * 64);
    expect(cache.use().evictions).toBe(0);
  });

  test('with the budget of one sequence, two change places', async () => {
    const engine = new FakeEngine();
    const cache = new PrefixCache(engine, 256 * tokenBytes, 64);
    const sequences = [[...Array(250).keys()], [...Array(250).keys()].map((i) => 1000 + i)];
    for (let turn = 0; turn < 6; turn++) {
      const tokens = sequences[turn % 2];
      expect(await cache.prepare(tokens)).toBe(turn < 2 ? 0 : 249);
      engine.evaluate(tokens.slice(engine.position));
      engine.check();
    }
  });
});

describe('when something goes wrong', () => {
  const a = [...Array(300).keys()];
  const b = a.map((token) => token + 1000);

  async function withA(): Promise<{ engine: FakeEngine; cache: PrefixCache }> {
    const engine = new FakeEngine();
    const cache = new PrefixCache(engine, Number.POSITIVE_INFINITY, 64);
    await cache.prepare(a);
    engine.evaluate(a);
    return { engine, cache };
  }

  test('no host memory: what was saved by then is kept, and the request goes on', async () => {
    const { engine, cache } = await withA();
    engine.onRead = () => {
      if (engine.reads === 3) throw new RangeError('Array buffer allocation failed');
    };
    expect(await cache.prepare(b)).toBe(0);
    expect(cache.use()).toMatchObject({ failures: 1, savedTokens: 128, bytes: 128 * tokenBytes });
    engine.evaluate(b);
    expect(await cache.prepare(a)).toBe(128);
    engine.check();
  });

  test('a lost device is told of', async () => {
    const { engine, cache } = await withA();
    engine.onRead = () => {
      throw new MowgliError('DEVICE_LOST', 'gone');
    };
    await expect(cache.prepare(b)).rejects.toMatchObject({ code: 'DEVICE_LOST' });
  });

  test('aborted while saving: the engine holds what it held, and what was saved is good', async () => {
    const { engine, cache } = await withA();
    const abort = new AbortController();
    engine.onRead = () => {
      if (engine.reads === 2) abort.abort();
    };
    await expect(cache.prepare(b, abort.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(engine.evaluated).toEqual(a);
    expect(cache.use().savedTokens).toBe(128);
    engine.onRead = () => {};
    expect(await cache.prepare(b)).toBe(0);
    expect(cache.use().savedTokens, 'no block is copied twice').toBe(300);
    engine.evaluate(b);
    expect(await cache.prepare(a)).toBe(299);
    engine.check();
  });

  test('aborted while restoring: the engine holds a beginning', async () => {
    const { engine, cache } = await withA();
    await cache.prepare(b);
    engine.evaluate(b);
    const abort = new AbortController();
    const { writeKv } = engine;
    engine.writeKv = async (...args) => {
      if (engine.writes === 2) abort.abort();
      return writeKv.apply(engine, args);
    };
    await expect(cache.prepare(a, abort.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(engine.evaluated).toEqual(a.slice(0, 3 * 64));
    engine.check();
    engine.writeKv = writeKv;
    expect(await cache.prepare(a)).toBe(299);
    engine.check();
    expect(await cache.recall(b)).toBe(300);
    engine.check();
  });

  test('cleared while saving: nothing of before is added to what comes after', async () => {
    const { engine, cache } = await withA();
    engine.onRead = () => {
      if (engine.reads === 3) cache.clear();
    };
    expect(await cache.prepare(b)).toBe(0);
    expect(cache.use()).toMatchObject({ bytes: 0, blocks: 0 });
    engine.evaluate(b);
    expect(await cache.prepare(a)).toBe(0);
    expect(cache.use().bytes).toBe(300 * tokenBytes);
  });
});

test('an empty prompt leaves the engine empty', async () => {
  const engine = new FakeEngine();
  const cache = new PrefixCache(engine, 0);
  engine.evaluate([1, 2, 3]);
  expect(await cache.prepare([])).toBe(0);
  expect(engine.position).toBe(0);
});
