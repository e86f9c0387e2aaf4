import { ByteSet } from './byte-set.ts';
import { CodePoints } from './code-points.ts';
import { Alternatives, type Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';
import { utf8 } from './utf8.ts';

/** How the characters of a text are written. Each has one spelling, so that texts compare as their spellings do. */
export interface Encoding {
  readonly name: 'json' | 'raw';
  /** One character of a set. */
  character(set: CodePoints): Expression;
  readonly anyCharacter: Expression;
  /** Any text. */
  readonly text: Expression;
}

const CONTROL = CodePoints.of([[0, 0x1f]]);
const SHORT_ESCAPES = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['\b', 'b'],
  ['\f', 'f'],
  ['\n', 'n'],
  ['\r', 'r'],
  ['\t', 't'],
]);

/**
 * Between the quotes of a JSON string, as `JSON.stringify` writes it. Control characters that have
 * only the long escape are left out: whoever begins `\u00` means some other character.
 */
export function jsonEncoding(make: Expressions): Encoding {
  const special = CONTROL.union(CodePoints.in('"\\'));
  const character = (set: CodePoints) => {
    const escapes = [...SHORT_ESCAPES].filter(([plain]) => contains(set, plain.codePointAt(0)!));
    return make.alternatives(
      utf8(make, set.without(special)),
      make.sequence(
        make.bytes(ByteSet.of([0x5c])),
        make.bytes(ByteSet.of(escapes.map(([, letter]) => letter.charCodeAt(0)))),
      ),
    );
  };
  const plain = ByteSet.range(0x20, 0x7f).without(ByteSet.of([0x22, 0x5c]));
  return encoding('json', make, character, plain);
}

/** UTF-8 as it is. */
export function rawEncoding(make: Expressions): Encoding {
  return encoding('raw', make, (set) => utf8(make, set), ByteSet.range(0, 0x7f));
}

function encoding(
  name: Encoding['name'],
  make: Expressions,
  spell: (set: CodePoints) => Expression,
  singleBytes: ByteSet,
): Encoding {
  const { text, bit } = make.alphabet(spell(CodePoints.all), singleBytes);
  const known = new Map<string, Expression>();
  const character = (set: CodePoints) => {
    const key = set.ranges.join();
    let spelled = known.get(key);
    if (spelled) return spelled;
    spelled = spell(set);
    known.set(key, spelled);
    // Each way to begin a character is whole characters too.
    for (const part of spelled instanceof Alternatives ? spelled.parts : []) part.alphabets |= bit;
    spelled.alphabets |= bit;
    return spelled;
  };
  return { name, character, anyCharacter: character(CodePoints.all), text };
}

function contains(set: CodePoints, point: number): boolean {
  return set.within(point, point).length > 0;
}
