/** Shader sources by path below `shaders/`, without extension: `matvec`, `quant/bf16`. */
export type ShaderLibrary = ReadonlyMap<string, string>;

/**
 * Compile-time choices of a shader. Numbers become `const NAME: u32`; numbers and booleans can be
 * tested by `#if`; strings fill the `{NAME}` of an include.
 */
export type ShaderDefines = Readonly<Record<string, number | boolean | string>>;

/**
 * Makes one WGSL module out of a shader file. WGSL has neither includes nor conditional
 * compilation nor unrolled loops, so lines that begin with `#` are ours:
 *
 *     #include "quant/{FORMAT}"        the file's text, once
 *     #define UNIT 4                   for the rest of the module, as if it were among the defines
 *     #if SUBGROUPS && TOKENS > 1      with #elif EXPR, #else, #endif
 *     #for t in 0..TOKENS              the body once for each t, with $t and $(t * 2 + 1) replaced (one-letter names)
 *     #endfor
 *
 * Expressions are integer arithmetic over defines and loop variables; an unknown name counts as 0.
 * Loops are unrolled in the text because the accumulators of a register tile must be separate
 * variables: an indexed array may end up in memory.
 */
export function composeShader(
  library: ShaderLibrary,
  name: string,
  defines: ShaderDefines,
): string {
  const scope = new Map<string, Value>();
  for (const [key, value] of Object.entries(defines)) {
    scope.set(key, typeof value === 'string' ? value : Number(value));
  }
  const body = expand(library, sourceLines(library, name), scope, new Set([name]));
  const isDirective = (line: string) => /^\s*(enable|requires|diagnostic)\b/.test(line);
  const directives = body.filter(isDirective);
  const rest = body.filter((line) => !isDirective(line));
  const constants = Object.entries(defines)
    .filter(([, value]) => typeof value === 'number')
    .map(([key, value]) => `const ${key}: u32 = ${value}u;`);
  // WGSL wants every `enable` before the first declaration, wherever an include put it.
  return [...new Set(directives), ...constants, ...rest].join('\n');
}

function sourceLines(library: ShaderLibrary, name: string): string[] {
  const source = library.get(name);
  if (source === undefined) throw new Error(`no shader "${name}" in the library`);
  return source.split('\n');
}

type Value = number | string;
type Scope = Map<string, Value>;

function expand(
  library: ShaderLibrary,
  lines: readonly string[],
  scope: Scope,
  included: Set<string>,
): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const directive = /^\s*#(\w+)\s*(.*?)\s*$/.exec(lines[i]);
    if (!directive) {
      out.push(substitute(lines[i], scope));
      continue;
    }
    const [, word, rest] = directive;
    if (word === 'include') {
      const file = rest
        .replaceAll('"', '')
        .replace(/\{(\w+)\}/g, (_, name) => String(scope.get(name) ?? `{${name}}`));
      if (!included.has(file)) {
        included.add(file);
        out.push(...expand(library, sourceLines(library, file), scope, included));
      }
    } else if (word === 'define') {
      const [, name, expression] = /^(\w+)\s+(.+)$/.exec(rest) ?? [];
      if (!name) throw new Error(`malformed shader line: ${lines[i]}`);
      const value = evaluate(expression, scope);
      scope.set(name, value);
      out.push(`const ${name}: u32 = ${value}u;`);
    } else if (word === 'if') {
      const { branches, end } = conditional(lines, i);
      const taken = branches.find((branch) => evaluate(branch.condition, scope) !== 0);
      if (taken) out.push(...expand(library, taken.body, scope, included));
      i = end;
    } else if (word === 'for') {
      const loop = /^(\w+) in (.+?)\.\.(.+)$/.exec(rest);
      if (!loop) throw new Error(`malformed shader line: ${lines[i]}`);
      const end = matching(lines, i, 'for', 'endfor');
      const body = lines.slice(i + 1, end);
      for (let v = evaluate(loop[2], scope); v < evaluate(loop[3], scope); v++) {
        out.push(...expand(library, body, new Map(scope).set(loop[1], v), included));
      }
      i = end;
    } else {
      throw new Error(`unexpected shader directive: ${lines[i]}`);
    }
  }
  return out;
}

/** Index of the line that closes the block opened at `start`. */
function matching(lines: readonly string[], start: number, open: string, close: string): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const word = /^\s*#(\w+)/.exec(lines[i])?.[1];
    if (word === open) depth++;
    if (word === close && --depth === 0) return i;
  }
  throw new Error(`no #${close} for: ${lines[start]}`);
}

function conditional(lines: readonly string[], start: number) {
  const end = matching(lines, start, 'if', 'endif');
  const branches: { condition: string; body: string[] }[] = [];
  let depth = 0;
  for (let i = start; i < end; i++) {
    const [, word, rest] = /^\s*#(\w+)\s*(.*?)\s*$/.exec(lines[i]) ?? [];
    const opens = word === 'if';
    if (opens) depth++;
    if (depth === 1 && (opens || word === 'elif' || word === 'else')) {
      branches.push({ condition: word === 'else' ? '1' : rest, body: [] });
    } else {
      branches.at(-1)!.body.push(lines[i]);
    }
    if (word === 'endif') depth--;
  }
  return { branches, end };
}

/** Replaces `$t` (one letter) and `$(expression)`. */
function substitute(line: string, scope: Scope): string {
  let out = '';
  let at = 0;
  for (let dollar = line.indexOf('$'); dollar >= 0; dollar = line.indexOf('$', at)) {
    let end = dollar + 2;
    if (line[dollar + 1] === '(') {
      for (let depth = 1; depth > 0 && end < line.length; end++) {
        if (line[end] === '(') depth++;
        if (line[end] === ')') depth--;
      }
    }
    out += line.slice(at, dollar) + evaluate(line.slice(dollar + 1, end), scope);
    at = end;
  }
  return out + line.slice(at);
}

const precedence: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
];

/** Integer expressions over names; no `eval`, which content security policies forbid. */
function evaluate(expression: string, scope: Scope): number {
  const tokens = expression.match(/\d+|[A-Za-z_]\w*|&&|\|\||[=!<>]=|[-+*/%()<>!]/g) ?? [];
  let at = 0;
  const binary = (level: number): number => {
    if (level === precedence.length) return unary();
    let left = binary(level + 1);
    while (precedence[level].includes(tokens[at])) {
      left = apply(tokens[at++], left, binary(level + 1));
    }
    return left;
  };
  const unary = (): number => {
    const token = tokens[at++];
    if (token === '!') return unary() === 0 ? 1 : 0;
    if (token === '-') return -unary();
    if (token === '(') {
      const value = binary(0);
      at++;
      return value;
    }
    if (token === undefined) throw new Error(`malformed shader expression: ${expression}`);
    return /^\d/.test(token) ? Number(token) : Number(scope.get(token) ?? 0);
  };
  const value = binary(0);
  if (at !== tokens.length) throw new Error(`malformed shader expression: ${expression}`);
  return value;
}

function apply(operator: string, a: number, b: number): number {
  switch (operator) {
    case '||':
      return a || b ? 1 : 0;
    case '&&':
      return a && b ? 1 : 0;
    case '==':
      return Number(a === b);
    case '!=':
      return Number(a !== b);
    case '<=':
      return Number(a <= b);
    case '>=':
      return Number(a >= b);
    case '<':
      return Number(a < b);
    case '>':
      return Number(a > b);
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return Math.trunc(a / b);
    default:
      return a % b;
  }
}
