import { MowgliError } from '../errors.ts';
import type { ExpertUsage, LayerWaits } from '../experts/expert-use.ts';
import type { LearnedUse } from '../experts/learned-use.ts';
import type { ByteSource } from '../files/byte-source.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import { fingerprint } from '../files/fingerprint.ts';
import type { GenerationDefaults } from '../files/generation-defaults.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Routing } from '../model/forward-pass.ts';
import type { ToolCallFormat } from '../text/tool-calls/parser.ts';
import type { ChatOptions, ChatSession } from './chat-session.ts';
import { Conversations } from './conversations.ts';
import { Engine, type EvaluateOptions, type LogitsVisitor } from './engine.ts';
import type { EngineOptions } from './engine-parts.ts';
import { type EngineTurn, EngineTurns } from './engine-turns.ts';
import { PrefixCache, type PrefixCacheUse } from './prefix-cache.ts';
import type { PromptEncoder, RespondOptions, RespondPart } from './respond.ts';
import { nothingGenerated, type RunContext, run } from './run.ts';
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

export interface ModelOptions extends EngineOptions {
  learned?: LearnedUse | undefined;
  /** Bytes of host memory for the keys and values of earlier prompts. Default 1 GiB. */
  prefixCache?: number | undefined;
}

const defaultPrefixCache = 2 ** 30;

/** A loaded model. Made by `loadModel`; free it with `dispose` or `await using`. */
export class Model implements AsyncDisposable {
  /** What it was loaded from. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly #checkpoint: Checkpoint;
  readonly #fingerprint: string;
  readonly #learned: LearnedUse | undefined;
  readonly #engine: Engine;
  readonly #prefixes: PrefixCache;
  readonly #text: ModelText;
  readonly #defaults: GenerationDefaults;
  readonly #turns: EngineTurns;
  #conversationsIfAny: Conversations | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(
    checkpoint: Checkpoint,
    text: ModelText,
    engine: Engine,
    fingerprint: string,
    { learned, prefixCache = defaultPrefixCache }: ModelOptions,
  ) {
    this.#fingerprint = fingerprint;
    this.#learned = learned;
    this.#prefixes = new PrefixCache(engine, prefixCache);
    this.#checkpoint = checkpoint;
    this.name = checkpoint.name;
    this.config = checkpoint.config;
    this.#defaults = checkpoint.generationDefaults;
    this.#text = text;
    this.#engine = engine;
    this.#turns = new EngineTurns(checkpoint.name);
  }

  /**
   * Puts an opened checkpoint on a GPU; the model then owns both. `loadModel` is the usual way. The
   * checkpoint is closed as soon as nothing has to be read from it any more.
   *
   * @throws MowgliError as `loadModel`; the checkpoint and the GPU stay the caller's in that case
   */
  static async load(gpu: Gpu, checkpoint: Checkpoint, options: ModelOptions): Promise<Model> {
    const text = new ModelText(checkpoint);
    const engine = await Engine.load(gpu, checkpoint, options);
    try {
      const print = await fingerprint(checkpoint);
      if (engine.readsNoMore) await checkpoint.close();
      return new Model(checkpoint, text, engine, print, options);
    } catch (error) {
      await engine.dispose();
      throw error;
    }
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

  /** Why nothing can be generated any more: the device failed, or the model was disposed of. */
  get failure(): MowgliError | undefined {
    return this.#turns.refusal ?? this.#engine.gpu.failure;
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
   * Token ids to text; `skipSpecial` leaves control tokens out, as generated text does.
   * @throws MowgliError `TOKENIZER_INVALID` when the model has no tokenizer, `OPTION_INVALID` for
   * an id it does not know
   */
  detokenize(ids: readonly number[], options: { skipSpecial?: boolean } = {}): string {
    return this.#text.tokenizer.decode(ids, options);
  }

  /**
   * The bytes that a token stands for; they need not be whole characters.
   * @throws MowgliError as `detokenize`
   */
  tokenBytes(id: number): Uint8Array {
    return this.#text.tokenizer.tokenBytes(id);
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
  generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<GeneratePart> {
    return this.#generate((signal) => this.#promptTokens(prompt, signal), options);
  }

  async *#generate(encode: PromptEncoder, options: GenerateOptions): AsyncGenerator<GeneratePart> {
    let tokens: readonly number[] = [];
    let turn: EngineTurn;
    try {
      tokens = await encode(options.signal);
      turn = await this.#turns.begin(options.signal);
    } catch (error) {
      if (error instanceof MowgliError && error.code === 'ABORTED') {
        yield nothingGenerated(this.#engine, tokens.length);
      }
      throw error;
    }
    try {
      yield* run(this.#runContext(options), tokens, { ...options, signal: turn.signal });
    } catch (error) {
      throw this.#turns.refusal ?? error;
    } finally {
      turn.end();
    }
  }

  /**
   * Answers a conversation: messages go through the chat template with the tools, and what the model
   * says is taken apart into text, reasoning and calls of tools, as it comes; last comes one `end`
   * part, with the message to go on with. When `signal` fires it still comes, and then `ABORTED` is
   * thrown. Of answers that this model gave, a later prompt with the same conversation has the very
   * tokens.
   *
   * @throws MowgliError as `generate`, and `OPTION_INVALID` for tools, a choice of them or a format
   * that this model or its grammar cannot give
   */
  async *respond(
    messages: readonly ChatMessage[],
    options: RespondOptions = {},
  ): AsyncGenerator<RespondPart> {
    yield* this.#conversations.respond(messages, options);
  }

  /**
   * A conversation that keeps its messages, and evaluates only what is new in each turn. `options` are
   * the defaults of its answers.
   * @throws MowgliError `TEMPLATE_FAILED`, `TOKENIZER_INVALID` when the model came without these,
   * `OPTION_INVALID` for tools that it cannot be told of
   */
  chat(options: ChatOptions = {}): ChatSession {
    if (!this.hasChatTemplate) this.renderChat([]); // It says what is missing.
    return this.#conversations.chat(options);
  }

  /**
   * Goes on with a conversation that `ChatSession.write` wrote, with its system message and tools, here
   * or in another process: the next answer evaluates only what is new. `options` are the defaults of
   * its answers.
   *
   * @throws MowgliError `FILE_INVALID`, `FILE_TRUNCATED`, `READ_FAILED` for the file, `OPTION_INVALID`
   * when it is of another model or kvType, `CONTEXT_EXCEEDED`, `ABORTED`, `DISPOSED`
   */
  async readSession(
    source: ByteSource,
    options: Omit<ChatOptions, 'system' | 'messages' | 'tools'> & { signal?: AbortSignal } = {},
  ): Promise<ChatSession> {
    return this.#conversations.readSession(source, options);
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
  #evaluate<T>(
    options: EvaluateOptions,
    work: (stoppable: EvaluateOptions) => Promise<T>,
  ): Promise<T> {
    return this.#turns.take(options.signal, async (signal) => {
      await this.#prefixes.vacate(signal);
      const result = await work({ ...options, signal });
      this.#engine.rewind(0); // Not worth keeping.
      return result;
    });
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

  /** What was used again of earlier prompts since the model was loaded, and what is kept of them. */
  prefixCacheUse(): PrefixCacheUse {
    return this.#prefixes.use();
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
    this.#turns.dispose();
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
    this.#prefixes.clear();
    this.#engine.gpu.dispose();
    try {
      await this.#learned?.add(this.expertCounts(), this.config.numExperts);
    } catch {
      // What a run taught is lost, and nothing else: not worth failing for.
    }
    await this.#checkpoint.close();
  }

  /** Made when it is asked for: a model without a tokenizer has none. */
  get #conversations(): Conversations {
    this.#conversationsIfAny ??= new Conversations({
      name: this.name,
      text: this.#text,
      endTokenIds: this.config.eosTokenIds,
      fingerprint: this.#fingerprint,
      engine: this.#engine,
      prefixes: this.#prefixes,
      turns: this.#turns,
      generate: (encode, options) => this.#generate(encode, options),
    });
    return this.#conversationsIfAny;
  }

  #runContext({ reuse = true }: GenerateOptions): RunContext {
    const engine = this.#engine;
    const prepare = async (prompt: readonly number[], signal: AbortSignal) => {
      if (reuse) return this.#prefixes.prepare(prompt, signal);
      engine.rewind(0);
      return 0;
    };
    const [text, defaults] = [this.#text, this.#defaults];
    return { engine, text, defaults, prepare };
  }

  async #promptTokens(prompt: Prompt, signal?: AbortSignal): Promise<readonly number[]> {
    const tokenize = (text: string) => this.#text.tokenizer.encodeInSlices(text, { signal });
    if (typeof prompt === 'string') return tokenize(prompt);
    if (typeof prompt === 'object' && prompt !== null) {
      if (!('tokens' in prompt)) {
        if (Array.isArray(prompt)) return tokenize(this.renderChat(prompt));
      } else if (Array.isArray(prompt.tokens)) return prompt.tokens;
    }
    throw new MowgliError(
      'OPTION_INVALID',
      'the prompt is neither text, nor a list of messages, nor { tokens: [...] }; pass one of these',
    );
  }
}
