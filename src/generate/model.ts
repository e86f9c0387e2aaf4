import { MowgliError } from '../errors.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import type { GenerationDefaults } from '../files/generation-defaults.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { Gpu } from '../gpu/device.ts';
import { Engine, type EngineOptions, type EvaluateOptions } from './engine.ts';
import { Lock } from './lock.ts';
import { nothingGenerated, run } from './run.ts';
import { ModelText, type RenderChatOptions } from './text.ts';
import type { ChatMessage, GenerateOptions, GeneratePart, Prompt } from './types.ts';

/** What runs the shaders. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** Whether the shaders run on the CPU. */
  readonly isSoftware: boolean;
  readonly features: readonly string[];
}

/** GPU memory in use, in bytes. */
export interface MemoryUse {
  readonly gpuBytes: number;
  readonly gpuPeakBytes: number;
  /** Bytes by what they are for: weights, experts, kv cache, activations ... */
  readonly byLabel: Readonly<Record<string, number>>;
}

/** A loaded model. Made by `loadModel`; free it with `dispose` or `await using`. */
export class Model implements AsyncDisposable {
  /** What it was loaded from. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly #engine: Engine;
  readonly #text: ModelText;
  readonly #defaults: GenerationDefaults;
  readonly #lock = new Lock();
  readonly #disposal = new AbortController();
  #disposed: Promise<void> | undefined;

  private constructor(checkpoint: Checkpoint, text: ModelText, engine: Engine) {
    this.name = checkpoint.name;
    this.config = checkpoint.config;
    this.#defaults = checkpoint.generationDefaults;
    this.#text = text;
    this.#engine = engine;
  }

  /**
   * Puts an opened checkpoint on a GPU, which the model then owns. `loadModel` is the usual way.
   *
   * @throws MowgliError as `loadModel`; the checkpoint and the GPU stay the caller's in that case
   */
  static async load(gpu: Gpu, checkpoint: Checkpoint, options: EngineOptions): Promise<Model> {
    const text = new ModelText(checkpoint);
    const engine = await Engine.load(gpu, checkpoint, options);
    return new Model(checkpoint, text, engine);
  }

  /** Most tokens of prompt and answer together. */
  get context(): number {
    return this.#engine.context;
  }

  /** Tokens of a prompt evaluated at a time. */
  get chunk(): number {
    return this.#engine.chunk;
  }

  get adapter(): AdapterInfo {
    const { adapter, device, capabilities } = this.#engine.gpu;
    const { vendor, architecture, device: name, description } = adapter.info;
    return {
      vendor,
      architecture,
      device: name,
      description,
      isSoftware: capabilities.software,
      features: [...device.features].sort(),
    };
  }

  /** Whether conversations can be given as messages: the model came with a chat template. */
  get hasChatTemplate(): boolean {
    return this.#text.hasTemplate;
  }

  /**
   * Text to token ids; the text of control tokens such as `<|im_end|>` becomes those tokens.
   * @throws MowgliError `TOKENIZER_INVALID` when the model has no tokenizer
   */
  tokenize(text: string): number[] {
    return this.#text.tokenizer.encode(text);
  }

  /**
   * Token ids to text, control tokens included.
   * @throws MowgliError `TOKENIZER_INVALID` when the model has no tokenizer, `OPTION_INVALID` for
   * an id it does not know
   */
  detokenize(ids: readonly number[]): string {
    return this.#text.tokenizer.decode(ids);
  }

  /**
   * The prompt text that the model's chat template makes of a conversation.
   * @throws MowgliError `TEMPLATE_FAILED` when there is no template or it refuses the messages
   */
  renderChat(messages: readonly ChatMessage[], options?: RenderChatOptions): string {
    return this.#text.render(messages, options);
  }

  /**
   * Continues a prompt. Yields text as it is generated, and last one `end` part. Calls on one model
   * take turns. Leaving the loop early stops the generation.
   *
   * When `signal` fires, the `end` part (finish reason `aborted`) still comes, with what was
   * generated, and then `ABORTED` is thrown.
   *
   * @throws MowgliError `OPTION_INVALID`, `CONTEXT_EXCEEDED`, `TEMPLATE_FAILED`,
   * `TOKENIZER_INVALID`, `ABORTED`, `DISPOSED`, and errors of the device
   */
  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<GeneratePart> {
    const { signal } = options;
    const tokens = this.#promptTokens(prompt);
    let release: () => void;
    try {
      release = await this.#turn(signal);
    } catch (error) {
      if (error instanceof MowgliError && error.code === 'ABORTED') {
        yield nothingGenerated(tokens.length);
      }
      throw error;
    }
    try {
      yield* run(this.#engine, this.#text, this.#defaults, tokens, options, this.#disposal.signal);
    } finally {
      release();
    }
  }

  /**
   * Logits of the last token, [vocab], or of each (`every`), [tokens, vocab] row after row.
   * @throws MowgliError `OPTION_INVALID`, `CONTEXT_EXCEEDED`, `ABORTED`, `DISPOSED`
   */
  async logits(
    tokens: readonly number[],
    options: EvaluateOptions & { every?: boolean } = {},
  ): Promise<Float32Array> {
    const release = await this.#turn(options.signal);
    const stoppable = { ...options, signal: this.#untilDisposal(options.signal) };
    try {
      this.#engine.rewind(0);
      return options.every
        ? await this.#engine.everyLogits(tokens, stoppable)
        : await this.#engine.logits(tokens, stoppable);
    } catch (error) {
      throw this.#disposed ? this.#wasDisposed() : error;
    } finally {
      release();
    }
  }

  /** GPU memory that this model holds. */
  memory(): MemoryUse {
    const { ledger } = this.#engine.gpu;
    return { gpuBytes: ledger.bytes, gpuPeakBytes: ledger.peakBytes, byLabel: ledger.byLabel() };
  }

  /**
   * Stops what is running, and frees all GPU memory. Who waits or generates is told `DISPOSED`.
   * Calling it again does nothing but wait for the same.
   */
  dispose(): Promise<void> {
    this.#disposal.abort();
    // Not by taking a turn: a generation that nobody continues, such as the one whose loop waits
    // for this, would never pass its turn on.
    this.#disposed ??= this.#engine.dispose().then(() => this.#engine.gpu.dispose());
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #turn(signal: AbortSignal | undefined): Promise<() => void> {
    try {
      const release = await this.#lock.acquire(this.#untilDisposal(signal));
      if (!this.#disposed) return release;
      release();
    } catch (error) {
      if (!this.#disposed) throw error;
    }
    throw this.#wasDisposed();
  }

  #untilDisposal(signal: AbortSignal | undefined): AbortSignal {
    const disposal = this.#disposal.signal;
    return signal ? AbortSignal.any([signal, disposal]) : disposal;
  }

  #wasDisposed(): MowgliError {
    return new MowgliError('DISPOSED', `${this.name} was disposed of; load the model again`);
  }

  #promptTokens(prompt: Prompt): readonly number[] {
    if (typeof prompt === 'string') return this.tokenize(prompt);
    if (typeof prompt === 'object' && prompt !== null) {
      if (!('tokens' in prompt)) {
        if (Array.isArray(prompt)) return this.tokenize(this.renderChat(prompt));
      } else if (Array.isArray(prompt.tokens)) return prompt.tokens;
    }
    throw new MowgliError(
      'OPTION_INVALID',
      'the prompt is neither text, nor a list of messages, nor { tokens: [...] }; pass one of these',
    );
  }
}
