import { Command } from 'commander';
import { type AdapterChoice, openDawn } from '../node/dawn.ts';
import type { TuneReport, TuneResult } from '../node.ts';
import type { Interrupt } from './interrupt.ts';
import { addAdapterOption, addComputeOptions } from './open-model.ts';
import { note, print, printJson } from './output.ts';
import { showProgress } from './progress.ts';
import { markdownTable } from './table.ts';

interface Flags {
  model?: string;
  types?: string;
  chunk?: number;
  kvType?: 'f32' | 'f16';
  activations?: 'f32' | 'int8';
  adapter?: AdapterChoice;
  json?: boolean;
  quiet?: boolean;
}

const help = `
A kernel that matters has a few variants, and which one is the fastest differs from adapter to
adapter. Loading a model measures those that it needs and remembers the result, so this command is
needed only when a measurement was disturbed, or after a change of the driver that its name does not
tell of. Shapes too small to matter are not measured. The table shows milliseconds of one run; of
large matrices, a part is measured. A dash stands for a variant that failed.

Remembered in the folder that MOWGLI_CACHE_DIR names, or in the system's place for caches.
MOWGLI_TUNING=off leaves the choice to rules.

Examples:
  $ mowgli tune
  $ mowgli tune --model ~/models/Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf
  $ mowgli tune --types Q8_0,BF16 --adapter lavapipe --json`;

/** `mowgli tune`: which variants of the kernels are the fastest on this machine. */
export function tuneCommand({ signal }: Interrupt): Command {
  const command = new Command('tune')
    .description('measure again which variants of the kernels are the fastest')
    .option(
      '-m, --model <path>',
      'the model to measure for (default: one of the shapes of Qwen3-Coder-30B-A3B)',
    )
    .option('--types <types>', 'without --model: number formats, with commas (default: Q4_K,Q6_K)');
  return addAdapterOption(addComputeOptions(command))
    .option('--json', 'print one JSON object instead of a table')
    .option('-q, --quiet', 'print nothing but the result and errors')
    .addHelpText('after', help)
    .action((flags: Flags) => tune(flags, signal));
}

async function tune(flags: Flags, signal: AbortSignal): Promise<void> {
  await openDawn({ adapter: flags.adapter, muteWarnings: true });
  const { tuneKernels } = await import('../node.ts');
  const progress = showProgress(flags.quiet);
  let report: TuneReport;
  try {
    report = await tuneKernels(flags.model, {
      ...(flags.types !== undefined && { types: flags.types.split(',') }),
      ...(flags.chunk !== undefined && { chunk: flags.chunk }),
      ...(flags.kvType !== undefined && { kvType: flags.kvType }),
      ...(flags.activations !== undefined && { activations: flags.activations }),
      ...(flags.adapter !== undefined && { adapter: flags.adapter }),
      onProgress: progress.update,
      signal,
    });
  } finally {
    progress.clear();
  }
  if (flags.json) await printJson(report);
  else if (report.classes.length > 0) await print(`${report.adapter}\n\n${table(report.classes)}`);
  if (report.classes.length === 0 && !flags.quiet) {
    note('mowgli: nothing to measure: the matrices of this model are too small for it to matter');
  }
}

function table(results: readonly TuneResult[]): string {
  const rows = results.map(({ kernel, format, rows, columns, tokens, ms, chosen, rule }) => [
    kernel,
    format,
    `${rows}x${columns}${tokens > 1 ? ` M=${tokens}` : ''}`,
    Object.entries(ms)
      .map(([variant, time]) => `${variant} ${time === null ? '-' : time.toPrecision(3)}`)
      .join(', '),
    chosen === rule ? chosen : `${chosen} (not ${rule})`,
  ]);
  const header = ['kernel', 'format', 'shape', 'ms of a run', 'chosen'];
  return markdownTable(header, rows, ['left', 'left', 'left', 'left', 'left']);
}
