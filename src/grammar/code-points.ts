/** First and last code point, both included. */
export type CodePointRange = readonly [first: number, last: number];

const LAST = 0x10ffff;

/** A set of Unicode characters. Surrogates, which are no characters, are in none. */
export class CodePoints {
  static readonly all = CodePoints.of([[0, LAST]]);
  static readonly none = CodePoints.of([]);
  /** Sorted, with gaps between them. */
  readonly ranges: readonly CodePointRange[];

  private constructor(ranges: readonly CodePointRange[]) {
    this.ranges = ranges;
  }

  static of(ranges: readonly CodePointRange[]): CodePoints {
    const sorted = ranges.filter(([first, last]) => first <= last).sort((a, b) => a[0] - b[0]);
    const merged: [number, number][] = [];
    for (const [first, last] of sorted) {
      const before = merged.at(-1);
      if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
      else merged.push([first, last]);
    }
    const cut = merged.flatMap(([first, last]): CodePointRange[] => [
      [first, Math.min(last, 0xd7ff)],
      [Math.max(first, 0xe000), last],
    ]);
    return new CodePoints(cut.filter(([first, last]) => first <= last));
  }

  /** The characters of a text. */
  static in(text: string): CodePoints {
    return CodePoints.of(
      Array.from(text, (character): CodePointRange => {
        const point = character.codePointAt(0)!;
        return [point, point];
      }),
    );
  }

  union(...others: readonly CodePoints[]): CodePoints {
    return CodePoints.of([this, ...others].flatMap((set) => set.ranges));
  }

  get complement(): CodePoints {
    const gaps: CodePointRange[] = [];
    let next = 0;
    for (const [first, last] of this.ranges) {
      gaps.push([next, first - 1]);
      next = last + 1;
    }
    return CodePoints.of([...gaps, [next, LAST]]);
  }

  intersect(other: CodePoints): CodePoints {
    return this.complement.union(other.complement).complement;
  }

  without(other: CodePoints): CodePoints {
    return this.intersect(other.complement);
  }

  /** The part between two code points, both included. */
  within(first: number, last: number): CodePointRange[] {
    const part: CodePointRange[] = [];
    for (const range of this.ranges) {
      if (range[1] < first) continue;
      if (range[0] > last) break;
      part.push([Math.max(range[0], first), Math.min(range[1], last)]);
    }
    return part;
  }
}
