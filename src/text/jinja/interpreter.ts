/**
 * Evaluates a template's syntax tree with Python's and Jinja2's semantics (Jinja2 3.1, sandboxed
 * and set up as Hugging Face transformers does). The reference for every rule is Jinja2 itself:
 * `tests/data/conformance/jinja.json` holds what it printed.
 */
import { getAttribute, getItem, getSlice } from './access.ts';
import { asInt } from './arguments.ts';
import { applyFilter } from './filters.ts';
import { arithmetic } from './numbers.ts';
import { predicate } from './predicates.ts';
import type { CallNode, Expression, FilterNode, MacroNode, Node, Parameter } from './syntax.ts';
import {
  Attributes,
  Callable,
  compare,
  contains,
  type Dict,
  equals,
  Float,
  isNumeric,
  iterate,
  str,
  Tuple,
  toDouble,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/** Renders a parsed template. `variables` become the outermost scope. */
export function renderTemplate(nodes: readonly Node[], variables: Map<string, Value>): string {
  const out: string[] = [];
  run(nodes, new Scope(undefined, variables), out);
  return out.join('');
}

/**
 * Names in reach. Loop iterations, macros and block assignments each open a scope that ends with
 * them, so that a `set` inside a loop is forgotten; `if` opens none. Macros see the scope in which
 * they were written, never that of their caller.
 */
class Scope {
  readonly #parent: Scope | undefined;
  readonly #names: Map<string, Value>;

  constructor(parent: Scope | undefined, names = new Map<string, Value>()) {
    this.#parent = parent;
    this.#names = names;
  }

  get(name: string): Value {
    const value = this.#names.get(name);
    if (value !== undefined) return value;
    return this.#parent ? this.#parent.get(name) : new Undefined(`'${name}' is undefined`);
  }

  set(name: string, value: Value): void {
    this.#names.set(name, value);
  }
}

/** How a block ended before its end. */
type Jump = 'break' | 'continue' | undefined;

function run(nodes: readonly Node[], scope: Scope, out: string[]): Jump {
  for (const node of nodes) {
    const jump = runNode(node, scope, out);
    if (jump !== undefined) return jump;
  }
  return undefined;
}

function runNode(node: Node, scope: Scope, out: string[]): Jump {
  switch (node.type) {
    case 'Program':
      return run(node.body, scope, out);
    case 'Comment':
      return undefined;
    case 'Break':
      return 'break';
    case 'Continue':
      return 'continue';
    case 'If':
      return run(truthy(evaluate(node.test, scope)) ? node.body : node.alternate, scope, out);
    case 'For':
      return runFor(node, scope, out);
    case 'Set':
      runSet(node, scope);
      return undefined;
    case 'Macro':
      scope.set(node.name.value, macro(node, scope));
      return undefined;
    case 'CallStatement': {
      const { call, callerArgs, body } = node;
      const name = { type: 'Identifier', value: 'caller' } as const;
      const caller = macro({ type: 'Macro', name, args: callerArgs ?? [], body }, scope);
      out.push(str(evaluateCall(call, scope, caller)));
      return undefined;
    }
    case 'FilterStatement':
      out.push(str(filtered(capture(node.body, scope), node.filter, scope)));
      return undefined;
    default:
      out.push(str(evaluate(node, scope)));
      return undefined;
  }
}

/** Text that a block prints, in a scope of its own. */
function capture(body: readonly Node[], scope: Scope): string {
  const out: string[] = [];
  run(body, new Scope(scope), out);
  return out.join('');
}

function runSet(node: Extract<Node, { type: 'Set' }>, scope: Scope): void {
  if (node.value !== null) {
    assign(node.assignee, evaluate(node.value, scope), scope);
    return;
  }
  let target = node.assignee;
  const filters: FilterNode[] = [];
  while (target.type === 'FilterExpression') {
    filters.unshift(target.filter);
    target = target.operand;
  }
  let value: Value = capture(node.body, scope);
  for (const filter of filters) value = filtered(value, filter, scope);
  assign(target, value, scope);
}

function assign(target: Expression, value: Value, scope: Scope): void {
  switch (target.type) {
    case 'Identifier':
      scope.set(target.value, value);
      return;
    case 'TupleLiteral': {
      const items = iterate(value);
      if (items.length < target.value.length) {
        throw new Error(
          `not enough values to unpack (expected ${target.value.length}, got ${items.length})`,
        );
      }
      if (items.length > target.value.length) {
        throw new Error(`too many values to unpack (expected ${target.value.length})`);
      }
      target.value.forEach((part, i) => {
        assign(part, items[i]!, scope);
      });
      return;
    }
    case 'MemberExpression': {
      const object = evaluate(target.object, scope);
      if (!(object instanceof Attributes && object.assignable)) {
        throw new Error('cannot assign attribute on non-namespace object');
      }
      if (target.property.type === 'Identifier' && !target.computed) {
        object.fields.set(target.property.value, value);
        return;
      }
    }
  }
  throw new Error(`cannot assign to a ${target.type}`);
}

function runFor(node: Extract<Node, { type: 'For' }>, scope: Scope, out: string[]): Jump {
  // The parser gives `for x in items if test` as a selection from `items`.
  const { iterable } = node;
  const selects = iterable.type === 'SelectExpression';
  let items = iterate(evaluate(selects ? iterable.lhs : iterable, scope));
  if (selects) {
    items = items.filter((item) => {
      const inner = new Scope(scope);
      assign(node.loopvar, item, inner);
      return truthy(evaluate(iterable.test, inner));
    });
  }
  // Jinja2 runs the else block unless an iteration came to its end; break and continue do not count.
  let completed = false;
  let changed: readonly Value[] | undefined;
  for (let i = 0; i < items.length; i++) {
    const inner = new Scope(scope);
    inner.set(
      'loop',
      loopVariable(items, i, (values) => {
        const same = changed !== undefined && equals(values, [...changed]);
        changed = values;
        return !same;
      }),
    );
    assign(node.loopvar, items[i]!, inner);
    const jump = run(node.body, inner, out);
    if (jump === 'break') break;
    completed ||= jump === undefined;
  }
  if (!completed) return run(node.defaultBlock, new Scope(scope), out);
  return undefined;
}

function loopVariable(
  items: readonly Value[],
  i: number,
  changed: (values: Value[]) => boolean,
): Attributes {
  const beyond = (what: string) => new Undefined(`there is no ${what} item`);
  return new Attributes(
    'LoopContext',
    false,
    new Map<string, Value>([
      ['index', i + 1],
      ['index0', i],
      ['revindex', items.length - i],
      ['revindex0', items.length - i - 1],
      ['first', i === 0],
      ['last', i === items.length - 1],
      ['length', items.length],
      ['depth', 1],
      ['depth0', 0],
      ['previtem', i > 0 ? items[i - 1]! : beyond('previous')],
      ['nextitem', i + 1 < items.length ? items[i + 1]! : beyond('next')],
      [
        'cycle',
        new Callable('cycle', (values) => {
          if (values.length === 0) throw new Error('no items for cycling given');
          return values[i % values.length]!;
        }),
      ],
      ['changed', new Callable('changed', changed)],
    ]),
  );
}

function macro(node: MacroNode, scope: Scope): Callable {
  const name = node.name.value;
  const parameters = node.args.map(parameterOf);
  // Jinja2 collects surplus arguments only in macros that look at them.
  const takesPositional = mentions(node.body, 'varargs');
  const takesNamed = mentions(node.body, 'kwargs');
  return new Callable(name, (args, kwargs) => {
    const inner = new Scope(scope);
    const named = new Map(kwargs);
    if (args.length > parameters.length && !takesPositional) {
      throw new Error(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
    }
    const defaults: [string, Expression][] = [];
    parameters.forEach(({ name: parameter, value }, i) => {
      const given = i < args.length ? args[i] : named.get(parameter);
      if (i >= args.length) named.delete(parameter);
      if (given === undefined && value !== undefined) defaults.push([parameter, value]);
      const absent = () => new Undefined(`parameter '${parameter}' was not provided`);
      inner.set(parameter, given === undefined ? absent() : given);
    });
    const caller = named.get('caller');
    if (caller !== undefined) {
      named.delete('caller');
      inner.set('caller', caller);
    }
    if (takesNamed) inner.set('kwargs', named);
    else if (named.size > 0) {
      const [surplus] = named.keys();
      throw new Error(`macro '${name}' takes no keyword argument '${surplus}'`);
    }
    if (takesPositional) inner.set('varargs', new Tuple(args.slice(parameters.length)));
    for (const [parameter, value] of defaults) inner.set(parameter, evaluate(value, inner));
    const out: string[] = [];
    run(node.body, inner, out);
    return out.join('');
  });
}

function parameterOf(parameter: Parameter): { name: string; value?: Expression } {
  if (parameter.type === 'Identifier') return { name: parameter.value };
  return { name: parameter.key.value, value: parameter.value };
}

/** Whether a name is read anywhere below a node. */
function mentions(node: unknown, name: string): boolean {
  if (Array.isArray(node)) return node.some((child) => mentions(child, name));
  if (node instanceof Map) return mentions([...node.keys(), ...node.values()], name);
  if (typeof node !== 'object' || node === null) return false;
  const { type, value } = node as { type?: string; value?: unknown };
  if (type === 'Identifier' && value === name) return true;
  return Object.values(node).some((child) => mentions(child, name));
}

function evaluate(node: Expression, scope: Scope): Value {
  switch (node.type) {
    case 'StringLiteral':
    case 'IntegerLiteral':
      return node.value;
    case 'FloatLiteral':
      return new Float(node.value);
    case 'ArrayLiteral':
      return node.value.map((item) => evaluate(item, scope));
    case 'TupleLiteral':
      return new Tuple(node.value.map((item) => evaluate(item, scope)));
    case 'ObjectLiteral': {
      const dict: Dict = new Map();
      for (const [key, value] of node.value) dict.set(evaluate(key, scope), evaluate(value, scope));
      return dict;
    }
    case 'Identifier':
      return scope.get(node.value);
    case 'MemberExpression':
      return evaluateMember(node, scope);
    case 'CallExpression':
      return evaluateCall(node, scope);
    case 'FilterExpression':
      return filtered(evaluate(node.operand, scope), node.filter, scope);
    case 'TestExpression':
      return predicate(node.test.value)(evaluate(node.operand, scope)) !== node.negate;
    case 'Ternary':
      return evaluate(
        truthy(evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr,
        scope,
      );
    case 'SelectExpression':
      // Outside of a loop this is the conditional expression without `else`.
      if (truthy(evaluate(node.test, scope))) return evaluate(node.lhs, scope);
      return new Undefined('the inline if-expression evaluated to false and no else was given');
    case 'UnaryExpression':
      return evaluateUnary(node.operator.value, evaluate(node.argument, scope));
    case 'BinaryExpression':
      return evaluateBinary(node, scope);
    default:
      throw new Error(`${node.type} cannot stand here`);
  }
}

function evaluateMember(
  node: Extract<Expression, { type: 'MemberExpression' }>,
  scope: Scope,
): Value {
  const object = evaluate(node.object, scope);
  const { property } = node;
  if (property.type === 'SliceExpression') {
    const bound = (part: Expression | undefined) => {
      const value = part === undefined ? null : evaluate(part, scope);
      return value === null ? undefined : asInt(value, 0);
    };
    return getSlice(object, bound(property.start), bound(property.stop), bound(property.step));
  }
  if (!node.computed && property.type === 'Identifier') return getAttribute(object, property.value);
  return getItem(object, evaluate(property, scope));
}

function evaluateCall(node: CallNode, scope: Scope, caller?: Callable): Value {
  const callee = evaluate(node.callee, scope);
  const { args, kwargs } = evaluateArguments(node.args, scope);
  if (caller !== undefined) kwargs.set('caller', caller);
  if (callee instanceof Callable) return callee.call(args, kwargs);
  if (callee instanceof Undefined) return callee.fail();
  throw new Error(`'${typeName(callee)}' object is not callable`);
}

function evaluateArguments(nodes: readonly Expression[], scope: Scope) {
  const args: Value[] = [];
  const kwargs = new Map<string, Value>();
  for (const node of nodes) {
    if (node.type === 'KeywordArgumentExpression') {
      kwargs.set(node.key.value, evaluate(node.value, scope));
    } else if (node.type === 'SpreadExpression') {
      args.push(...iterate(evaluate(node.argument, scope)));
    } else if (node.type === 'KeywordSpreadExpression') {
      const dict = evaluate(node.argument, scope);
      if (!(dict instanceof Map)) throw new Error('argument after ** must be a mapping');
      for (const [key, value] of dict) kwargs.set(str(key), value);
    } else {
      args.push(evaluate(node, scope));
    }
  }
  return { args, kwargs };
}

function filtered(value: Value, filter: FilterNode, scope: Scope): Value {
  if (filter.type === 'Identifier') return applyFilter(filter.value, value, [], new Map());
  if (filter.callee.type !== 'Identifier') throw new Error('a filter must be called by its name');
  const { args, kwargs } = evaluateArguments(filter.args, scope);
  return applyFilter(filter.callee.value, value, args, kwargs);
}

function evaluateUnary(operator: string, value: Value): Value {
  if (operator === 'not') return !truthy(value);
  if (value instanceof Undefined) value.fail();
  if (!isNumeric(value))
    throw new Error(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  if (operator === '+') return typeof value === 'boolean' ? Number(value) : value;
  if (value instanceof Float) return new Float(-value.value);
  return arithmetic('-', 0, value)!;
}

function evaluateBinary(
  node: Extract<Expression, { type: 'BinaryExpression' }>,
  scope: Scope,
): Value {
  const operator = node.operator.value;
  const left = evaluate(node.left, scope);
  if (operator === 'and') return truthy(left) ? evaluate(node.right, scope) : left;
  if (operator === 'or') return truthy(left) ? left : evaluate(node.right, scope);
  const right = evaluate(node.right, scope);
  switch (operator) {
    case '~':
      return str(left) + str(right);
    case '==':
      return equals(left, right);
    case '!=':
      return !equals(left, right);
    case 'in':
      return contains(right, left);
    case 'not in':
      return !contains(right, left);
    case '<':
    case '<=':
    case '>':
    case '>=':
      return ordered(operator, left, right);
    default:
      return combine(operator, left, right);
  }
}

function ordered(operator: '<' | '<=' | '>' | '>=', left: Value, right: Value): boolean {
  const sign = compare(left, right, operator);
  switch (operator) {
    case '<':
      return sign < 0;
    case '<=':
      return sign <= 0;
    case '>':
      return sign > 0;
    case '>=':
      return sign >= 0;
  }
}

/** The arithmetic operators, which Python also gives to sequences. */
function combine(operator: string, left: Value, right: Value): Value {
  if (left instanceof Undefined) left.fail();
  if (right instanceof Undefined) right.fail();
  const number = arithmetic(operator, left, right);
  if (number !== undefined) return number;
  if (operator === '+') {
    if (typeof left === 'string') {
      if (typeof right === 'string') return left + right;
      throw new Error(`can only concatenate str (not "${typeName(right)}") to str`);
    }
    if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right];
    if (left instanceof Tuple && right instanceof Tuple) {
      return new Tuple([...left.items, ...right.items]);
    }
  }
  if (operator === '*') {
    const [sequence, times] = isNumeric(left) ? [right, left] : [left, right];
    if (isNumeric(times) && !(times instanceof Float)) {
      const n = Math.max(0, toDouble(times));
      if (typeof sequence === 'string') return sequence.repeat(n);
      if (Array.isArray(sequence)) return Array.from({ length: n }, () => sequence).flat(1);
    }
  }
  throw new Error(
    `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  );
}
