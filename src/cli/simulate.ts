import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { Command } from 'commander';
import {
  type CacheResult,
  describePolicy,
  hitRatePlot,
  MowgliError,
  type PolicyName,
  type Predictor,
  policyNames,
  readTrace,
  type Simulation,
  simulate,
  type Trace,
} from '../index.ts';
import { FileSource } from '../node/file-source.ts';
import type { Interrupt } from './interrupt.ts';
import { type OptionParser, oneOf, usageError } from './options.ts';
import { note, print, printJson } from './output.ts';
import { markdownTable } from './table.ts';

interface Flags {
  slots: readonly Slots[];
  policy?: PolicyName[];
  svg?: string;
  json?: boolean;
}

/** A size of the cache: a number of experts, or a share of all. */
type Slots = { readonly count: number } | { readonly share: number };

interface SimulatedTrace {
  readonly file: string;
  readonly trace: Trace;
  readonly simulation: Simulation;
}

const defaultSlots = '5%,10%,25%,50%';

const examples = `
A trace is what --trace of generate writes; its format is in docs/TRACE.md. Nothing is run on a GPU.

Policies:
${policyNames.map((name) => `  ${name.padEnd(12)}${describePolicy(name)}`).join('\n')}
  ${'optimal'.padEnd(12)}Belady's: knows the future; what no policy can beat, always shown

Examples:
  $ mowgli generate "Write a parser for CSV files." --trace csv.trace
  $ mowgli simulate csv.trace
  $ mowgli simulate csv.trace chat.trace --slots 512,1024,2048 --policy lru,cyclic --svg hits.svg`;

/** `mowgli simulate`: what caches of several sizes and policies would have done in a run. */
export function simulateCommand({ signal }: Interrupt): Command {
  return new Command('simulate')
    .description('try cache sizes and policies on the routing of past runs')
    .argument('<traces...>', 'files that --trace wrote')
    .option(
      '--slots <list>',
      `experts that the cache holds, of all layers: numbers, or shares such as 10% (default: ${defaultSlots})`,
      slotList('--slots'),
      slotList('--slots')(defaultSlots),
    )
    .option('--policy <list>', 'policies to try (default: all)', policyList('--policy'))
    .option('--svg <file>', 'also plot the hit rates into this file')
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action((files: string[], flags: Flags) => run(files, flags, signal));
}

async function run(files: readonly string[], flags: Flags, signal: AbortSignal): Promise<void> {
  const simulated: SimulatedTrace[] = [];
  for (const file of files) {
    const source = await FileSource.open(file);
    let trace: Trace;
    try {
      trace = await readTrace(source, { signal });
    } finally {
      await source.close();
    }
    if (trace.truncated) note(`mowgli: ${file} ends within a step, which was left out`);
    const experts = trace.model.sparseLayers.length * trace.model.experts;
    const slots = [...new Set(flags.slots.map((size) => toCount(size, experts)))];
    const policies = flags.policy && { policies: flags.policy };
    const simulation = await simulate(trace, { slots, ...policies, signal });
    simulated.push({ file, trace, simulation });
  }
  if (flags.svg !== undefined) {
    const panels = simulated.map(({ file, simulation }) => ({ title: basename(file), simulation }));
    await writeSvg(flags.svg, hitRatePlot(panels));
  }
  if (flags.json) await printJson({ traces: simulated.map(toJson) });
  else await print(simulated.map(toText).join('\n'));
}

async function writeSvg(path: string, svg: string): Promise<void> {
  try {
    await writeFile(path, svg);
  } catch (cause) {
    throw new MowgliError(
      'WRITE_FAILED',
      `--svg: ${path} cannot be written (${(cause as Error).message}); check the path`,
      { cause },
    );
  }
}

function toCount(size: Slots, experts: number): number {
  if ('count' in size) return Math.min(size.count, experts);
  return Math.max(1, Math.round(size.share * experts));
}

function slotList(name: string): OptionParser<Slots[]> {
  return (text) =>
    text.split(',').map((part) => {
      const [, digits, percent] = /^\s*(\d+(?:\.\d+)?)\s*(%?)\s*$/.exec(part) ?? [];
      const value = Number(digits);
      const valid = percent ? value > 0 && value <= 100 : Number.isSafeInteger(value) && value > 0;
      if (!valid) {
        throw usageError(
          `${name} must be numbers of experts or shares of up to 100%, such as 64,10%, not '${text}'`,
        );
      }
      return percent ? { share: value / 100 } : { count: value };
    });
}

function policyList(name: string): OptionParser<PolicyName[]> {
  const parse = oneOf(name, policyNames);
  return (text) => [...new Set(text.split(',').map((part) => parse(part.trim())))];
}

function toJson({ file, trace, simulation }: SimulatedTrace) {
  const { model, truncated } = trace;
  return { file, truncated, model, ...simulation };
}

function toText({ file, trace: { model }, simulation }: SimulatedTrace): string {
  const { sparseLayers, experts, expertsPerToken } = model;
  const { decodedTokens, promptTokens, usedExperts } = simulation;
  const head = [
    `${file}: ${model.name || 'a model'}, ${sparseLayers.length} layers of ${experts} experts, ${expertsPerToken} per token`,
    `${promptTokens} tokens of prompts, ${decodedTokens} decoded; ${usedExperts} of ${simulation.experts} experts used`,
  ];
  const sections = [`${head.join('\n')}\n`];
  for (const kind of ['decode', 'prompt'] as const) {
    const { needed, cold } = simulation.caches[0]![kind];
    if (cold === needed) continue; // No cache helps where nothing is needed twice.
    const what = kind === 'decode' ? 'Decoding' : 'Prompts, by chunk and layer';
    sections.push(
      `${what}: hits in % of ${needed} experts needed; ${percent(cold, needed)} % were never needed before\n${hitTable(simulation, kind)}`,
    );
  }
  const predictions = predictionTable(simulation);
  if (predictions) sections.push(predictions);
  return sections.join('\n');
}

function hitTable({ caches, experts }: Simulation, kind: 'decode' | 'prompt'): string {
  const slots = [...new Set(caches.map((cache) => cache.slots))];
  const policies = [...new Set(caches.map(({ policy }) => policy))];
  const cell = (policy: CacheResult['policy'], count: number) => {
    const { hits, needed } = caches.find((c) => c.policy === policy && c.slots === count)![kind];
    return percent(hits, needed);
  };
  return markdownTable(
    ['policy', ...slots.map((count) => `${count} slots (${Number(percent(count, experts))} %)`)],
    policies.map((policy) => [policy, ...slots.map((count) => cell(policy, count))]),
    ['left', ...slots.map(() => 'right' as const)],
  );
}

function predictionTable({ predictions }: Simulation): string | undefined {
  const rows = predictions.filter(({ decode, prompt }) => decode.needed + prompt.needed > 0);
  if (rows.length === 0) return undefined;
  const table = markdownTable(
    ['foretold by', 'decoding: recall', 'precision', 'prompts: recall', 'precision'],
    rows.map(({ predictor, decode, prompt }) => [
      predictorName(predictor),
      percent(decode.right, decode.needed),
      percent(decode.right, decode.predicted),
      percent(prompt.right, prompt.needed),
      percent(prompt.right, prompt.predicted),
    ]),
    ['left', 'right', 'right', 'right', 'right'],
  );
  return `Prediction: needed experts that were foretold (recall), and foretold ones that were needed, in %\n${table}`;
}

function predictorName(predictor: Predictor): string {
  switch (predictor.kind) {
    case 'router':
      return `the layer's router, ${predictor.depth} ${predictor.depth === 1 ? 'layer' : 'layers'} early`;
    case 'repeat':
      return 'the token before';
    case 'frequent':
      return 'the most used so far';
  }
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : ((100 * part) / whole).toFixed(1);
}
