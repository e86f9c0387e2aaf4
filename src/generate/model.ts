import { MowgliError } from '../errors.ts';
import type { ExpertUsage, LayerWaits } from '../experts/expert-use.ts';
import type { LearnedUse } from '../experts/learned-use.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import type { GenerationDefaults } from '../files/generation-defaults.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Routing } from '../model/forward-pass.ts';
import type { ToolCallFormat } from '../text/tool-calls/parser.ts';
import { Engine, type EngineOptions, type EvaluateOptions, type LogitsVisitor } from './engine.ts';
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
  readonly #checkpoint: Checkpoint;
  readonly #learned: LearnedUse | undefined;
  readonly #engine: Engine;
  readonly #text: ModelText;
  readonly #defaults: GenerationDefaults;
  readonly #lock = new Lock();
  readonly #disposal = new AbortController();
  #disposed: Promise<void> | undefined;

  private constructor(
    checkpoint: Checkpoint,
    text: ModelText,
    engine: Engine,
    learned: LearnedUse | undefined,
  ) {
    this.#learned = learned;
    this.#checkpoint = checkpoint;
    this.name = checkpoint.name;
    this.config = checkpoint.config;
    this.#defaults = checkpoint.generationDefaults;
    this.#text = text;
    this.#engine = engine;
  }

  /**
   * Puts an opened checkpoint on a GPU; the model then owns both. `loadModel` is the usual way. The
   * checkpoint is closed as soon as nothing has to be read from it any more.
   *
   * @throws MowgliError as `loadModel`; the checkpoint and the GPU stay the caller's in that case
   */
  static async load(
    gpu: Gpu,
    checkpoint: Checkpoint,
    options: EngineOptions & { learned?: LearnedUse | undefined },
  ): Promise<Model> {
    const text = new ModelText(checkpoint);
    const engine = await Engine.load(gpu, checkpoint, options);
    try {
      if (engine.readsNoMore) await checkpoint.close();
    } catch (error) {
      await engine.dispose();
      throw error;
    }
    return new Model(checkpoint, text, engine, options.learned);
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
   * How the model writes calls of the `tools` that `renderChat` offers it, for `createToolCallParser`:
   * `xml` (Qwen3-Coder's tags) or `hermes` (JSON between `<tool_call>` tags). `undefined` when there is
   * no chat template, or none that teaches one of these.
   */
  get toolCallFormat(): ToolCallFormat | undefined {
    return this.#text.toolCallFormat;
  }

  /** Whether prompts can be given as text: the model came with a tokenizer. */
  get hasTokenizer(): boolean {
    return this.#text.vocabSize !== undefined;
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
        yield nothingGenerated(this.#engine, tokens.length);
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
    return this.#evaluate(options, (stoppable) =>
      options.every
        ? this.#engine.everyLogits(tokens, stoppable)
        : this.#engine.logits(tokens, stoppable),
    );
  }

  /**
   * Hands the logits, [vocab], of each token from the index `from` on to `visit`, one after the other,
   * for texts too long to keep them all. They are good during the call only.
   * @throws MowgliError `OPTION_INVALID`, `CONTEXT_EXCEEDED`, `ABORTED`, `DISPOSED`, and what `visit`
   * throws
   */
  eachLogits(
    tokens: readonly number[],
    visit: LogitsVisitor,
    options: EvaluateOptions & { from?: number } = {},
  ): Promise<void> {
    return this.#evaluate(options, (stoppable) =>
      this.#engine.eachLogits(tokens, visit, { ...options, ...stoppable }),
    );
  }

  /** Takes a turn with the engine, from the first position on. */
  async #evaluate<T>(
    options: EvaluateOptions,
    work: (stoppable: EvaluateOptions) => Promise<T>,
  ): Promise<T> {
    const release = await this.#turn(options.signal);
    try {
      this.#engine.rewind(0);
      return await work({ ...options, signal: this.#untilDisposal(options.signal) });
    } catch (error) {
      throw this.#disposed ? this.#wasDisposed() : error;
    } finally {
      release();
    }
  }

  /** What was needed of the experts since the model was loaded, and what it took to have them. */
  expertUsage(): ExpertUsage {
    return this.#engine.expertUse.now();
  }

  /** Milliseconds waited in each layer since the model was loaded: for routing, reads and uploads. */
  expertWaits(): readonly LayerWaits[] {
    return this.#engine.expertUse.layerWaits();
  }

  /** How often each expert of each layer was needed since the model was loaded: [layer][expert]. */
  expertCounts(): readonly Uint32Array[] {
    return this.config.sparseLayers.map((_, layer) => this.#engine.expertUse.counts(layer));
  }

  /**
   * Tells `tell` which experts each token is sent to, from now on, and of generated tokens also what
   * the routers of up to `depth` (0 to 3) later sparse layers would have chosen early.
   *
   * @returns what ends it
   */
  observeRouting(tell: (routing: Routing) => void, depth = 0): () => void {
    return this.#engine.observeRouting(tell, depth);
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
    this.#disposed ??= this.#free();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #free(): Promise<void> {
    await this.#engine.dispose();
    this.#engine.gpu.dispose();
    try {
      await this.#learned?.add(this.expertCounts(), this.config.numExperts);
    } catch {
      // What a run taught is lost, and nothing else: not worth failing for.
    }
    await this.#checkpoint.close();
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
