/**
 * Makes the models in `kernels-test/data/`: tiny random Qwen3-MoE checkpoints as Hugging Face
 * folders, and what an independent implementation (numpy, float64) says they compute.
 *
 *   MOWGLI_ORACLE=<folder> npx tsx scripts/make-fixtures.ts [name ...]
 *
 * The folder holds `make_model.py`, which writes random weights, and `reference.py`, which runs
 * them; both need Python 3 with numpy. Everything is seeded: weights and prompts come out the same
 * every time, results to the last bits that float64 leaves open. Nothing but this script needs Python.
 *
 * Each fixture holds `config.json`, `generation_config.json`, the safetensors, `logits.f32`
 * (little-endian float32 `[tokens, vocab]`) and `expected.json` (see `kernels-test/data/README.md`).
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { uniform } from '../kernels-test/reference/random.ts';
import { formats, type TensorType } from '../src/quant/index.ts';

interface Recipe {
  /** Flags of make_model.py. */
  model: Record<string, number | true>;
  /** Prompt length in tokens. */
  tokens: number;
  /** Stored number format; weights that are not BF16 get bits that BF16 does not have. */
  type?: Exclude<TensorType, 'BF16'>;
  /** Several shards and their index instead of one `model.safetensors`. */
  sharded?: true;
}

const base = {
  hidden: 64,
  layers: 2,
  experts: 8,
  topk: 2,
  'moe-inter': 32,
  heads: 4,
  'kv-heads': 2,
  'head-dim': 16,
  vocab: 259, // the fewest that make_model's tokenizer allows: 256 bytes and three control tokens
  inter: 96,
  ctx: 2048,
};
const oneKvHead = { ...base, heads: 8, 'kv-heads': 1 };

const recipes: Record<string, Recipe> = {
  /** The expert count, top-k and head size of Qwen3-Coder-480B. */
  'experts-160': {
    model: {
      ...base,
      hidden: 32,
      experts: 160,
      topk: 8,
      'moe-inter': 8,
      heads: 2,
      'kv-heads': 1,
      'head-dim': 128,
    },
    tokens: 24,
  },
  /** lm_head is the embedding; an epsilon so large that ignoring it shows. */
  'tied-head': { model: { ...base, tie: true, eps: 0.01 }, tokens: 24 },
  /** Trained for 64 positions, stretched to 256; the prompt goes to 200. */
  yarn: {
    model: { ...base, 'head-dim': 32, yarn: 4, 'yarn-orig': 64, ctx: 256, 'rope-theta': 1e4 },
    tokens: 200,
  },
  'one-kv-head': { model: oneKvHead, tokens: 24 },
  'one-kv-head-f16': { model: oneKvHead, tokens: 24, type: 'F16' },
  'one-kv-head-f32': { model: oneKvHead, tokens: 24, type: 'F32' },
  /** Nothing is a power of two; three shards. */
  'odd-sizes': {
    model: {
      ...base,
      hidden: 72,
      experts: 7,
      topk: 3,
      'moe-inter': 40,
      heads: 6,
      'kv-heads': 2,
      'head-dim': 24,
      vocab: 1003,
    },
    tokens: 33,
    sharded: true,
  },
  'head-dim-256': {
    model: { ...base, hidden: 32, 'moe-inter': 16, 'head-dim': 256 },
    tokens: 24,
  },
  /** As many key/value heads as query heads, of a size that is not a power of two. */
  'no-grouping': { model: { ...base, heads: 3, 'kv-heads': 3, 'head-dim': 80 }, tokens: 24 },
};

/** Prompts tried per fixture: the one that stays furthest from ties is kept. */
const promptsTried = 16;
const greedyTokens = 16;

const oracle = process.env.MOWGLI_ORACLE;
if (!oracle || !existsSync(join(oracle, 'reference.py'))) {
  throw new Error('set MOWGLI_ORACLE to the folder that holds make_model.py and reference.py');
}
const dataFolder = fileURLToPath(new URL('../kernels-test/data/', import.meta.url));

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(recipes);
for (const name of names) {
  const recipe = recipes[name];
  if (!recipe) throw new Error(`no fixture ${name}; there are ${Object.keys(recipes).join(', ')}`);
  const work = mkdtempSync(join(tmpdir(), 'mowgli-fixture-'));
  try {
    makeFixture(recipe, join(dataFolder, name), work);
    console.log(name);
  } finally {
    rmSync(work, { recursive: true });
  }
}

function makeFixture(recipe: Recipe, folder: string, work: string): void {
  const flags = Object.entries(recipe.model).flatMap(([flag, value]) =>
    value === true ? [`--${flag}`] : [`--${flag}`, String(value)],
  );
  flags.push('--shard-mb', recipe.sharded ? '0.25' : '4000');
  python('make_model.py', work, ...flags, '--formats', 'hf');

  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of ['config.json', 'generation_config.json']) {
    cpSync(join(work, 'hf', file), join(folder, file));
  }
  const shards = readdirSync(join(work, 'hf')).filter((file) => file.endsWith('.safetensors'));
  if (recipe.sharded) {
    for (const file of [...shards, 'model.safetensors.index.json']) {
      cpSync(join(work, 'hf', file), join(folder, file));
    }
  } else {
    const bytes = readFileSync(join(work, 'hf', shards[0]));
    const { type } = recipe;
    writeFileSync(join(folder, 'model.safetensors'), type ? convert(bytes, type) : bytes);
    if (type) {
      const config = readFileSync(join(folder, 'config.json'), 'utf8');
      const dtype = type === 'F16' ? 'float16' : 'float32';
      // Not by way of JSON.parse, which would turn 0.0 into 0: transformers is strict about floats.
      writeFileSync(join(folder, 'config.json'), config.replace('bfloat16', dtype));
    }
  }

  const runs = Array.from({ length: promptsTried }, (_, seed) => {
    const prompt = randomTokens(seed + 1, recipe.tokens, recipe.model.vocab as number);
    return runReference(folder, prompt, join(work, `${seed}`));
  });
  const best = runs.reduce((a, b) => (b.margin > a.margin ? b : a));
  cpSync(best.logitsFile, join(folder, 'logits.f32'));
  writeFileSync(join(folder, 'expected.json'), expectedJson(best.expected));
}

interface Expected {
  tokens: number[];
  greedy: number[];
  /** `[layer][position][k]`, best first. */
  experts: number[][][];
  routerMargin: number;
  greedyMargin: number;
}

function runReference(folder: string, tokens: number[], stem: string) {
  const run = (ids: number[], ...flags: string[]) =>
    JSON.parse(python('reference.py', folder, '--tokens', ids.join(), '--top', '2', ...flags)) as {
      positions: { top: [number, number][] }[];
      generated: number[];
    };
  const logitsFile = `${stem}.f32`;
  const greedy = run(tokens, '--dump', logitsFile, '--generate', `${greedyTokens}`).generated;

  // Once more over prompt and continuation, for everything that was decided on the way.
  const { positions } = run([...tokens, ...greedy], '--every', '--trace', `${stem}.npz`);
  const trace: Record<string, number[][]> = JSON.parse(
    execFileSync(
      'python3',
      [
        '-c',
        'import json, numpy, sys; z = numpy.load(sys.argv[1]); print(json.dumps({k: z[k].tolist() for k in z}))',
        `${stem}.npz`,
      ],
      { encoding: 'utf8', maxBuffer: 2 ** 30 },
    ),
  );
  const layers = Object.keys(trace).filter((key) => key.startsWith('experts.')).length;
  const experts = Array.from({ length: layers }, (_, i) => trace[`experts.${i}`]);
  const k = experts[0][0].length;
  const routerMargins = experts.flatMap((_, layer) =>
    trace[`router.${layer}`].map((logits) => {
      const sorted = logits.toSorted((a, b) => b - a);
      return sorted[k - 1] - sorted[k];
    }),
  );
  const greedyMargins = positions
    .slice(tokens.length - 1, -1)
    .map(({ top: [first, second] }) => first[1] - second[1]);
  const expected: Expected = {
    tokens,
    greedy,
    experts: experts.map((positions) => positions.slice(0, tokens.length)),
    routerMargin: Math.min(...routerMargins),
    greedyMargin: Math.min(...greedyMargins),
  };
  return { expected, logitsFile, margin: Math.min(expected.routerMargin, expected.greedyMargin) };
}

/** One line per field, and per layer. */
function expectedJson({ experts, ...fields }: Expected): string {
  const lines = Object.entries(fields).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
  const layers = experts.map((layer) => `    ${JSON.stringify(layer)}`).join(',\n');
  return `{\n  ${lines.join(',\n  ')},\n  "experts": [\n${layers}\n  ]\n}\n`;
}

function python(script: string, ...args: string[]): string {
  return execFileSync('python3', [join(oracle!, script), ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    env: { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' },
  });
}

function randomTokens(seed: number, count: number, vocab: number): number[] {
  const random = uniform(seed);
  return Array.from({ length: count }, () => Math.floor(random() * (vocab - 3))); // no control token
}

/** Rewrites a BF16 safetensors file in another number format. */
function convert(file: Buffer, type: TensorType): Buffer {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }> =
    JSON.parse(file.toString('utf8', 8, 8 + headerBytes));
  const random = uniform(1);
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = tensor.data_offsets.map((at) => 8 + headerBytes + at);
    const values = new Float32Array((end - begin) / 2);
    formats.BF16.decode(file.subarray(begin, end), values);
    // BF16 has 8 significant bits: fill those after them, or a reader that drops them would pass.
    for (let i = 0; i < values.length; i++) values[i] *= 1 + (random() - 0.5) / 256;
    const bytes = formats[type].encode(values);
    parts.push(bytes);
    tensor.dtype = type;
    tensor.data_offsets = [offset, offset + bytes.length];
    offset += bytes.length;
  }
  const json = JSON.stringify(header);
  const text = json.padEnd(Math.ceil(json.length / 8) * 8); // keeps the data aligned
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, Buffer.from(text), ...parts]);
}
