import { MowgliError } from '../errors.ts';

/** Reads an option's text into its value; the option's name is for the message. */
export type OptionParser<T> = (text: string, previous?: T) => T;

interface Range {
  min?: number;
  /** Whether `min` itself is out of range. */
  above?: boolean;
  max?: number;
}

/** A finite number within a range. */
export function number(name: string, range: Range = {}): OptionParser<number> {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isFinite(value) || !within(value, range)) {
      throw invalid(name, text, `a number${describeRange(range)}`);
    }
    return value;
  };
}

/** A whole number within a range. */
export function integer(name: string, range: Range = {}): OptionParser<number> {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || !within(value, range)) {
      throw invalid(name, text, `a whole number${describeRange(range)}`);
    }
    return value;
  };
}

/** Whole numbers, with commas between them. */
export function integers(name: string, range: Range = {}): OptionParser<number[]> {
  const parse = integer(name, range);
  return (text) => text.split(',').map((part) => parse(part));
}

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** A number of bytes: `6GiB`, `500MB`, `1.5g` (as GiB), `1000000`. */
export function size(name: string): OptionParser<number> {
  return (text) => {
    const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
    const factor = unit === undefined ? undefined : sizeUnits[unit.toLowerCase()];
    if (digits === undefined || factor === undefined) {
      throw invalid(name, text, 'a size such as 6GiB, 500MB or a number of bytes');
    }
    return Math.round(Number(digits) * factor);
  };
}

/** One of a few words. */
export function oneOf<T extends string>(name: string, words: readonly T[]): OptionParser<T> {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word === undefined) throw invalid(name, text, `one of ${words.join(', ')}`);
    return word;
  };
}

/** Text that may be given several times; an empty one is refused, since it is everywhere. */
export function texts(name: string): OptionParser<string[]> {
  return (text, previous = []) => {
    if (text === '') throw invalid(name, text, 'a text of at least one character');
    return [...previous, text];
  };
}

/** `ID=VALUE`, that may be given several times. VALUE is a number, `inf` or `-inf`. */
export function biases(name: string): OptionParser<Map<number, number>> {
  return (text, previous = new Map()) => {
    const match = /^(\d+)=(.+)$/.exec(text);
    const value = match ? biasValue(match[2]!) : Number.NaN;
    if (Number.isNaN(value)) throw invalid(name, text, 'ID=VALUE, such as 42=-1.5 or 42=-inf');
    return new Map([...previous, [Number(match![1]), value]]);
  };
}

/** The error for two options that contradict each other, or for one that is missing. */
export function usageError(message: string): MowgliError {
  return new MowgliError('OPTION_INVALID', message);
}

function biasValue(text: string): number {
  if (/^[+-]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return text.trim() === '' ? Number.NaN : Number(text);
}

function within(value: number, { min, above, max }: Range): boolean {
  if (min !== undefined && (above ? value <= min : value < min)) return false;
  return max === undefined || value <= max;
}

function describeRange({ min, above, max }: Range): string {
  const parts: string[] = [];
  if (min !== undefined) parts.push(above ? `above ${min}` : `of at least ${min}`);
  if (max !== undefined) parts.push(`at most ${max}`);
  return parts.length === 0 ? '' : ` ${parts.join(' and ')}`;
}

function invalid(name: string, text: string, wanted: string): MowgliError {
  return new MowgliError('OPTION_INVALID', `${name} must be ${wanted}, not '${text}'`);
}
