import type { ToolCallFormat } from '../text/tool-calls/parser.ts';

/**
 * What the text of an answer must be: anything, a JSON object, or JSON that a schema describes.
 * A schema that could not be obeyed exactly is refused.
 */
export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json_object' }
  | {
      readonly type: 'json_schema';
      /** JSON Schema, draft 7 to 2020-12. */
      readonly schema: object | boolean;
      /** What messages call the schema. */
      readonly name?: string;
    };

/**
 * Which tools the model must call: whether it calls any is its choice (`auto`), none, at least one
 * (`required`), or exactly this one, once.
 */
export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string };

/** What is asked of one answer. */
export interface ConstraintRequest {
  /** Default: text. */
  readonly responseFormat?: ResponseFormat | undefined;
  /** Default: `auto` with tools, `none` without. */
  readonly toolChoice?: ToolChoice | undefined;
  /** The functions that the model was offered, as the chat template got them. */
  readonly tools?: readonly unknown[] | null | undefined;
  /** How the model writes calls. */
  readonly toolCallFormat?: ToolCallFormat | undefined;
  /** Whether one turn may hold several calls. Default true. */
  readonly parallelToolCalls?: boolean | undefined;
  /** The prompt ended with `<think>`, so that the answer begins with reasoning. Default false. */
  readonly startsInReasoning?: boolean | undefined;
}
