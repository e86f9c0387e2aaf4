import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { ByteSet } from './byte-set.ts';
import { Expressions } from './expressions.ts';

/** Names that begin alike, and one that is the beginning of another. */
const names = ['a', 'ab', 'abc', 'b', 'ba'];

interface Rules {
  readonly listed: readonly string[];
  readonly required: readonly string[];
  readonly others: boolean;
  readonly inOrder: boolean;
  readonly min: number;
  readonly max: number;
}

function randomRules(random: Random): Rules {
  const listed = random.permutation(names.length).map((i) => names[i]!);
  listed.length = 1 + random.below(4);
  const min = random.below(3) === 0 ? random.below(4) : 0;
  return {
    listed,
    required: listed.filter(() => random.below(3) === 0),
    others: random.below(3) === 0,
    inOrder: random.below(2) === 0,
    min,
    max: random.below(3) === 0 ? min + random.below(3) : Number.POSITIVE_INFINITY,
  };
}

/** Members are written `name=1`, other ones `x=1`, each but the first behind a comma. */
function expressionOf({ listed, required, others, ...rest }: Rules, make: Expressions) {
  const one = make.bytes(ByteSet.of([0x31]));
  const members = listed.map((name) => ({
    name: make.literal(`${name}=`),
    value: one,
    required: required.includes(name),
  }));
  const other = others ? make.sequence(make.literal('x='), one) : undefined;
  return make.members({
    ...{ members, other, ...rest },
    ...{ opening: make.epsilon, separator: make.literal(',') },
  });
}

/** The same by another way: looking at the whole text. */
function isAllowed(text: string, { listed, required, others, inOrder, min, max }: Rules): boolean {
  const items = text === '' ? [] : text.split(',');
  if (items.some((item) => !item.endsWith('=1'))) return false;
  const written = items.map((item) => item.slice(0, -2));
  const own = written.filter((name) => name !== 'x');
  if (own.some((name) => !listed.includes(name)) || new Set(own).size < own.length) return false;
  if (own.length < written.length && !others) return false;
  if (required.some((name) => !own.includes(name))) return false;
  // Others come last.
  const places = written.map((name) => (name === 'x' ? listed.length : listed.indexOf(name)));
  if (inOrder && places.some((place, i) => i > 0 && place < places[i - 1]!)) return false;
  return new Set(written).size >= min && written.length <= max;
}

/** Texts of up to three members, those of other names too. */
const texts = (() => {
  const items = [...names, 'x', 'c'].map((name) => `${name}=1`);
  const two = items.flatMap((first) => items.map((second) => `${first},${second}`));
  const three = two.flatMap((first) => items.map((second) => `${first},${second}`));
  return ['', ...items, ...two, ...three, 'a', 'a=', 'a=1,', ',a=1'];
})();

test('members are allowed as their rules say', () => {
  const random = new Random('members');
  for (let run = 0; run < 60; run++) {
    const make = new Expressions();
    const rules = randomRules(random);
    const expression = expressionOf(rules, make);
    for (const text of texts) {
      const where = `seed ${baseSeed}, run ${run}: ${text} of ${JSON.stringify(rules)}`;
      expect(make.accepts(expression, text), where).toBe(isAllowed(text, rules));
    }
  }
});

test('completions are those of the shortest text, from every place on', () => {
  const random = new Random('lengths of members');
  for (let run = 0; run < 200; run++) {
    const make = new Expressions();
    const rules = randomRules(random);
    let state = expressionOf(rules, make);
    const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(rules)}`;
    const shortest = texts.reduce(
      (least, text) => (isAllowed(text, rules) ? Math.min(least, text.length) : least),
      Number.POSITIVE_INFINITY,
    );
    const found = make.completion(state);
    // The texts have three members at most.
    if (shortest < Number.POSITIVE_INFINITY) expect(found, where).toBe(shortest);
    if (found === Number.POSITIVE_INFINITY) continue;
    // At random first, and then straight to the end.
    for (let step = 0; step < 12; step++) {
      const nexts = [...'abx=1,']
        .map((letter) => make.derivative(state, letter.charCodeAt(0)))
        .filter((next) => make.completion(next) < Number.POSITIVE_INFINITY);
      if (nexts.length === 0) break;
      state = nexts[random.below(nexts.length)]!;
    }
    for (let left = make.completion(state); left > 0; left--) {
      const next = [...'abcx=1,']
        .map((letter) => make.derivative(state, letter.charCodeAt(0)))
        .find((next) => make.completion(next) < left);
      expect(next, `${where}, ${left} left`).toBeDefined();
      state = next!;
    }
    expect(state.nullable, where).toBe(true);
  }
});
