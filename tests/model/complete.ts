import type {
  FinishReason,
  GenerateOptions,
  GeneratePart,
  Model,
  Prompt,
} from '../../src/index.ts';

/** Everything that one generation gave. */
export interface Completion {
  readonly parts: readonly GeneratePart[];
  /** Of the text parts, joined. */
  readonly text: string;
  readonly tokens: readonly number[];
  /** The `end` part; undefined when there was none. */
  readonly end: Extract<GeneratePart, { type: 'end' }> | undefined;
  readonly finishReason: FinishReason | undefined;
  /** What was thrown, if anything. */
  readonly error: unknown;
}

/**
 * Takes a whole generation, its failure included. Every token of the prompt is evaluated: what is reused
 * of earlier prompts is the subject of tests of its own.
 */
export async function completion(
  model: Model,
  prompt: Prompt,
  options?: GenerateOptions,
  onPart?: (part: GeneratePart) => unknown,
): Promise<Completion> {
  const parts: GeneratePart[] = [];
  let error: unknown;
  try {
    for await (const part of model.generate(prompt, { reuse: false, ...options })) {
      parts.push(part);
      await onPart?.(part);
    }
  } catch (thrown) {
    error = thrown;
  }
  const texts = parts.filter((part) => part.type === 'text');
  const end = parts.find((part) => part.type === 'end');
  return {
    parts,
    text: texts.map(({ text }) => text).join(''),
    tokens: texts.flatMap(({ tokens }) => tokens),
    end,
    finishReason: end?.finishReason,
    error,
  };
}

/** Like `completion`, for generations that must not fail. */
export async function complete(
  model: Model,
  prompt: Prompt,
  options?: GenerateOptions,
): Promise<Completion> {
  const result = await completion(model, prompt, options);
  if (result.error) throw result.error;
  return result;
}

/** The most probable token every time, with nothing that changes the logits. */
export const greedy = { temperature: 0, repetitionPenalty: 1 } as const;
