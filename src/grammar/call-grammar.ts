import type { Expression } from './expression.ts';
import type { Tool } from './tools.ts';

/** How one format writes calls. */
export interface CallGrammar {
  /** What calls begin with. */
  readonly openers: readonly string[];
  /**
   * What does not occur in a text without calls: the openers, and whatever else is read as a call, at
   * the beginning of a line at least.
   */
  readonly marks: Expression;
  /** A call. `loose`: with whatever arguments. `behind`: after which opener. */
  call(tool: Tool, options?: { readonly loose?: boolean; readonly behind?: string }): Expression;
}
