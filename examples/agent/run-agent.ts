import type { ChatModel, Message } from './chat-model.ts';
import type { Tools } from './tools.ts';
import type { Transcript } from './transcript.ts';

/** Where a run ends, even if the model would go on. */
export interface Limits {
  /** Answers of the model. */
  readonly steps: number;
  /** Tokens that it generates, in all. */
  readonly tokens: number;
}

export interface Outcome {
  /** `done`: the model ended its answer without calling a tool. */
  readonly reason: 'done' | 'too many steps' | 'too many tokens';
  readonly steps: number;
  readonly tokens: number;
}

/**
 * Lets a model work on a task: it answers, the tools that it calls are run, and their results are its
 * next message, until it calls none any more.
 *
 * @throws what the model throws, and the signal's reason when that fires
 */
export async function runAgent(
  task: string,
  model: ChatModel,
  tools: Tools,
  { limits, transcript, signal }: { limits: Limits; transcript: Transcript; signal: AbortSignal },
): Promise<Outcome> {
  transcript.task(task);
  let messages: Message[] = [{ role: 'user', content: task }];
  let tokens = 0;
  for (let step = 1; step <= limits.steps; step++) {
    const maxTokens = limits.tokens - tokens;
    if (maxTokens <= 0) return { reason: 'too many tokens', steps: step - 1, tokens };
    const turn = await model.send(messages, { maxTokens, signal, onText: transcript.said });
    tokens += turn.tokens;
    if (turn.calls.length === 0 && turn.incomplete.length === 0) {
      return { reason: turn.cutOff ? 'too many tokens' : 'done', steps: step, tokens };
    }
    messages = [];
    for (const call of turn.calls) {
      transcript.called(step, call);
      const result = await tools.run(call, signal);
      transcript.result(result);
      messages.push({ role: 'tool', tool_call_id: call.id, content: result });
    }
    if (turn.incomplete.length > 0) {
      const content = `Your call of ${turn.incomplete.join(', ')} was cut off or damaged and was not run; write it again.`;
      transcript.result(content);
      messages.push({ role: 'user', content });
    }
  }
  return { reason: 'too many steps', steps: limits.steps, tokens };
}
