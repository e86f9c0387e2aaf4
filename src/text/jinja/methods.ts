/**
 * The attributes of Python's built-in types that a template may reach. Transformers renders in an
 * immutable sandbox, so what would change a value (`append`, `pop`, `update` ...) is absent here.
 */
import { asInt, asText, bind } from './arguments.ts';
import {
  capitalize,
  codePoints,
  hasSurrogates,
  replace,
  rsplit,
  split,
  splitLines,
  strip,
  title,
} from './strings.ts';
import {
  Attributes,
  Callable,
  type Dict,
  equals,
  iterate,
  type Kwargs,
  length,
  Tuple,
  typeName,
  type Value,
} from './values.ts';

type Method<Self> = (self: Self, args: Value[], kwargs: Kwargs) => Value;

/** Python's `getattr(object, name)`, or `undefined` when there is no such attribute. */
export function attribute(object: Value, name: string): Value | undefined {
  if (object instanceof Attributes) return object.fields.get(name);
  if (typeof object === 'string') return bound(object, name, STRING_METHODS);
  if (object instanceof Map) return bound(object, name, DICT_METHODS);
  if (Array.isArray(object)) return bound(object, name, SEQUENCE_METHODS);
  if (object instanceof Tuple) return bound(object.items, name, SEQUENCE_METHODS);
  return undefined;
}

function bound<Self>(
  self: Self,
  name: string,
  methods: Readonly<Record<string, Method<Self>>>,
): Callable | undefined {
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  return method && new Callable(name, (args, kwargs) => method(self, args, kwargs));
}

/** A method without parameters. */
function plain(name: string, f: (self: string) => Value): Method<string> {
  return (self, args, kwargs) => {
    bind(name, [], args, kwargs);
    return f(self);
  };
}

function stripping(name: string, side: 'both' | 'left' | 'right'): Method<string> {
  return (self, args, kwargs) => {
    const [chars] = bind(name, ['chars'], args, kwargs);
    return strip(self, side, chars == null ? undefined : asText(chars, `${name} arg`));
  };
}

function splitting(name: string, f: typeof split): Method<string> {
  return (self, args, kwargs) => {
    const [separator, limit] = bind(name, ['sep', 'maxsplit'], args, kwargs);
    return f(self, separator == null ? null : asText(separator, 'sep'), asInt(limit, -1));
  };
}

/** `startswith` and `endswith`: one text or a tuple of them, within an optional range. */
function edge(name: string, f: (text: string, part: string) => boolean): Method<string> {
  return (self, args, kwargs) => {
    const [part, start, end] = bind(name, ['prefix', 'start', 'end'], args, kwargs);
    const points = start === undefined && end === undefined ? undefined : codePoints(self);
    const text = points?.slice(asInt(start, 0), asInt(end, points.length)).join('') ?? self;
    const parts = part instanceof Tuple ? part.items : [part];
    return parts.some((x) => f(text, asText(x, `${name} first arg`)));
  };
}

function finding(name: string, f: (text: string, part: string) => number): Method<string> {
  return (self, args, kwargs) => {
    const [part] = bind(name, ['sub'], args, kwargs);
    const index = f(self, asText(part, name));
    // Python counts characters, JavaScript UTF-16 units.
    return index > 0 && hasSurrogates(self) ? length(self.slice(0, index)) : index;
  };
}

function partition(name: string, f: (text: string, part: string) => number): Method<string> {
  return (self, args, kwargs) => {
    const [part] = bind(name, ['sep'], args, kwargs);
    const separator = asText(part, 'sep');
    const index = f(self, separator);
    if (index < 0) return new Tuple(name === 'partition' ? [self, '', ''] : ['', '', self]);
    return new Tuple([self.slice(0, index), separator, self.slice(index + separator.length)]);
  };
}

function justify(name: string, f: (text: string, fill: string) => string): Method<string> {
  return (self, args, kwargs) => {
    const [width, fill] = bind(name, ['width', 'fillchar'], args, kwargs);
    const missing = asInt(width, 0) - length(self);
    return missing <= 0 ? self : f(self, asText(fill ?? ' ', 'fillchar').repeat(missing));
  };
}

const STRING_METHODS: Readonly<Record<string, Method<string>>> = {
  capitalize: plain('capitalize', capitalize),
  casefold: plain('casefold', (self) => self.toLowerCase()),
  count: (self, args, kwargs) => {
    const [part] = bind('count', ['sub'], args, kwargs);
    return asText(part, 'sub') === '' ? length(self) + 1 : self.split(part as string).length - 1;
  },
  endswith: edge('endswith', (text, part) => text.endsWith(part)),
  find: finding('find', (text, part) => text.indexOf(part)),
  index: finding('index', (text, part) => {
    const index = text.indexOf(part);
    if (index < 0) throw new Error('substring not found');
    return index;
  }),
  isalnum: plain('isalnum', (self) => /^[\p{L}\p{N}]+$/u.test(self)),
  isalpha: plain('isalpha', (self) => /^\p{L}+$/u.test(self)),
  isdigit: plain('isdigit', (self) => /^\p{Nd}+$/u.test(self)),
  islower: plain('islower', (self) => self === self.toLowerCase() && self !== self.toUpperCase()),
  isspace: plain('isspace', (self) => self !== '' && strip(self, 'both') === ''),
  isupper: plain('isupper', (self) => self === self.toUpperCase() && self !== self.toLowerCase()),
  join: (self, args, kwargs) => {
    const [items] = bind('join', ['iterable'], args, kwargs);
    return iterate(items ?? null)
      .map((x) => asText(x, 'sequence item'))
      .join(self);
  },
  ljust: justify('ljust', (text, fill) => text + fill),
  lower: plain('lower', (self) => self.toLowerCase()),
  lstrip: stripping('lstrip', 'left'),
  partition: partition('partition', (text, part) => text.indexOf(part)),
  removeprefix: (self, args, kwargs) => {
    const prefix = asText(bind('removeprefix', ['prefix'], args, kwargs)[0], 'prefix');
    return self.startsWith(prefix) ? self.slice(prefix.length) : self;
  },
  removesuffix: (self, args, kwargs) => {
    const suffix = asText(bind('removesuffix', ['suffix'], args, kwargs)[0], 'suffix');
    return suffix !== '' && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self;
  },
  replace: (self, args, kwargs) => {
    const [old, by, count] = bind('replace', ['old', 'new', 'count'], args, kwargs);
    return replace(self, asText(old, 'old'), asText(by, 'new'), asInt(count, -1));
  },
  rfind: finding('rfind', (text, part) => text.lastIndexOf(part)),
  rjust: justify('rjust', (text, fill) => fill + text),
  rpartition: partition('rpartition', (text, part) => text.lastIndexOf(part)),
  rsplit: splitting('rsplit', rsplit),
  rstrip: stripping('rstrip', 'right'),
  split: splitting('split', split),
  splitlines: plain('splitlines', splitLines),
  startswith: edge('startswith', (text, part) => text.startsWith(part)),
  strip: stripping('strip', 'both'),
  title: plain('title', title),
  upper: plain('upper', (self) => self.toUpperCase()),
  zfill: (self, args, kwargs) => {
    const width = asInt(bind('zfill', ['width'], args, kwargs)[0], 0);
    const sign = /^[+-]/.exec(self)?.[0] ?? '';
    return sign + self.slice(sign.length).padStart(width - sign.length, '0');
  },
};

const DICT_METHODS: Readonly<Record<string, Method<Dict>>> = {
  copy: (self) => new Map(self),
  get: (self, args, kwargs) => {
    const [key, fallback = null] = bind('get', ['key', 'default'], args, kwargs);
    if (key === undefined) throw new Error('get expected at least 1 argument, got 0');
    const value = self.get(key);
    return value === undefined ? fallback : value;
  },
  items: (self) => Array.from(self, ([key, value]) => new Tuple([key, value])),
  keys: (self) => [...self.keys()],
  values: (self) => [...self.values()],
};

const SEQUENCE_METHODS: Readonly<Record<string, Method<Value[]>>> = {
  copy: (self) => [...self],
  count: (self, args, kwargs) => {
    const [value = null] = bind('count', ['value'], args, kwargs);
    return self.filter((x) => equals(x, value)).length;
  },
  index: (self, args, kwargs) => {
    const [value = null] = bind('index', ['value'], args, kwargs);
    const index = self.findIndex((x) => equals(x, value));
    if (index < 0) throw new Error(`a ${typeName(value)} is not in list`);
    return index;
  },
};
