/**
 * A small coding agent: a model, four tools, one folder.
 *
 *   npx tsx examples/agent/agent.ts --folder DIR "Read src/app.py"
 */
import { loadModel } from '../../src/node.ts'; // in your own project: 'mowgli-llm'
import { askBeforeWriting } from './approval.ts';
import type { ChatModel } from './chat-model.ts';
import { localModel } from './local-model.ts';
import { readOptions, UsageError, usage } from './options.ts';
import { remoteModel } from './remote-model.ts';
import { runAgent } from './run-agent.ts';
import { Sandbox } from './sandbox.ts';
import { Tools } from './tools.ts';
import { plainTranscript } from './transcript.ts';

const system =
  'You are a coding agent. You work on the files of one folder, with the tools you are given; paths ' +
  'are relative to it. Do what the user asks step by step, then say in a sentence what you did.';

const ctrlC = new AbortController();
process.on('SIGINT', () => ctrlC.abort());

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = 1;
  if (error instanceof UsageError) {
    console.error(error.message ? `agent: ${error.message}; --help lists the options` : usage);
    process.exitCode = error.message ? 2 : 0;
  } else if (ctrlC.signal.aborted) {
    console.error('\nstopped');
    process.exitCode = 130;
  } else {
    console.error(`\nagent: ${(error as Error).message}`);
  }
}
process.exit(); // Dawn keeps threads; ending outright is the clean way.

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  const { task, limits, temperature, context, endpoint, testCommand } = options;
  const sandbox = await Sandbox.open(options.folder).catch((error: Error) => {
    throw new UsageError(`--folder: ${error.message}`);
  });
  const tools = new Tools(sandbox, { approve: askBeforeWriting(options.yes), testCommand });
  const chat = { system, tools: tools.definitions, temperature };
  const work = async (model: ChatModel) => {
    const tooLong = AbortSignal.timeout(1000 * options.seconds);
    const signal = AbortSignal.any([ctrlC.signal, tooLong]);
    const transcript = plainTranscript((text) => process.stdout.write(text));
    try {
      const run = { limits, transcript, signal };
      const { reason, steps, tokens } = await runAgent(task, model, tools, run);
      transcript.ended(`${reason}; steps: ${steps}, tokens: ${tokens}`);
      return reason === 'done' ? 0 : 1;
    } catch (error) {
      if (!tooLong.aborted) throw error;
      throw new Error(`stopped after ${options.seconds} s, the limit of --max-seconds`);
    }
  };
  if (endpoint) return work(remoteModel(endpoint, chat));
  const load = { signal: ctrlC.signal, ...(context !== undefined && { context }) };
  await using model = await loadModel(options.model, load);
  return await work(localModel(model, chat));
}
