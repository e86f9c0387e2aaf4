import { ByteSet } from './byte-set.ts';
import type { CodePointRange, CodePoints } from './code-points.ts';
import type { Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';

/** The lead bytes of each length, the bits that they hold of the code point, and who has that length. */
const LENGTHS = [
  { lead: 0xc0, last: 0xdf, bits: 6, from: 0x80, to: 0x7ff },
  { lead: 0xe0, last: 0xef, bits: 12, from: 0x800, to: 0xffff },
  { lead: 0xf0, last: 0xf4, bits: 18, from: 0x10000, to: 0x10ffff },
];

/** One character of a set, in UTF-8. */
export function utf8(make: Expressions, set: CodePoints): Expression {
  const parts = [make.bytes(ByteSet.ranges(set.within(0, 0x7f)))];
  for (const { lead, last, bits, from, to } of LENGTHS) {
    const ranges = set.within(from, to);
    if (ranges.length === 0) continue;
    const count = last - lead + 1;
    parts.push(grouped(make, lead, count, (i) => continuation(make, ranges, i << bits, bits)));
  }
  return make.alternatives(...parts);
}

/** The continuation bytes of those code points from `base` on whose last `bits` bits may differ. */
function continuation(
  make: Expressions,
  ranges: readonly CodePointRange[],
  base: number,
  bits: number,
): Expression {
  const last = base + 2 ** bits - 1;
  const inside = ranges.filter((range) => range[0] <= last && range[1] >= base);
  if (inside.length === 0) return make.empty;
  if (inside[0]![0] <= base && inside[0]![1] >= last) {
    return make.repeat(make.bytes(ByteSet.range(0x80, 0xbf)), bits / 6, bits / 6);
  }
  if (bits === 6) {
    const bytes = inside.map(
      ([first, end]) =>
        [0x80 + Math.max(first - base, 0), 0x80 + Math.min(end - base, 63)] as const,
    );
    return make.bytes(ByteSet.ranges(bytes));
  }
  const step = bits - 6;
  return grouped(make, 0x80, 64, (i) => continuation(make, inside, base + (i << step), step));
}

/** `count` bytes from `first` on, those together that the same comes behind. */
function grouped(
  make: Expressions,
  first: number,
  count: number,
  behind: (index: number) => Expression,
): Expression {
  const groups = new Map<Expression, number[]>();
  for (let i = 0; i < count; i++) {
    const rest = behind(i);
    const group = groups.get(rest);
    if (group) group.push(first + i);
    else groups.set(rest, [first + i]);
  }
  return make.alternatives(
    ...[...groups].map(([rest, bytes]) => make.sequence(make.bytes(ByteSet.of(bytes)), rest)),
  );
}
