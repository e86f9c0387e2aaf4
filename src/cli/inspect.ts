import { Command } from 'commander';
import { describeModel, type ModelReport, openModel } from '../index.ts';
import { findModel } from '../node/find-model.ts';
import { describeMachine } from '../node/machine.ts';
import type { Interrupt } from './interrupt.ts';
import { print, printJson } from './output.ts';
import { markdownTable } from './table.ts';
import { formatBytes } from './units.ts';

interface Flags {
  json?: boolean;
  tensors?: boolean;
}

/** One tensor, for `--tensors`. */
interface TensorRow {
  name: string;
  type: string;
  shape: readonly number[];
  bytes: number;
}

/** A context, and what a model needs for it: all weights and the cache, in bytes. */
interface Fit {
  contextTokens: number;
  kvType: 'f32' | 'f16';
  kvBytes: number;
  totalBytes: number;
  fitsMemory: boolean;
}

interface Report extends ModelReport {
  container: 'safetensors' | 'GGUF' | 'synthetic';
  /** RAM of this machine, or what its container may use. */
  memoryBytes: number;
  fits: Fit[];
  tensors?: TensorRow[];
}

const contexts = [4096, 32768];

const examples = `
Reads headers and small files only, never weights: it is quick, however large the model is.

Examples:
  $ mowgli inspect ~/models/Qwen3-Coder-30B-A3B-Instruct
  $ mowgli inspect Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf --tensors
  $ mowgli inspect Qwen3-Coder-480B-Q2_K-00001-of-00004.gguf --json    # any part stands for all
  $ mowgli inspect "synthetic:qwen3-coder-480b?type=q4_k"`;

/** `mowgli inspect`: what a model is, and what it takes to run it. */
export function inspectCommand({ signal }: Interrupt): Command {
  return new Command('inspect')
    .description('show what a model is and what it takes to run it')
    .argument('<model>', 'a Hugging Face folder, a GGUF file or folder, or synthetic:NAME')
    .option('--tensors', 'also list every tensor')
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action((path: string, flags: Flags) => inspect(path, flags, signal));
}

async function inspect(path: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const source = await findModel(path);
  const checkpoint = await openModel(source, { signal });
  let report: Report;
  try {
    const model = await describeModel(checkpoint);
    const memoryBytes = describeMachine().memory.totalBytes;
    report = {
      ...model,
      container: 'gguf' in source ? 'GGUF' : 'synthetic' in source ? 'synthetic' : 'safetensors',
      memoryBytes,
      fits: whatFits(model, memoryBytes),
      ...(flags.tensors && {
        tensors: Array.from(
          checkpoint.tensors.tensors.values(),
          ({ name, type, shape, bytes }) => ({
            ...{ name, type, shape, bytes },
          }),
        ),
      }),
    };
  } finally {
    await checkpoint.close();
  }
  await (flags.json ? printJson(report) : print(toText(report)));
}

function whatFits({ memory, context }: ModelReport, memoryBytes: number): Fit[] {
  const weights = memory.residentBytes + memory.allExpertsBytes;
  const lengths = contexts.filter((tokens) => tokens <= context.longest);
  return (lengths.length === 0 ? [context.longest] : lengths).flatMap((contextTokens) =>
    (['f32', 'f16'] as const).map((kvType) => {
      const kvBytes = contextTokens * memory.kvBytesPerToken[kvType];
      const totalBytes = weights + kvBytes;
      return { contextTokens, kvType, kvBytes, totalBytes, fitsMemory: totalBytes <= memoryBytes };
    }),
  );
}

function toText(report: Report): string {
  const sections = [facts(report), typeTable(report), groupTable(report), memoryText(report)];
  if (report.tensors) sections.push(tensorTable(report.tensors));
  return sections.join('\n');
}

function facts(report: Report): string {
  const { shape, context, tokenizer, chatTemplate } = report;
  const lines: [string, string][] = [
    ['model', `${report.name} (${report.container}, ${formatBytes(report.bytes)} of weights)`],
    ['architecture', report.architecture],
    [
      'parameters',
      `${count(report.parameters.total)}, of which ${count(report.parameters.active)} active per token`,
    ],
    ['layers', layers(shape)],
    [
      'attention',
      `${shape.heads} heads and ${shape.kvHeads} for keys and values, of ${shape.headDim}; hidden size ${shape.hidden}`,
    ],
  ];
  if (shape.sparseLayers > 0) {
    const { experts, expertsPerToken, expertInner } = shape;
    lines.push([
      'experts',
      `${experts} per layer, ${expertsPerToken} per token, of ${expertInner}`,
    ]);
  }
  lines.push(
    ['context', `${context.longest} tokens${context.yarn ? yarn(context.yarn) : ''}`],
    [
      'vocabulary',
      `${shape.vocab} rows${shape.tiedEmbeddings ? ', output tied to the embedding' : ''}`,
    ],
    [
      'tokenizer',
      tokenizer
        ? `${tokenizer.kind}, ${tokenizer.tokens} tokens, ${tokenizer.paddingRows} padding rows`
        : 'none',
    ],
    ['end tokens', endTokens(report) || 'none'],
    ['chat template', chatTemplate ? template(chatTemplate) : 'none'],
  );
  if (chatTemplate) lines.push(['', chatTemplate.start]);
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function layers({ layers: all, sparseLayers, denseInner }: Report['shape']): string {
  if (sparseLayers === all) return String(all);
  return `${all}, of which ${all - sparseLayers} dense, of ${denseInner}`;
}

function yarn({
  factor,
  originalMaxPositionEmbeddings,
}: NonNullable<Report['context']['yarn']>): string {
  return ` (YaRN: ${factor} x ${originalMaxPositionEmbeddings})`;
}

function endTokens({ endTokens: tokens }: Report): string {
  return tokens.map(({ id, text }) => (text === undefined ? `${id}` : `${id} ${text}`)).join(', ');
}

function template({
  names,
  sha256,
  characters,
  features,
}: NonNullable<Report['chatTemplate']>): string {
  const parts = [
    names.length > 1 ? names.join(', ') : undefined,
    `sha256 ${sha256.slice(0, 12)}`,
    `${characters} characters`,
    features.tools === 'none' ? 'no tools' : `tools (${features.tools})`,
    features.systemMessages ? 'system messages' : 'no system messages',
    features.thinking ? 'thinking' : undefined,
  ];
  return parts.filter(Boolean).join(', ');
}

function typeTable({ types, bytes }: Report): string {
  return markdownTable(
    ['format', 'tensors', 'parameters', 'bytes', '%'],
    types.map((sum) => [
      sum.type,
      `${sum.tensors}`,
      count(sum.parameters),
      formatBytes(sum.bytes),
      ((100 * sum.bytes) / bytes).toFixed(1),
    ]),
    ['left', 'right', 'right', 'right', 'right'],
  );
}

function groupTable({ groups }: Report): string {
  return markdownTable(
    ['kind', 'tensors', 'shape', 'formats', 'parameters', 'bytes'],
    groups.map((group) => [
      group.kind,
      `${group.tensors}`,
      group.shapes.map(shapeText).join(', '),
      formats(group.types),
      count(group.parameters),
      formatBytes(group.bytes),
    ]),
    ['left', 'right', 'left', 'left', 'right', 'right'],
  );
}

/** `Q4_K`, or `Q4_K 40, Q6_K 8` where there are several. */
function formats(types: Readonly<Record<string, number>>): string {
  const entries = Object.entries(types);
  if (entries.length === 1) return entries[0]![0];
  return entries.map(([type, tensors]) => `${type} ${tensors}`).join(', ');
}

function memoryText({ memory, memoryBytes, fits }: Report): string {
  const { expertBytes, expertsPerLayer, sparseLayers, kvBytesPerToken } = memory;
  const lines: [string, string][] = [
    ['weights without experts', formatBytes(memory.residentBytes)],
  ];
  if (sparseLayers > 0) {
    const { smallest, largest } = expertBytes;
    const one = smallest === largest ? '' : `${formatBytes(smallest)} to `;
    lines.push(
      ['one expert', one + formatBytes(largest)],
      [
        'all experts',
        `${formatBytes(memory.allExpertsBytes)} (${expertsPerLayer} in each of ${sparseLayers} layers)`,
      ],
      ['experts of one token', formatBytes(memory.activeExpertsBytes)],
    );
  }
  lines.push([
    'KV cache per token',
    `${formatBytes(kvBytesPerToken.f32)} (f32), ${formatBytes(kvBytesPerToken.f16)} (f16)`,
  ]);
  const width = Math.max(...lines.map(([name]) => name.length));
  const table = markdownTable(
    ['context', 'cache', 'KV cache', 'all on the device', `of ${formatBytes(memoryBytes)} RAM`],
    fits.map((fit) => [
      `${fit.contextTokens}`,
      fit.kvType,
      formatBytes(fit.kvBytes),
      formatBytes(fit.totalBytes),
      fit.fitsMemory ? 'fits' : 'does not fit',
    ]),
    ['right', 'left', 'right', 'right', 'left'],
  );
  return `${lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')}\n${table}`;
}

function tensorTable(tensors: readonly TensorRow[]): string {
  return markdownTable(
    ['tensor', 'format', 'shape', 'bytes'],
    tensors.map(({ name, type, shape, bytes }) => [name, type, shapeText(shape), String(bytes)]),
    ['left', 'left', 'left', 'right'],
  );
}

const shapeText = (shape: readonly number[]) => `[${shape.join(', ')}]`;

/** A number of values for people: 30.53 B, 11.8 M. */
function count(values: number): string {
  if (values >= 1e9) return `${(values / 1e9).toFixed(2)} B`;
  if (values >= 1e6) return `${(values / 1e6).toFixed(1)} M`;
  return values >= 1e3 ? `${(values / 1e3).toFixed(1)} K` : String(values);
}
