import { Command } from 'commander';
import type { GeneratePart, RespondEnd } from '../node.ts';
import { type AnswerFlags, addAnswerOptions, readAnswerOptions } from './answer-options.ts';
import { AnswerText, callJson, incompleteNote, showCallsLast } from './answer-text.ts';
import { ExpertCounts } from './expert-counts.ts';
import { expertStatistics, layerStatistics, waitsSince } from './expert-statistics.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelOptions, type ModelFlags, type OpenedModel, openModel } from './open-model.ts';
import { note, print, printJsonObject } from './output.ts';
import { type ProgressDisplay, showProgress } from './progress.ts';
import { addPromptOptions, type PromptFlags, readPrompt } from './prompt.ts';
import { addSamplingOptions, type SamplingFlags, toSampling } from './sampling.ts';
import { TraceWriter } from './trace.ts';
import { formatBytes, formatDuration, formatRate } from './units.ts';

interface Flags extends ModelFlags, PromptFlags, AnswerFlags, SamplingFlags {
  json?: boolean;
  stats?: boolean;
  trace?: string;
  heatmap?: string;
}

type End = Extract<GeneratePart, { type: 'end' }> | RespondEnd;

const examples = `
Sampling options that are not given come from the model's generation_config.json.

Examples:
  $ mowgli generate "Write a Python function that checks if a number is prime."
  $ mowgli generate --model ~/models/Qwen3-Coder-30B-A3B-Instruct --max-tokens 500 "Explain this regex: ^a+$"
  $ git diff | mowgli generate --system "Review this change." -
  $ mowgli generate --raw --greedy --max-tokens 40 "def fibonacci(n):"
  $ mowgli generate --json --seed 1 "Hello!" | jq .timings
  $ mowgli generate --greedy --tools tools.json "Read src/app.py"
  $ mowgli generate --json-schema '{"enum": ["bug", "wish"]}' "Is this a bug or a wish? It crashes."
  $ mowgli generate --model "synthetic:qwen3-coder-480b?type=q4_k" --random-prompt 16 --max-tokens 3

tools.json holds a list of functions, [{"type": "function", "function": {"name": ..., "description": ...,
"parameters": ...}}], and each finished call is a line {"name": ..., "arguments": {...}} after the text. Calls
are not run. With --tools or a JSON schema, --json also has toolCalls, content and reasoning.

Models without a tokenizer, as synthetic ones, take token ids and answer with token ids.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (what was generated is kept).`;

/** `mowgli generate`: continues a prompt, and streams the answer to stdout. */
export function generateCommand({ signal }: Interrupt): Command {
  const command = new Command('generate')
    .description('answer a prompt; the answer is streamed to stdout')
    .argument('[prompt]', "the prompt; '-' reads it from stdin");
  return addSamplingOptions(addAnswerOptions(addPromptOptions(addModelOptions(command))))
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
  const answerOptions = await readAnswerOptions(flags);
  const promptFor = await readPrompt(argument, flags, signal);
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
    const options = { ...sampling, onProgress, signal };
    const screen = { json: flags.json, progress, signal };
    const end: End =
      answerOptions && Array.isArray(prompt)
        ? await stream(
            model.respond(prompt, { ...answerOptions, ...options }),
            showCallsLast(new AnswerText('tags')),
            screen,
          )
        : await stream(
            model.generate(prompt, options),
            model.hasTokenizer ? showText : showTokens(),
            screen,
          );
    await trace?.end();
    if (heatmap && flags.heatmap !== undefined) await heatmap.draw(flags.heatmap);
    const isInParts = 'message' in end;
    if (flags.json) await printJsonObject(toJson(end, opened), isInParts ? partsOf(end) : {});
    const left = isInParts ? incompleteNote(end) : undefined;
    if (left !== undefined) note(left);
    if (flags.stats || (!flags.quiet && process.stderr.isTTY)) note(statistics(end, opened));
    if (flags.stats && end.usage.experts.slots < end.usage.experts.experts) {
      note(layerStatistics(waitsSince(waitsBefore, model)));
    }
  } finally {
    await model.dispose();
  }
}

interface Screen {
  /** Nothing is printed while the answer comes. */
  readonly json: boolean | undefined;
  readonly progress: ProgressDisplay;
  readonly signal: AbortSignal;
}

/**
 * Prints what `show` makes of an answer's parts as they come, and returns how it ended; after Ctrl-C, with
 * what there was until then.
 */
async function stream<Part extends { readonly type: string }>(
  parts: AsyncIterable<Part>,
  show: (part: Part) => string,
  { json, progress, signal }: Screen,
): Promise<Extract<Part, { type: 'end' }>> {
  const isEnd = (part: Part): part is Extract<Part, { type: 'end' }> => part.type === 'end';
  let end: Extract<Part, { type: 'end' }> | undefined;
  try {
    for await (const part of parts) {
      progress.clear();
      if (isEnd(part)) end = part;
      if (!json) await print(show(part));
    }
  } catch (error) {
    if (!signal.aborted || !end) throw error; // Else it only says that it was aborted.
  } finally {
    progress.clear();
  }
  if (!end) throw new Error('the generation ended without saying why');
  return end;
}

/** An answer as the model writes it. */
function showText(part: GeneratePart): string {
  if (part.type === 'text') return part.text;
  return part.text.endsWith('\n') ? '' : '\n';
}

/** Token ids with spaces between them: the answer of a model without a tokenizer. */
function showTokens(): (part: GeneratePart) => string {
  let separator = '';
  return (part) => {
    if (part.type === 'end') return '\n';
    if (part.tokens.length === 0) return '';
    const text = separator + part.tokens.join(' ');
    separator = ' ';
    return text;
  };
}

/**
 * What `--json` adds of an answer taken apart, as JSON text: arguments may hold numbers that JavaScript
 * rounds.
 */
function partsOf({ message }: RespondEnd): Record<string, string> {
  const calls = (message.tool_calls ?? []).map((call) => callJson(call.function));
  return {
    toolCalls: `[${calls.join(',')}]`,
    content: JSON.stringify(message.content ?? ''),
    reasoning: JSON.stringify(message.reasoning_content ?? ''),
  };
}

function toJson(end: End, { model, loadMs }: OpenedModel) {
  const { promptTokens, experts, ...timings } = end.usage;
  return {
    text: end.text,
    tokens: end.tokens,
    promptTokens,
    finishReason: reasonOf(end),
    timings: { loadMs, ...timings },
    usage: { experts },
    adapter: model.adapter,
    memory: model.memory(),
  };
}

/** An answer that ended with calls was finished, too; they are told of by themselves. */
function reasonOf({ finishReason }: End): string {
  return finishReason === 'tool-calls' ? 'stop' : finishReason;
}

function statistics(end: End, { model, loadMs }: OpenedModel): string {
  const { usage } = end;
  const { gpuBytes, gpuPeakBytes } = model.memory();
  return [
    `prompt ${usage.promptTokens} tokens in ${formatDuration(usage.promptMs)} (${formatRate(usage.promptTokensPerSecond)}/s)`,
    `answer ${usage.completionTokens} tokens in ${formatDuration(usage.completionMs)} (${formatRate(usage.completionTokensPerSecond)}/s), ${reasonOf(end)}`,
    `loaded in ${formatDuration(loadMs)}, GPU memory ${formatBytes(gpuBytes)}, at most ${formatBytes(gpuPeakBytes)}`,
    expertStatistics(usage.experts, usage.promptTokens + usage.completionTokens),
  ].join('\n');
}
