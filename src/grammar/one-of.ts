import type { ByteClasses } from './byte-classes.ts';
import { Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';

/** Fixed texts, sorted, none twice. A text is a string with a character for each byte. */
export interface TextTable {
  readonly id: number;
  readonly texts: readonly string[];
  /** How many tokens spell a text from each byte on; those without are spelled in bytes. */
  readonly tokens: readonly (Uint32Array | undefined)[];
}

/**
 * The rest of any of some texts, which begin alike: a node of their trie, as a range of the sorted
 * texts. So thousands of them are one expression, and nodes are made only where they are walked.
 */
export class OneOf extends Expression {
  readonly table: TextTable;
  /** The texts `from` to `to`, behind their first `depth` bytes. */
  readonly from: number;
  readonly to: number;
  readonly depth: number;

  constructor(id: number, table: TextTable, from: number, to: number, depth: number) {
    super(id, table.texts[from]!.length === depth, 0);
    this.table = table;
    this.from = from;
    this.to = to;
    this.depth = depth;
  }

  classes(make: Expressions): ByteClasses {
    const { texts } = this.table;
    const bytes: number[] = [];
    for (let at = this.#first; at < this.to; ) {
      const byte = texts[at]!.charCodeAt(this.depth);
      bytes.push(byte);
      at = endOfRange(texts, at, this.to, this.depth, byte);
    }
    make.work.spend(bytes.length);
    return make.byteClasses.apart(bytes);
  }

  derive(byte: number, make: Expressions): Expression {
    const { texts } = this.table;
    const from = endOfRange(texts, this.#first, this.to, this.depth, byte - 1);
    const to = endOfRange(texts, from, this.to, this.depth, byte);
    return make.restOfTexts(this.table, from, to, this.depth + 1);
  }

  measure(): number {
    const { texts, tokens } = this.table;
    let least = Number.POSITIVE_INFINITY;
    for (let at = this.from; at < this.to; at++) {
      const left = texts[at]!.length - this.depth;
      // Of a text that ends here, nothing is left to be spelled.
      least = Math.min(least, left === 0 ? 0 : (tokens[at]?.[this.depth] ?? left));
    }
    return least;
  }

  /** The first text that goes on; only one can end here, and it stands first. */
  get #first(): number {
    return this.nullable ? this.from + 1 : this.from;
  }
}

/** Bytes as a string with a character for each. */
export function byteString(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

/** The end of those, of the texts from `from` to `to`, that have a byte up to `byte` at `depth`. */
export function endOfRange(
  texts: readonly string[],
  from: number,
  to: number,
  depth: number,
  byte: number,
): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (texts[middle]!.charCodeAt(depth) <= byte) low = middle + 1;
    else high = middle;
  }
  return low;
}
