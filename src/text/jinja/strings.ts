/** Python's string operations where JavaScript's of the same name give something else. */

/** What `str.isspace` and `str.strip` call white space. U+0085 is in, U+FEFF is not. */
const SPACE =
  '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING_SPACE = new RegExp(`^[${SPACE}]+`);
const IS_SPACE = new RegExp(`^[${SPACE}]$`);
const SPACES = new RegExp(`[${SPACE}]+`, 'g');

/** True when the text has characters above U+FFFF, which JavaScript stores as two units. */
export function hasSurrogates(text: string): boolean {
  return /[\ud800-\udfff]/.test(text);
}

/** The characters of a text as Python counts them. */
export function codePoints(text: string): string[] {
  return hasSurrogates(text) ? Array.from(text) : text.split('');
}

/** `str.strip`, `lstrip` and `rstrip`, with Python's white space or the given set of characters. */
export function strip(text: string, side: 'both' | 'left' | 'right', chars?: string): string {
  const set = chars === undefined ? undefined : new Set(codePoints(chars));
  if (set === undefined) {
    let result = side === 'right' ? text : text.replace(LEADING_SPACE, '');
    if (side !== 'left') {
      let end = result.length;
      while (end > 0 && IS_SPACE.test(result[end - 1]!)) end--;
      result = result.slice(0, end);
    }
    return result;
  }
  const points = codePoints(text);
  let start = 0;
  let end = points.length;
  if (side !== 'right') while (start < end && set.has(points[start]!)) start++;
  if (side !== 'left') while (end > start && set.has(points[end - 1]!)) end--;
  return points.slice(start, end).join('');
}

/** `str.split(separator, limit)`; without a separator, words between runs of white space. */
export function split(text: string, separator: string | null, limit: number): string[] {
  if (separator === '') throw new Error('empty separator');
  const parts: string[] = [];
  let rest = separator === null ? strip(text, 'left') : text;
  while (separator === null ? rest !== '' : true) {
    const match = separator === null ? firstSpaces(rest) : literal(rest, separator);
    if (match === undefined || (limit >= 0 && parts.length >= limit)) {
      parts.push(rest);
      break;
    }
    parts.push(rest.slice(0, match.index));
    rest = rest.slice(match.index + match.length);
  }
  return parts;
}

/** `str.rsplit`: like split, but the limit counts from the right. */
export function rsplit(text: string, separator: string | null, limit: number): string[] {
  if (limit < 0) return split(text, separator, -1);
  if (separator === '') throw new Error('empty separator');
  const parts: string[] = [];
  let rest = separator === null ? strip(text, 'right') : text;
  while (separator === null ? rest !== '' : true) {
    const match = separator === null ? lastSpaces(rest) : lastLiteral(rest, separator);
    if (match === undefined || parts.length >= limit) {
      parts.unshift(rest);
      break;
    }
    parts.unshift(rest.slice(match.index + match.length));
    rest = rest.slice(0, match.index);
  }
  return parts;
}

type Match = { index: number; length: number } | undefined;

function literal(text: string, separator: string): Match {
  const index = text.indexOf(separator);
  return index < 0 ? undefined : { index, length: separator.length };
}

function lastLiteral(text: string, separator: string): Match {
  const index = text.lastIndexOf(separator);
  return index < 0 ? undefined : { index, length: separator.length };
}

function firstSpaces(text: string): Match {
  SPACES.lastIndex = 0;
  const found = SPACES.exec(text);
  return found === null ? undefined : { index: found.index, length: found[0].length };
}

function lastSpaces(text: string): Match {
  let last: Match;
  for (const found of text.matchAll(SPACES)) last = { index: found.index, length: found[0].length };
  return last;
}

/** `str.splitlines()`: Python's line boundaries, the last empty line not counted. */
export function splitLines(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are line boundaries to Python
  const lines = text.split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** `str.replace(old, new, count)`; an empty `old` matches between all characters. */
export function replace(text: string, old: string, by: string, count: number): string {
  if (old !== '' && count < 0) return text.split(old).join(by);
  const pieces = old === '' ? ['', ...codePoints(text), ''] : text.split(old);
  const replaced = count < 0 ? pieces.length - 1 : Math.min(count, pieces.length - 1);
  const head = pieces.slice(0, replaced + 1).join(by);
  const tail = pieces.slice(replaced + 1);
  return tail.length === 0 ? head : head + old + tail.join(old);
}

/** `str.capitalize`: first character upper, all others lower. */
export function capitalize(text: string): string {
  const [first = '', ...rest] = codePoints(text);
  return first.toUpperCase() + rest.join('').toLowerCase();
}

/** `str.title`: a capital after every character that is not a letter. */
export function title(text: string): string {
  return text.replace(/\p{L}+/gu, capitalize);
}

/** `repr` of a string: single quotes unless only those occur, unprintable characters escaped. */
export function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\'"]|[\p{C}\p{Z}]/gu, (c) => {
    if (c === ' ') return c;
    if (c === '\\') return '\\\\';
    if (c === "'" || c === '"') return c === mark ? `\\${c}` : c;
    if (c === '\n') return '\\n';
    if (c === '\r') return '\\r';
    if (c === '\t') return '\\t';
    const code = c.codePointAt(0)!;
    const hex = code.toString(16);
    if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
  });
  return mark + body + mark;
}
