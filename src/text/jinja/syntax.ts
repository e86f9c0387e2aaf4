/**
 * Template source to syntax tree. The lexer and parser are those of `@huggingface/jinja`; the tree
 * is evaluated by our own `interpreter.ts`, because that package evaluates with JavaScript's
 * semantics and a chat template is written for Python's (see `README.md` beside this file).
 */
import { parse, tokenize } from '@huggingface/jinja';

/** The part of the package's syntax tree that the interpreter understands. */
export type Node = Statement | Expression;

export type Statement =
  | { type: 'Program'; body: Node[] }
  | { type: 'If'; test: Expression; body: Node[]; alternate: Node[] }
  | { type: 'For'; loopvar: Expression; iterable: Expression; body: Node[]; defaultBlock: Node[] }
  | { type: 'Set'; assignee: Expression; value: Expression | null; body: Node[] }
  | MacroNode
  | { type: 'CallStatement'; call: CallNode; callerArgs: Parameter[] | null; body: Node[] }
  | { type: 'FilterStatement'; filter: FilterNode; body: Node[] }
  | { type: 'Break' }
  | { type: 'Continue' }
  | { type: 'Comment'; value: string };

export type Expression =
  | IdentifierNode
  | CallNode
  | { type: 'IntegerLiteral'; value: number }
  | { type: 'FloatLiteral'; value: number }
  | { type: 'StringLiteral'; value: string }
  | { type: 'ArrayLiteral'; value: Expression[] }
  | { type: 'TupleLiteral'; value: Expression[] }
  | { type: 'ObjectLiteral'; value: Map<Expression, Expression> }
  | { type: 'MemberExpression'; object: Expression; property: Expression; computed: boolean }
  | { type: 'SliceExpression'; start?: Expression; stop?: Expression; step?: Expression }
  | { type: 'BinaryExpression'; operator: { value: string }; left: Expression; right: Expression }
  | { type: 'UnaryExpression'; operator: { value: string }; argument: Expression }
  | { type: 'FilterExpression'; operand: Expression; filter: FilterNode }
  | { type: 'TestExpression'; operand: Expression; negate: boolean; test: IdentifierNode }
  | { type: 'SelectExpression'; lhs: Expression; test: Expression }
  | { type: 'Ternary'; condition: Expression; trueExpr: Expression; falseExpr: Expression }
  | KeywordNode
  | { type: 'SpreadExpression'; argument: Expression }
  | { type: 'KeywordSpreadExpression'; argument: Expression };

export type IdentifierNode = { type: 'Identifier'; value: string };
export type CallNode = { type: 'CallExpression'; callee: Expression; args: Expression[] };
export type FilterNode = IdentifierNode | CallNode;
export type KeywordNode = {
  type: 'KeywordArgumentExpression';
  key: IdentifierNode;
  value: Expression;
};
export type Parameter = IdentifierNode | KeywordNode;
export type MacroNode = { type: 'Macro'; name: IdentifierNode; args: Parameter[]; body: Node[] };

/**
 * Parses a template with the settings of Hugging Face transformers (`trim_blocks`,
 * `lstrip_blocks`, loop controls).
 * @throws Error, with the parser's message, when the source is not a template.
 */
export function parseTemplate(source: string): readonly Node[] {
  // Jinja2 reads every line ending as "\n" (its newline_sequence) before anything else.
  const normalized = source.replace(/\r\n?/g, '\n');
  const tokens = tokenize(normalized, { trim_blocks: true, lstrip_blocks: true });
  return (parse(tokens) as unknown as { body: Node[] }).body;
}
