/** Jinja2's filters, with the `tojson` of Hugging Face transformers. */
import { getPath } from './access.ts';
import { asInt, asText, bind } from './arguments.ts';
import { dumpJson } from './json.ts';
import { attribute } from './methods.ts';
import { arithmetic, int, round } from './numbers.ts';
import { predicate } from './predicates.ts';
import { capitalize, codePoints, replace, splitLines, strip } from './strings.ts';
import {
  compare,
  equals,
  Float,
  isInt,
  isNumeric,
  iterate,
  type Kwargs,
  length,
  str,
  Tuple,
  toDouble,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

type Filter = (value: Value, args: Value[], kwargs: Kwargs) => Value;

/**
 * Applies a filter by name.
 * @throws Error when Jinja2 has no such filter, or when the filter rejects its arguments.
 */
export function applyFilter(name: string, value: Value, args: Value[], kwargs: Kwargs): Value {
  const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (filter === undefined) throw new Error(`No filter named '${name}'.`);
  return filter(value, args, kwargs);
}

/** A filter of text alone; other values are turned into text first, as `soft_str` does. */
function onText(f: (text: string) => Value): Filter {
  return (value) => f(str(value));
}

const count: Filter = (value) => length(value);

const escapeHtml: Filter = onText((text) =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&#39;')
    .replaceAll('"', '&#34;'),
);

const fallback: Filter = (value, args, kwargs) => {
  const [other = '', falsy = false] = bind('default', ['default_value', 'boolean'], args, kwargs);
  return value instanceof Undefined || (truthy(falsy) && !truthy(value)) ? other : value;
};

/** What a sort or comparison looks at: an attribute, and text without its case. */
function keyOf(attribute: Value | undefined, caseSensitive: Value | undefined) {
  return (value: Value): Value => {
    const key = attribute == null ? value : getPath(value, attribute);
    return typeof key === 'string' && !truthy(caseSensitive ?? false) ? key.toLowerCase() : key;
  };
}

function sorted(items: readonly Value[], key: (item: Value) => Value, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  // Python's reverse keeps equal elements in their first order, which negating the sign does too.
  keyed.sort((a, b) => (reverse ? -1 : 1) * compare(a.key, b.key));
  return keyed.map(({ item }) => item);
}

function extreme(name: string, sign: number): Filter {
  return (value, args, kwargs) => {
    const [sensitive, attribute] = bind(name, ['case_sensitive', 'attribute'], args, kwargs);
    const key = keyOf(attribute, sensitive);
    const [first, ...rest] = iterate(value);
    if (first === undefined) return new Undefined('No aggregated item, sequence was empty.');
    return rest.reduce((best, x) => (sign * compare(key(x), key(best)) > 0 ? x : best), first);
  };
}

/** `select`, `reject`, `selectattr`, `rejectattr`. */
function choose(keep: boolean, byAttribute: boolean): Filter {
  return (value, args) => {
    const [path, rest] = byAttribute ? [args[0], args.slice(1)] : [undefined, args];
    if (byAttribute && path === undefined) throw new Error('Missing parameter for attribute name');
    const [name, ...more] = rest;
    const test = name === undefined ? truthy : predicate(asText(name, 'test name'));
    return iterate(value).filter((item) => {
      const subject = path === undefined ? item : getPath(item, path);
      return test(subject, ...more) === keep;
    });
  };
}

const map: Filter = (value, args, kwargs) => {
  const items = iterate(value);
  const path = kwargs.get('attribute');
  if (args.length === 0 && path !== undefined) {
    const other = kwargs.get('default');
    return items.map((item) => {
      const found = getPath(item, path);
      return found instanceof Undefined && other !== undefined ? other : found;
    });
  }
  const [name, ...rest] = args;
  if (name === undefined) throw new Error('map requires a filter argument');
  return items.map((item) => applyFilter(asText(name, 'filter name'), item, rest, kwargs));
};

/** `int(text, base)` of Python: white space and underscores allowed, nothing else around it. */
function parseInteger(text: string, base: number): number | bigint | undefined {
  const digits = strip(text, 'both').replace(/(?<=[\da-z])_(?=[\da-z])/gi, '');
  if (base === 10)
    return /^[+-]?\d+$/.test(digits) ? int(BigInt(digits.replace('+', ''))) : undefined;
  const body = digits.replace(/^([+-]?)0[xob]/i, '$1');
  const value = Number.parseInt(body, base);
  const valid = [...body.replace(/^[+-]/, '')].every((c) => Number.parseInt(c, base) >= 0);
  return valid && Number.isSafeInteger(value) ? value : undefined;
}

function parseFloatText(text: string): number | undefined {
  const trimmed = strip(text, 'both').toLowerCase();
  const special = /^([+-]?)(inf|infinity|nan)$/.exec(trimmed);
  if (special) {
    if (special[2] === 'nan') return Number.NaN;
    return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(trimmed) ? Number(trimmed) : undefined;
}

const toInt: Filter = (value, args, kwargs) => {
  const [other = 0, base] = bind('int', ['default', 'base'], args, kwargs);
  if (typeof value === 'string') {
    const whole = parseInteger(value, asInt(base, 10));
    if (whole !== undefined) return whole;
    const real = parseFloatText(value);
    return real !== undefined && Number.isFinite(real) ? int(BigInt(Math.trunc(real))) : other;
  }
  if (value instanceof Float) {
    return Number.isFinite(value.value) ? int(BigInt(Math.trunc(value.value))) : other;
  }
  return isNumeric(value) ? (isInt(value) ? value : Number(value)) : other;
};

const toFloat: Filter = (value, args, kwargs) => {
  const [other = new Float(0)] = bind('float', ['default'], args, kwargs);
  const real = typeof value === 'string' ? parseFloatText(value) : undefined;
  if (real !== undefined) return new Float(real);
  return isNumeric(value) ? new Float(toDouble(value)) : other;
};

const indent: Filter = (value, args, kwargs) => {
  const names = ['width', 'first', 'blank'];
  const [width = 4, first = false, blank = false] = bind('indent', names, args, kwargs);
  const margin = typeof width === 'string' ? width : ' '.repeat(Math.max(0, asInt(width, 4)));
  // Jinja2 appends a newline before splitting so that a last empty line survives.
  const lines = splitLines(`${str(value)}\n`);
  const body = lines.map((line, i) =>
    i === 0 || (line === '' && !truthy(blank)) ? line : margin + line,
  );
  return (truthy(first) ? margin : '') + body.join('\n');
};

const join: Filter = (value, args, kwargs) => {
  const [separator = '', attribute] = bind('join', ['d', 'attribute'], args, kwargs);
  const items = iterate(value).map((x) => (attribute == null ? x : getPath(x, attribute)));
  return items.map(str).join(str(separator));
};

const roundNumber: Filter = (value, args, kwargs) => {
  const [precision, method = 'common'] = bind('round', ['precision', 'method'], args, kwargs);
  if (!isNumeric(value)) throw new Error(`type ${typeName(value)} doesn't define __round__ method`);
  const digits = asInt(precision, 0);
  if (method === 'common') {
    return value instanceof Float ? new Float(round(value.value, digits)) : value;
  }
  if (method !== 'ceil' && method !== 'floor') {
    throw new Error('method must be common, ceil or floor');
  }
  const unit = 10 ** digits;
  return new Float(Math[method](toDouble(value) * unit) / unit);
};

const sum: Filter = (value, args, kwargs) => {
  const [attribute, start = 0] = bind('sum', ['attribute', 'start'], args, kwargs);
  return iterate(value)
    .map((x) => (attribute == null ? x : getPath(x, attribute)))
    .reduce((total, x) => {
      const next = arithmetic('+', total, x);
      if (next === undefined) throw new Error(`cannot add '${typeName(x)}'`);
      return next;
    }, start);
};

/** Jinja2's own rule, not `str.title`: words begin after white space and `-({[<`. */
const titleCase: Filter = onText((text) =>
  text
    .split(/([-\s({[<]+)/)
    .map(capitalize)
    .join(''),
);

/**
 * transformers' override: `json.dumps(x, ensure_ascii, indent, separators, sort_keys)` with
 * `ensure_ascii=False`, and without the HTML escapes of Jinja2's own filter.
 */
const tojson: Filter = (value, args, kwargs) => {
  const names = ['ensure_ascii', 'indent', 'separators', 'sort_keys'];
  const [ascii = false, width = null, separators = null, sortKeys = false] = bind(
    'tojson',
    names,
    args,
    kwargs,
  );
  const given = separators === null ? [] : iterate(separators).map((x) => asText(x, 'separator'));
  return dumpJson(value, {
    ensureAscii: truthy(ascii),
    indent: width === null || typeof width === 'string' ? width : ' '.repeat(asInt(width, 0)),
    // Python drops the space after the comma when each item gets its own line.
    itemSeparator: given[0] ?? (width === null ? ', ' : ','),
    keySeparator: given[1] ?? ': ',
    sortKeys: truthy(sortKeys),
  });
};

const unique: Filter = (value, args, kwargs) => {
  const [sensitive, attribute] = bind('unique', ['case_sensitive', 'attribute'], args, kwargs);
  const key = keyOf(attribute, sensitive);
  const seen: Value[] = [];
  return iterate(value).filter((item) => {
    const mark = key(item);
    if (seen.some((x) => equals(x, mark))) return false;
    seen.push(mark);
    return true;
  });
};

const FILTERS: Readonly<Record<string, Filter>> = {
  abs: (value) => {
    if (value instanceof Float) return new Float(Math.abs(value.value));
    if (!isNumeric(value)) throw new Error(`bad operand type for abs(): '${typeName(value)}'`);
    return typeof value === 'bigint' ? int(value < 0n ? -value : value) : Math.abs(Number(value));
  },
  attr: (value, args, kwargs) => {
    const name = asText(bind('attr', ['name'], args, kwargs)[0], 'attribute name');
    const found = attribute(value, name);
    return found === undefined ? new Undefined(`no attribute '${name}'`) : found;
  },
  capitalize: onText(capitalize),
  count,
  d: fallback,
  default: fallback,
  dictsort: (value, args, kwargs) => {
    const names = ['case_sensitive', 'by', 'reverse'];
    const [sensitive, by = 'key', reverse = false] = bind('dictsort', names, args, kwargs);
    if (!(value instanceof Map)) throw new Error('dictsort needs a dict');
    const pairs = Array.from(value, (pair) => new Tuple(pair));
    return sorted(pairs, keyOf(by === 'value' ? 1 : 0, sensitive), truthy(reverse));
  },
  e: escapeHtml,
  escape: escapeHtml,
  first: (value) => {
    const [item = new Undefined('No first item, sequence was empty.')] = iterate(value);
    return item;
  },
  float: toFloat,
  indent,
  int: toInt,
  items: (value) => {
    if (value instanceof Undefined) return [];
    if (!(value instanceof Map)) throw new Error('Can only get item pairs from a mapping.');
    return Array.from(value, (pair) => new Tuple(pair));
  },
  join,
  last: (value) => {
    const [item = new Undefined('No last item, sequence was empty.')] = iterate(value).slice(-1);
    return item;
  },
  length: count,
  list: (value) => [...iterate(value)],
  lower: onText((text) => text.toLowerCase()),
  map,
  max: extreme('max', 1),
  min: extreme('min', -1),
  reject: choose(false, false),
  rejectattr: choose(false, true),
  replace: (value, args, kwargs) => {
    const [old, by, limit] = bind('replace', ['old', 'new', 'count'], args, kwargs);
    const times = limit == null ? -1 : asInt(limit, -1);
    return replace(str(value), asText(old, 'old'), asText(by, 'new'), times);
  },
  reverse: (value) =>
    typeof value === 'string'
      ? codePoints(value).reverse().join('')
      : [...iterate(value)].reverse(),
  round: roundNumber,
  safe: onText((text) => text),
  select: choose(true, false),
  selectattr: choose(true, true),
  sort: (value, args, kwargs) => {
    const names = ['reverse', 'case_sensitive', 'attribute'];
    const [reverse = false, sensitive, attribute] = bind('sort', names, args, kwargs);
    return sorted(iterate(value), keyOf(attribute, sensitive), truthy(reverse));
  },
  string: onText((text) => text),
  sum,
  title: titleCase,
  tojson,
  trim: (value, args, kwargs) => {
    const [chars] = bind('trim', ['chars'], args, kwargs);
    return strip(str(value), 'both', chars == null ? undefined : asText(chars, 'chars'));
  },
  unique,
  upper: onText((text) => text.toUpperCase()),
  wordcount: onText((text) => text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
};
