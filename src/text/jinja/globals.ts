/** The functions that transformers and Jinja2 put into every template's reach. */
import { asInt, asText, bind } from './arguments.ts';
import { Attributes, Callable, iterate, length, str, type Value } from './values.ts';

/** Thrown by a template's own `raise_exception(message)`: it refuses the conversation. */
export class RaisedByTemplate extends Error {}

/** Jinja2's sandbox refuses longer ranges, so that a template cannot exhaust memory. */
const MAX_RANGE = 100_000;

/** Names and values of the global scope. `now` is what `strftime_now` tells. */
export function globals(now: Date): Map<string, Value> {
  const names = new Map<string, Value>([
    ['true', true],
    ['True', true],
    ['false', false],
    ['False', false],
    ['none', null],
    ['None', null],
  ]);
  const define = (name: string, call: Callable['call']) => {
    names.set(name, new Callable(name, call));
  };
  define('raise_exception', (args, kwargs) => {
    const [message = null] = bind('raise_exception', ['message'], args, kwargs);
    throw new RaisedByTemplate(str(message));
  });
  define('strftime_now', (args, kwargs) => {
    const [format] = bind('strftime_now', ['format'], args, kwargs);
    return strftime(now, asText(format, 'format'));
  });
  define('range', (args) => range(args));
  define('dict', (args, kwargs) => new Map(fields(args, kwargs)));
  define('namespace', (args, kwargs) => new Attributes('Namespace', true, fields(args, kwargs)));
  define('joiner', (args, kwargs) => {
    const [separator = ', '] = bind('joiner', ['sep'], args, kwargs);
    let used = false;
    return new Callable('joiner', () => {
      const text = used ? separator : '';
      used = true;
      return text;
    });
  });
  define('cycler', (items) => cycler(items));
  return names;
}

function range(args: readonly Value[]): number[] {
  const bounds = args.map((x) => asInt(x, 0));
  if (bounds.length === 0 || bounds.length > 3) {
    throw new Error(`range expected 1 to 3 arguments, got ${bounds.length}`);
  }
  const [start, stop, step] =
    bounds.length === 1 ? [0, bounds[0]!, 1] : [bounds[0]!, bounds[1]!, bounds[2] ?? 1];
  if (step === 0) throw new Error('range() arg 3 must not be zero');
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (count > MAX_RANGE)
    throw new Error(`Range too big. The sandbox blocks ranges larger than ${MAX_RANGE}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** What `dict(...)` and `namespace(...)` collect: a mapping or pairs, then keyword arguments. */
function fields(args: readonly Value[], kwargs: ReadonlyMap<string, Value>): Map<string, Value> {
  const result = new Map<string, Value>();
  for (const source of args) {
    const pairs = source instanceof Map ? [...source] : iterate(source).map(iterate);
    for (const [key, value] of pairs) {
      result.set(asText(key, 'name'), value ?? null);
    }
  }
  for (const [key, value] of kwargs) result.set(key, value);
  return result;
}

function cycler(items: Value[]): Attributes {
  if (length(items) === 0) throw new Error('at least one item has to be provided');
  let at = 0;
  const fields = new Map<string, Value>([['current', items[0]!]]);
  const move = (to: number) => {
    at = to % items.length;
    fields.set('current', items[at]!);
  };
  fields.set(
    'next',
    new Callable('next', () => {
      const value = items[at]!;
      move(at + 1);
      return value;
    }),
  );
  fields.set(
    'reset',
    new Callable('reset', () => {
      move(0);
      return null;
    }),
  );
  return new Attributes('Cycler', false, fields);
}

const MONTHS =
  'January February March April May June July August September October November December'.split(
    ' ',
  );
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/**
 * `datetime.strftime` in the C locale and local time: the directives that prompts use. Names are
 * English everywhere, because a prompt must not depend on the reader's language.
 * @throws Error for a directive outside the list, rather than a wrong date.
 */
export function strftime(date: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const hour12 = date.getHours() % 12 || 12;
  const newYear = Date.UTC(date.getFullYear(), 0, 1);
  const today = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  const dayOfYear = Math.round((today - newYear) / 86_400_000) + 1;
  const directives: Readonly<Record<string, string>> = {
    '%': '%',
    a: DAYS[date.getDay()]!.slice(0, 3),
    A: DAYS[date.getDay()]!,
    b: MONTHS[date.getMonth()]!.slice(0, 3),
    B: MONTHS[date.getMonth()]!,
    d: two(date.getDate()),
    '-d': String(date.getDate()),
    e: String(date.getDate()).padStart(2),
    F: `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    H: two(date.getHours()),
    '-H': String(date.getHours()),
    I: two(hour12),
    '-I': String(hour12),
    j: String(dayOfYear).padStart(3, '0'),
    m: two(date.getMonth() + 1),
    '-m': String(date.getMonth() + 1),
    M: two(date.getMinutes()),
    p: date.getHours() < 12 ? 'AM' : 'PM',
    S: two(date.getSeconds()),
    T: `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
    y: two(date.getFullYear() % 100),
    Y: String(date.getFullYear()),
    Z: '',
    z: '',
  };
  return format.replace(/%(-?.)/g, (whole, name: string) => {
    const text = directives[name];
    if (text === undefined) throw new Error(`strftime_now does not know ${whole}`);
    return text;
  });
}
