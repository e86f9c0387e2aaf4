import { Command } from 'commander';
import type { GeneratePart } from '../node.ts';
import { ExpertCounts } from './expert-counts.ts';
import { expertStatistics, layerStatistics, waitsSince } from './expert-statistics.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, type ModelFlags, type OpenedModel, openModel } from './open-model.ts';
import { note, print, printJson, printJsonObject } from './output.ts';
import { type ProgressDisplay, showProgress } from './progress.ts';
import { addPromptOptions, type PromptFlags, readPrompt } from './prompt.ts';
import { addSamplingOptions, type SamplingFlags, toSampling } from './sampling.ts';
import { incompleteNote, readTools, ToolTurn, turnFields } from './tools.ts';
import { TraceWriter } from './trace.ts';
import { formatBytes, formatDuration, formatRate } from './units.ts';

interface Flags extends ModelFlags, PromptFlags, SamplingFlags {
  json?: boolean;
  stats?: boolean;
  trace?: string;
  heatmap?: string;
}

type EndPart = Extract<GeneratePart, { type: 'end' }>;
type TextPart = Extract<GeneratePart, { type: 'text' }>;

const examples = `
Sampling options that are not given come from the model's generation_config.json.

Examples:
  $ mowgli generate "Write a Python function that checks if a number is prime."
  $ mowgli generate --model ~/models/Qwen3-Coder-30B-A3B-Instruct --max-tokens 500 "Explain this regex: ^a+$"
  $ git diff | mowgli generate --system "Review this change." -
  $ mowgli generate --raw --greedy --max-tokens 40 "def fibonacci(n):"
  $ mowgli generate --json --seed 1 "Hello!" | jq .timings
  $ mowgli generate --greedy --tools tools.json "Read src/app.py"
  $ mowgli generate --model "synthetic:qwen3-coder-480b?type=q4_k" --random-prompt 16 --max-tokens 3

tools.json holds a list of functions, [{"type": "function", "function": {"name": ..., "description": ...,
"parameters": ...}}], and each finished call is a line {"name": ..., "arguments": {...}} after the text; with
--json, calls, text and reasoning are toolCalls, content and reasoning. Calls are not run.

Models without a tokenizer, as synthetic ones, take token ids and answer with token ids.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (what was generated is kept).`;

/** `mowgli generate`: continues a prompt, and streams the answer to stdout. */
export function generateCommand({ signal }: Interrupt): Command {
  const command = new Command('generate')
    .description('answer a prompt; the answer is streamed to stdout')
    .argument('[prompt]', "the prompt; '-' reads it from stdin");
  return addSamplingOptions(addPromptOptions(addModelOptions(command)))
    .option('--json', 'print one JSON object when done, instead of streaming')
    .option('--stats', 'print timings, and what was read and waited for, layer by layer')
    .option('--trace <file>', 'write the experts of every token to a file, for mowgli simulate')
    .option('--heatmap <file.svg>', 'draw how often each expert of each layer was used')
    .addHelpText('after', examples)
    .action((prompt: string | undefined, flags: Flags) => generate(prompt, flags, signal));
}

async function generate(
  argument: string | undefined,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  const sampling = toSampling(flags);
  const tools = flags.tools === undefined ? undefined : await readTools(flags.tools);
  const promptFor = await readPrompt(argument, flags, signal, tools);
  const opened = await openModel(flags, signal);
  const { model } = opened;
  try {
    const trace =
      flags.trace === undefined ? undefined : await TraceWriter.start(model, flags.trace);
    const heatmap = flags.heatmap === undefined ? undefined : ExpertCounts.start(model);
    const waitsBefore = model.expertWaits();
    const progress = showProgress(flags.quiet);
    const onProgress = ({ done, total }: { done: number; total: number }) =>
      progress.update({ phase: 'prompt', done, total });
    const prompt = promptFor(model);
    const turn = tools && typeof prompt === 'string' && new ToolTurn(model, prompt, tools);
    const parts = model.generate(prompt, { ...sampling, onProgress, signal });
    const showText = model.hasTokenizer ? (part: TextPart) => part.text : showTokens();
    const show = turn ? (part: TextPart) => turn.show(part.text) : showText;
    const end = await stream(parts, show, flags, progress, signal);
    await trace?.end();
    if (heatmap && flags.heatmap !== undefined) await heatmap.draw(flags.heatmap);
    if (turn) await printTurn(turn, end, flags, opened);
    else if (flags.json) await printJson(toJson(end, opened));
    else if (!end.text.endsWith('\n')) await print('\n');
    if (flags.stats || (!flags.quiet && process.stderr.isTTY)) note(statistics(end, opened));
    if (flags.stats && end.usage.experts.slots < end.usage.experts.experts) {
      note(layerStatistics(waitsSince(waitsBefore, model)));
    }
  } finally {
    await model.dispose();
  }
}

/** Prints the text as it comes, and returns how it ended; after Ctrl-C, with what there was until then. */
async function stream(
  parts: AsyncIterable<GeneratePart>,
  show: (part: TextPart) => string,
  { json }: Flags,
  progress: ProgressDisplay,
  signal: AbortSignal,
): Promise<EndPart> {
  let end: EndPart | undefined;
  try {
    for await (const part of parts) {
      progress.clear();
      if (part.type === 'end') end = part;
      else if (!json) await print(show(part));
    }
  } catch (error) {
    if (!signal.aborted || !end) throw error; // Else it only says that it was aborted.
  } finally {
    progress.clear();
  }
  if (!end) throw new Error('the generation ended without saying why');
  return end;
}

/** Prints what the answer was found to consist of, after what was streamed of it. */
async function printTurn(
  turn: ToolTurn,
  end: EndPart,
  { json }: Flags,
  opened: OpenedModel,
): Promise<void> {
  const parsed = turn.parse(end.text, end.finishReason);
  if (json) await printJsonObject(toJson(end, opened), turnFields(parsed));
  else await print(turn.showEnd(end.finishReason, parsed));
  const left = incompleteNote(parsed, end.finishReason);
  if (left !== undefined) note(left);
}

/** Token ids with spaces between them: the answer of a model without a tokenizer. */
function showTokens(): (part: TextPart) => string {
  let separator = '';
  return ({ tokens }) => {
    if (tokens.length === 0) return '';
    const text = separator + tokens.join(' ');
    separator = ' ';
    return text;
  };
}

function toJson(end: EndPart, { model, loadMs }: OpenedModel) {
  const { promptTokens, experts, ...timings } = end.usage;
  return {
    text: end.text,
    tokens: end.tokens,
    promptTokens,
    finishReason: end.finishReason,
    timings: { loadMs, ...timings },
    usage: { experts },
    adapter: model.adapter,
    memory: model.memory(),
  };
}

function statistics({ usage, finishReason }: EndPart, { model, loadMs }: OpenedModel): string {
  const { gpuBytes, gpuPeakBytes } = model.memory();
  return [
    `prompt ${usage.promptTokens} tokens in ${formatDuration(usage.promptMs)} (${formatRate(usage.promptTokensPerSecond)}/s)`,
    `answer ${usage.completionTokens} tokens in ${formatDuration(usage.completionMs)} (${formatRate(usage.completionTokensPerSecond)}/s), ${finishReason}`,
    `loaded in ${formatDuration(loadMs)}, GPU memory ${formatBytes(gpuBytes)}, at most ${formatBytes(gpuPeakBytes)}`,
    expertStatistics(usage.experts, usage.promptTokens + usage.completionTokens),
  ].join('\n');
}
