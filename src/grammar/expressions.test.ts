import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { ByteSet } from './byte-set.ts';
import type { Expression } from './expression.ts';
import { Expressions } from './expressions.ts';

const ALPHABET = 'abc';

/** An expression, and whether a text belongs to it by another implementation. */
interface Case {
  readonly expression: Expression;
  readonly source: string;
  readonly matches: (text: string) => boolean;
}

/** Random expressions; the reference of plain ones is a RegExp, of intersections and complements logic. */
class RandomExpressions {
  readonly make = new Expressions();
  readonly #random: Random;

  constructor(name: string) {
    this.#random = new Random(name);
  }

  boolean(depth: number): Case {
    const { make } = this;
    const kind = depth === 0 ? 0 : this.#random.below(4);
    if (kind === 0) {
      const { expression, source } = this.plain(3);
      const regex = new RegExp(`^(?:${source})$`);
      return { expression, source, matches: (text) => regex.test(text) };
    }
    const a = this.boolean(depth - 1);
    if (kind === 1) {
      const source = `!(${a.source})`;
      const expression = make.complement(a.expression);
      return { expression, source, matches: (text) => !a.matches(text) };
    }
    const b = this.boolean(depth - 1);
    return kind === 2
      ? {
          expression: make.intersection(a.expression, b.expression),
          source: `(${a.source}) && (${b.source})`,
          matches: (text) => a.matches(text) && b.matches(text),
        }
      : {
          expression: make.alternatives(a.expression, b.expression),
          source: `(${a.source}) || (${b.source})`,
          matches: (text) => a.matches(text) || b.matches(text),
        };
  }

  plain(depth: number): { expression: Expression; source: string } {
    const { make } = this;
    const random = this.#random;
    switch (depth === 0 ? random.below(3) : random.below(7)) {
      case 0: {
        const letters = [...ALPHABET].filter(() => random.unit() < 0.5);
        if (letters.length === 0) return { expression: make.epsilon, source: '' };
        const set = ByteSet.of(letters.map((letter) => letter.charCodeAt(0)));
        return { expression: make.bytes(set), source: `[${letters.join('')}]` };
      }
      case 1: {
        const texts = Array.from({ length: 1 + random.below(4) }, () => this.text(3));
        return { expression: make.oneOf(texts), source: `(?:${texts.join('|')})` };
      }
      case 2:
        return { expression: make.epsilon, source: '' };
      case 3: {
        const a = this.plain(depth - 1);
        const b = this.plain(depth - 1);
        return {
          expression: make.alternatives(a.expression, b.expression),
          source: `(?:${a.source}|${b.source})`,
        };
      }
      case 4: {
        const part = this.plain(depth - 1);
        const min = random.below(3);
        const max = random.unit() < 0.4 ? Number.POSITIVE_INFINITY : min + random.below(3);
        const source = `(?:${part.source}){${min},${max === Number.POSITIVE_INFINITY ? '' : max}}`;
        return { expression: make.repeat(part.expression, min, max), source };
      }
      default: {
        const a = this.plain(depth - 1);
        const b = this.plain(depth - 1);
        const inner = make.sequence(a.expression, b.expression);
        const expression = random.unit() < 0.3 ? make.lexeme(inner) : inner;
        return { expression, source: `(?:${a.source})(?:${b.source})` };
      }
    }
  }

  text(most: number): string {
    const length = this.#random.below(most + 1);
    return Array.from({ length }, () => ALPHABET[this.#random.below(3)]).join('');
  }
}

/** All texts of up to `length` letters, shorter ones first. */
function texts(length: number): string[] {
  let longest = [''];
  const all = [...longest];
  for (let i = 0; i < length; i++) {
    longest = longest.flatMap((text) => [...ALPHABET].map((letter) => text + letter));
    all.push(...longest);
  }
  return all;
}

const short = texts(6);

test('expressions hold the texts that a regular expression matches', () => {
  const random = new RandomExpressions('texts');
  for (let run = 0; run < 300; run++) {
    const { expression, source, matches } = random.boolean(2);
    for (const text of texts(5)) {
      const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(text)} of ${source}`;
      expect(random.make.accepts(expression, text), where).toBe(matches(text));
    }
  }
});

test('completions are as long as the shortest text, for every state on the way', () => {
  const random = new RandomExpressions('completions');
  for (let run = 0; run < 300; run++) {
    const { expression, source, matches } = random.boolean(2);
    let state = expression;
    for (let text = ''; text.length < 4; ) {
      const rest = short.find((rest) => matches(text + rest));
      const where = `seed ${baseSeed}, run ${run}: behind ${JSON.stringify(text)} of ${source}`;
      const found = random.make.completion(state);
      // Complements hold letters that are not in the alphabet of the reference.
      if (rest !== undefined) expect(found, where).toBeLessThanOrEqual(rest.length);
      if (!source.includes('!')) expect(found, where).toBe(rest?.length ?? found);
      if (rest === undefined && !source.includes('!') && found < Number.POSITIVE_INFINITY) {
        expect(found, where).toBeGreaterThan(6);
      }
      const next = random.text(1) || 'a';
      text += next;
      state = random.make.derivative(state, next.charCodeAt(0));
    }
  }
});

test('each completion can be begun with a byte after which one less is missing', () => {
  const random = new RandomExpressions('steps');
  for (let run = 0; run < 300; run++) {
    let { expression, source } = random.boolean(2);
    const missing = random.make.completion(expression);
    if (missing === Number.POSITIVE_INFINITY) continue;
    for (let left = missing; left > 0; left--) {
      const where = `seed ${baseSeed}, run ${run}: ${left} of ${missing} left of ${source}`;
      const next = Array.from({ length: 256 }, (_, byte) =>
        random.make.derivative(expression, byte),
      );
      expression = next.find((state) => random.make.completion(state) < left)!;
      expect(expression, where).toBeDefined();
    }
    expect(expression.nullable).toBe(true);
  }
});

test('equal expressions are one object, and loops lead back', () => {
  const make = new Expressions();
  const a = make.bytes(ByteSet.of([0x61]));
  const b = make.bytes(ByteSet.of([0x62]));
  expect(make.alternatives(a, b)).toBe(make.alternatives(b, a));
  expect(make.sequence(make.sequence(a, b), a)).toBe(make.sequence(a, make.sequence(b, a)));
  const loop = make.repeat(make.alternatives(a, make.sequence(b, b)));
  expect(make.derivative(loop, 0x61)).toBe(loop);
  expect(make.derivative(make.derivative(loop, 0x62), 0x62)).toBe(loop);
  // x{0,3}|x{2,9} and the like must not pile up.
  const pile = make.repeat(make.optional(make.repeat(a, 1, 2)), 0, 1000);
  let state = pile;
  for (let i = 0; i < 200; i++) state = make.derivative(state, 0x61);
  const before = make.size;
  make.derivative(state, 0x61);
  expect(make.size - before).toBeLessThan(20);
});

test('rules may contain themselves, and the shortest text is found', () => {
  const make = new Expressions();
  const list = make.rule();
  const item = make.rule();
  item.definition = make.alternatives(make.literal('xyz'), list);
  list.definition = make.sequence(
    make.literal('['),
    item,
    make.repeat(make.sequence(make.literal(','), item)),
    make.literal(']'),
  );
  const endless = make.rule();
  endless.definition = make.sequence(make.literal('('), endless, make.literal(')'));
  make.settle([list, item, endless]);
  expect(make.completion(list)).toBe(5);
  expect(make.completion(item)).toBe(3);
  expect(make.completion(endless)).toBe(Number.POSITIVE_INFINITY);
  expect(make.accepts(list, '[[xyz,[xyz]],xyz]')).toBe(true);
  expect(make.accepts(list, '[[xyz,[xyz]],xyz')).toBe(false);
  expect(make.completion(make.derivative(list, 0x5b))).toBe(4);
});

test('what is forgotten is made again, and states in use stay right', () => {
  const random = new RandomExpressions('forgotten');
  const { make } = random;
  for (let run = 0; run < 50; run++) {
    const { expression, matches, source } = make.keep(() => random.boolean(2));
    make.endSetup();
    let state = expression;
    let read = '';
    for (let i = 0; i < 5; i++) {
      const next = random.text(1) || 'b';
      state = make.derivative(state, next.charCodeAt(0));
      read += next;
      make.forget();
      for (const rest of texts(2)) {
        expect(make.accepts(state, rest), `${read} ${rest} ${source}`).toBe(matches(read + rest));
      }
    }
  }
});
