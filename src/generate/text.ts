import { MowgliError } from '../errors.ts';
import type { Checkpoint } from '../files/checkpoint.ts';
import { ChatTemplate } from '../text/chat-template.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { type ToolCallFormat, toolCallFormat } from '../text/tool-calls/parser.ts';
import type { ChatMessage } from './types.ts';

/** A model's tokenizer and chat template. A model without them still evaluates token ids. */
export class ModelText {
  readonly #tokenizer: Tokenizer | undefined;
  readonly #template: ChatTemplate | undefined;
  readonly #name: string;

  /** @throws MowgliError `TOKENIZER_INVALID`, `TEMPLATE_FAILED` when a file is there and damaged */
  constructor(checkpoint: Checkpoint) {
    const { name, tokenizerJson, tokenizerConfig, chatTemplateFile, config } = checkpoint;
    this.#name = name;
    this.#tokenizer =
      tokenizerJson === undefined
        ? undefined
        : new Tokenizer(tokenizerJson, tokenizerConfig, `${name}/tokenizer.json`);
    if (this.#tokenizer && this.#tokenizer.vocabSize > config.vocabSize) {
      throw new MowgliError(
        'TOKENIZER_INVALID',
        `${name}/tokenizer.json has ${this.#tokenizer.vocabSize} tokens and the model ` +
          `${config.vocabSize}; take both from the same repository`,
      );
    }
    this.#template = ChatTemplate.fromTokenizerConfig(tokenizerConfig, chatTemplateFile);
  }

  /** @throws MowgliError `TOKENIZER_INVALID` when the model has none */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer) return this.#tokenizer;
    throw new MowgliError(
      'TOKENIZER_INVALID',
      `${this.#name} has no tokenizer.json; add the file from the model's repository, or give token ids`,
    );
  }

  /** Real tokens; rows of the vocabulary from here on are padding. `undefined` without a tokenizer. */
  get vocabSize(): number | undefined {
    return this.#tokenizer?.vocabSize;
  }

  /** Whether conversations can be rendered. */
  get hasTemplate(): boolean {
    return this.#template !== undefined;
  }

  /** How the template teaches the model to write calls; `undefined` when it teaches no known form. */
  get toolCallFormat(): ToolCallFormat | undefined {
    return this.#template && toolCallFormat(this.#template.source);
  }

  /** The prompt of a conversation, ready for the assistant's answer. */
  render(messages: readonly ChatMessage[], options: RenderChatOptions = {}): string {
    if (this.#template) return this.#template.render(messages, options);
    throw new MowgliError(
      'TEMPLATE_FAILED',
      `${this.#name} has no chat template (in tokenizer_config.json or chat_template.jinja); ` +
        'give the prompt as text instead of messages',
    );
  }
}

/** Options of `Model.renderChat`. */
export interface RenderChatOptions {
  /** Function definitions, OpenAI style, for the template. */
  readonly tools?: readonly unknown[];
  /** Open the assistant's turn at the end. Default true. */
  readonly addGenerationPrompt?: boolean;
}
