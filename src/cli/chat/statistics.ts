import type { ChatSession, Model, RespondEnd } from '../../node.ts';
import { expertStatistics } from '../expert-statistics.ts';
import { formatBytes, formatDuration, formatRate } from '../units.ts';

/** What /stats shows. */
export function describeChat(
  model: Model,
  session: ChatSession,
  last: RespondEnd | undefined,
): string {
  const { messages } = session;
  // Templates want at least one message.
  const tokens = messages.length > 0 ? session.tokens.length : 0;
  const { gpuBytes, gpuPeakBytes } = model.memory();
  return [
    `context: ${tokens} of ${model.context} tokens, ${messages.length} messages`,
    ...(last ? describeAnswer(last) : []),
    `GPU memory: ${formatBytes(gpuBytes)}, at most ${formatBytes(gpuPeakBytes)}`,
    ...(last ? [expertStatistics(last.usage.experts, evaluated(last))] : []),
  ].join('\n');
}

function describeAnswer({ usage, finishReason }: RespondEnd): string[] {
  const { promptTokens, cachedTokens, promptMs, promptTokensPerSecond } = usage;
  const { completionTokens, completionMs, completionTokensPerSecond } = usage;
  return [
    `last prompt: ${promptTokens} tokens, ${cachedTokens} of them cached and ${promptTokens - cachedTokens} evaluated in ${formatDuration(promptMs)} (${formatRate(promptTokensPerSecond)}/s)`,
    `last answer: ${completionTokens} tokens in ${formatDuration(completionMs)} (${formatRate(completionTokensPerSecond)}/s), ${finishReason}`,
  ];
}

function evaluated({ usage }: RespondEnd): number {
  return usage.promptTokens - usage.cachedTokens + usage.completionTokens;
}
