import type { ExpertUsage } from '../experts/expert-use.ts';
import type { TokenConstraint } from './constraint.ts';

/** How the next token is chosen. Absent fields take the model's `generation_config.json`, then the default named here. */
export interface SamplingOptions {
  /** 0 = greedy. Default 1. */
  temperature?: number;
  /** Keep the k most likely tokens; 0 = all. Default 0. */
  topK?: number;
  /** Keep the smallest set of tokens whose probability reaches p. Default 1. */
  topP?: number;
  /** Drop tokens less likely than `minP` times the likeliest. Default 0. */
  minP?: number;
  /** Divides positive and multiplies negative logits of tokens already in the context. Default 1. */
  repetitionPenalty?: number;
  /** Subtracted once from the logit of each token generated so far. Default 0. */
  presencePenalty?: number;
  /** Subtracted per occurrence from the logit of each token generated so far. Default 0. */
  frequencyPenalty?: number;
  /** Added to the logits of these token ids; -Infinity forbids one. */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>>;
  /** Same seed, same text. Random when absent. */
  seed?: number;
}

export interface StopOptions {
  /** Tokens to generate at most. Default: what is left of the context. */
  maxTokens?: number;
  /** Generation ends before any of these texts appears in the output. */
  stop?: string | readonly string[];
  /** Generation ends at any of these, besides the model's own end tokens. */
  stopTokenIds?: readonly number[];
}

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string | null;
  /** Further fields (tool_calls, name ...) reach the chat template as they are. */
  [key: string]: unknown;
}

export interface GenerateOptions extends SamplingOptions, StopOptions {
  /** Ends the generation: its `end` part comes with what was generated, then `ABORTED` is thrown. */
  signal?: AbortSignal;
  /** Told after each chunk of a long prompt how many of its tokens are evaluated. */
  onProgress?: (progress: { done: number; total: number }) => void;
  /** What the text must look like: the only tokens that may be chosen. It serves one generation. */
  constraint?: TokenConstraint;
  /** Probabilities of the tokens: of each generated one, and of this many likeliest (0 to 20) beside it. */
  logprobs?: number;
  /**
   * Whether to begin behind what an earlier prompt with the same beginning left in the cache. Default
   * true; `false` evaluates the whole prompt, as a benchmark wants it.
   */
  reuse?: boolean;
}

/** A token and the natural logarithm of its probability, as the model gave it: before penalties and temperature. */
export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A generated token with its probability, and the likeliest ones in its place, likeliest first. */
export interface GeneratedLogprob extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/** What to continue: text as it is, a conversation for the chat template, or token ids. */
export type Prompt = string | readonly ChatMessage[] | { readonly tokens: readonly number[] };

export type FinishReason = 'stop' | 'length' | 'aborted';

export interface Usage {
  promptTokens: number;
  /** Of the prompt's tokens, those that were in the cache already and not evaluated again. */
  cachedTokens: number;
  completionTokens: number;
  /** Evaluation of the prompt, up to its last logits. */
  promptMs: number;
  /** Generation, from the first sampled token to the last. */
  completionMs: number;
  promptTokensPerSecond: number;
  completionTokensPerSecond: number;
  /** GPU to CPU readbacks while decoding. */
  readbacks: number;
  /** What this run needed of experts that are not all on the GPU; nothing is counted when all are. */
  experts: ExpertUsage;
}

export type GeneratePart =
  | {
      type: 'text';
      text: string;
      tokens: readonly number[];
      /** Of each of `tokens`, when the option `logprobs` asked for them; none of a removed stop text. */
      logprobs?: readonly GeneratedLogprob[];
    }
  | {
      type: 'end';
      finishReason: FinishReason;
      /** The whole generated text and its token ids (the end token not included). */
      text: string;
      tokens: readonly number[];
      usage: Usage;
    };

export interface LoadProgress {
  /**
   * `tuning`: classes of kernels whose variants were measured (on an adapter's first such model only);
   * `weights`: bytes on the GPU; `kernels`: pipelines compiled.
   */
  phase: 'tuning' | 'weights' | 'kernels';
  done: number;
  total: number;
}
