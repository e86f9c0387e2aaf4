import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { chatCommand } from './chat.ts';
import { doctorCommand } from './doctor.ts';
import { exitCodes, explain } from './exit.ts';
import { generateCommand } from './generate.ts';
import { inspectCommand } from './inspect.ts';
import { type Interrupt, isInterruption, listenForInterrupt } from './interrupt.ts';
import { logitsCommand } from './logits.ts';
import { endQuietlyWhenNobodyReads, flush, note } from './output.ts';
import { perplexityCommand } from './perplexity.ts';
import { planCommand } from './plan.ts';
import { serveCommand } from './serve.ts';
import { simulateCommand } from './simulate.ts';
import { tuneCommand } from './tune.ts';

/**
 * Runs the command line and ends the process.
 *
 * It ends it outright: Dawn keeps native threads, and to wait until Node finds nothing left to do would
 * leave the moment to them. A command has printed and released what it had by then.
 *
 * @param args The arguments, without the node binary and the script.
 */
export async function main(args: readonly string[]): Promise<never> {
  endQuietlyWhenNobodyReads();
  const interrupt = listenForInterrupt();
  let code: number = exitCodes.ok;
  try {
    await commandLine(interrupt, packageVersion()).parseAsync(args, { from: 'user' });
    code = Number(process.exitCode ?? exitCodes.ok); // Left there by the command that ran.
  } catch (error) {
    const { code: failure, message } = explain(error);
    code = failure;
    // An operation that Ctrl-C stopped has nothing to explain.
    const interrupted = isInterruption(error, interrupt.signal);
    if (message !== undefined && !interrupted) note(`mowgli: ${message}`);
    if (process.env.MOWGLI_DEBUG) console.error(error);
  }
  await flush();
  process.exit(interrupt.exitCode ?? code);
}

function commandLine(interrupt: Interrupt, version: string): Command {
  const program = new Command('mowgli')
    .description('Run Qwen3-Coder and other Qwen3 Mixture-of-Experts models on WebGPU.')
    .version(version, '-V, --version', 'print the version')
    .addHelpText('after', '\nmowgli <command> --help shows the options of a command and examples.')
    .addCommand(generateCommand(interrupt))
    .addCommand(chatCommand(interrupt))
    .addCommand(serveCommand(interrupt))
    .addCommand(logitsCommand(interrupt))
    .addCommand(benchCommand(interrupt))
    .addCommand(inspectCommand(interrupt))
    .addCommand(simulateCommand(interrupt))
    .addCommand(planCommand(interrupt))
    .addCommand(perplexityCommand(interrupt))
    .addCommand(tuneCommand(interrupt))
    .addCommand(doctorCommand(interrupt, version));
  for (const command of [program, ...program.commands]) {
    // Errors are thrown as well as printed; they are worded in one place, by `explain`.
    command.exitOverride().configureOutput({ outputError() {} });
    command.helpOption('-h, --help', 'print this help');
  }
  return program;
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
