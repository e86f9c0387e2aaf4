import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { leastTokens, randomWalk } from '../../tests/constrained-walk.ts';
import { formatChecks, RandomSchemas } from '../../tests/random-schemas.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { parseTurn } from '../text/tool-calls/parser.ts';
import { Grammars } from './grammars.ts';
import type { ConstraintRequest } from './request.ts';

const tokenizer = Tokenizer.parse(readFileSync('models/tiny-coder/tokenizer.json', 'utf8'));
const endTokens = [tokenizer.idOf('<|im_end|>')!];
const grammars = new Grammars(tokenizer, endTokens);
const ajv = new Ajv2020({ strict: false, formats: formatChecks, allowUnionTypes: true });
const formats = ['xml', 'hermes'] as const;

const tool = (name: string, parameters?: unknown, strict?: boolean) => ({
  type: 'function',
  function: { name, description: 'does things', parameters, ...(strict && { strict }) },
});

/** A turn that random tokens make. */
function turnOf(request: ConstraintRequest, random: Random, tokens: number) {
  const constraint = grammars.constraint(request)!;
  const ids = randomWalk(constraint, tokenizer, endTokens, random, tokens);
  const text = tokenizer.decode(ids);
  const { toolCallFormat: format, tools = [], startsInReasoning = false } = request;
  const finishReason = ids.length < tokens ? 'stop' : 'length';
  return { text, turn: parseTurn(text, { format, tools, startsInReasoning, finishReason }) };
}

/** Whether a whole text is allowed, and the turn may end behind it. */
function accepts(request: ConstraintRequest, text: string): boolean {
  const constraint = grammars.constraint(request)!;
  for (const id of tokenizer.encode(text)) {
    const words = constraint.allowed(5000)!;
    if (!(words[id >> 5]! & (1 << (id & 31)))) return false;
    constraint.accept(id);
  }
  const words = constraint.allowed(5000)!;
  return (words[endTokens[0]! >> 5]! & (1 << (endTokens[0]! & 31))) !== 0;
}

describe.each(formats)('%s', (format) => {
  test('random tools: calls that must be made are whole, and their arguments validate', () => {
    const random = new Random(`tools, ${format}`);
    const schemas = new RandomSchemas(random);
    for (let run = 0; run < 50; run++) {
      const parameters = [schemas.root('object').schema, schemas.root('object').schema];
      const tools = parameters.map((schema, i) => tool(`tool_${i}`, schema));
      const validators = parameters.map((schema) => ajv.compile(schema));
      const named = random.below(2) === 0;
      const request: ConstraintRequest = {
        tools,
        toolCallFormat: format,
        toolChoice: named ? { name: 'tool_1' } : 'required',
        parallelToolCalls: random.below(2) === 0,
        startsInReasoning: random.below(4) === 0,
      };
      const least = leastTokens(grammars.constraint(request)!);
      for (const tokens of [least, least + random.below(30), 200]) {
        if (tokens < least) continue;
        const { text, turn } = turnOf(request, random, tokens);
        const where = `seed ${baseSeed}, run ${run}, ${tokens} tokens: ${text}\n${JSON.stringify(request)}`;
        expect(turn.content, where).toBe('');
        expect(turn.incompleteCalls, where).toEqual([]);
        expect(turn.toolCalls.length, where).toBeGreaterThan(0);
        if (named || !request.parallelToolCalls) expect(turn.toolCalls, where).toHaveLength(1);
        for (const call of turn.toolCalls) {
          const i = named ? 1 : tools.findIndex((x) => x.function.name === call.name);
          expect(call.name, where).toBe(`tool_${i}`);
          const validate = validators[i]!;
          const valid = validate(JSON.parse(call.arguments));
          expect(valid, `${where}\n${ajv.errorsText(validate.errors)}`).toBe(true);
        }
      }
    }
  });

  test('strict tools are obeyed where the model may call them, others may be called as they like', () => {
    const random = new Random(`strict, ${format}`);
    const schemas = new RandomSchemas(random);
    const strict = schemas.root('object').schema;
    const tools = [
      tool('exact', strict, true),
      tool('free', { properties: { n: { type: 'integer' } } }),
    ];
    const validate = ajv.compile(strict);
    const request: ConstraintRequest = { tools, toolCallFormat: format };
    expect(accepts(request, 'Just a text.')).toBe(true);
    const constraint = () => grammars.constraint(request)!;
    expect(leastTokens(constraint())).toBe(1);
    for (let run = 0; run < 30; run++) {
      const opening = ['', 'Let me see.\n', 'a < b\n'][random.below(3)]!;
      const name = ['exact', 'free'][random.below(2)]!;
      const begun =
        format === 'hermes'
          ? `${opening}<tool_call>\n{"name": "${name}"`
          : `${opening}${random.below(2) === 0 ? '<tool_call>\n' : ''}<function=${name}>\n`;
      const walked = constraint();
      for (const id of tokenizer.encode(begun)) walked.accept(id);
      const rest = tokenizer.decode(randomWalk(walked, tokenizer, endTokens, random, 150));
      const turn = parseTurn(begun + rest, { format, tools });
      const where = `seed ${baseSeed}, run ${run}: ${begun + rest}`;
      expect(turn.content, where).toBe(opening.trimEnd());
      expect(turn.incompleteCalls, where).toEqual([]);
      expect(turn.toolCalls[0]!.name, where).toBe(name);
      for (const call of turn.toolCalls) {
        if (call.name === 'exact') expect(validate(JSON.parse(call.arguments)), where).toBe(true);
      }
    }
  });

  test.each<[string, unknown]>([
    ['a keyword of another draft', { minimum: 0, exclusiveMinimum: true }],
    ['conditions', { if: { type: 'string' }, else: { minimum: 2 } }],
    ['names by patterns', { type: 'object', patternProperties: { '^x': {} } }],
    ['lookahead', { type: 'string', pattern: '(?=a)b' }],
    ['no such type', { type: 'any' }],
    ['a schema elsewhere', { $ref: 'https://example.com/schema.json' }],
    ['no value at all', false],
  ])('%s: the tool is called all the same, unless it is strict', (_, schema) => {
    const parameters = { properties: { n: schema }, required: ['n'] };
    const exact = tool('exact', { properties: { i: { type: 'integer' } }, required: ['i'] });
    const request = { toolCallFormat: format, toolChoice: 'required' } as const;
    expect(() =>
      grammars.constraint({ ...request, tools: [exact, tool('f', parameters, true)] }),
    ).toThrow('tools[1] ("f"), parameters: ');
    const tools = [exact, tool('f', parameters)];
    const random = new Random(`loose, ${format}`);
    const called = new Set<string>();
    for (let run = 0; run < 12; run++) {
      const { text, turn } = turnOf({ ...request, tools }, random, 150);
      expect(turn.content, text).toBe('');
      expect(turn.incompleteCalls, text).toEqual([]);
      for (const { name, arguments: values } of turn.toolCalls) {
        called.add(name);
        if (name === 'exact') expect(JSON.parse(values).i, text).toSatisfy(Number.isInteger);
      }
    }
    expect([...called].sort()).toEqual(['exact', 'f']);
  });

  test('without calls, there is text that may look like them but is none', () => {
    const tools = [tool('read', { properties: { path: { type: 'string' } } })];
    const request: ConstraintRequest = { tools, toolCallFormat: format, toolChoice: 'none' };
    for (const text of [
      '',
      'Hello.',
      'if a<b: <tool_cal',
      '</tool_call> {"name": "Bob"}',
      '{"a": 1}',
    ]) {
      expect(accepts(request, text), text).toBe(true);
    }
    const calls = [
      '<tool_call>\n',
      'x <tool_call>',
      ...(format === 'xml' ? ['<function=read>', 'a <function='] : []),
      ...(format === 'hermes'
        ? [
            '{"name": "read"',
            '{ "name":\n"re\\u0061d"',
            '\n{"name" : \'read\'',
            '{\u00a0"name":"read"',
          ]
        : []),
    ];
    for (const text of calls) expect(accepts(request, text), text).toBe(false);
    const random = new Random(`none, ${format}`);
    for (let run = 0; run < 20; run++) {
      const { text, turn } = turnOf(request, random, 60);
      expect(turn, text).toMatchObject({ toolCalls: [], incompleteCalls: [] });
    }
  });

  test('a tool without parameters has none', () => {
    for (const parameters of [
      undefined,
      {},
      { type: 'object' },
      { type: 'object', properties: {} },
    ]) {
      const tools = [tool('ping', parameters)];
      const request: ConstraintRequest = { tools, toolCallFormat: format, toolChoice: 'required' };
      const { turn } = turnOf(request, new Random('ping'), 40);
      expect(turn.toolCalls[0]).toEqual({ name: 'ping', arguments: '{}' });
    }
  });

  test('reasoning that the prompt has opened comes first', () => {
    const tools = [tool('ping')];
    const call =
      format === 'xml'
        ? '<tool_call>\n<function=ping>\n</function>\n</tool_call>'
        : '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>';
    const request: ConstraintRequest = {
      tools,
      toolCallFormat: format,
      toolChoice: 'required',
      startsInReasoning: true,
    };
    expect(accepts(request, `I think of <tool_call>.\n</think>\n\n${call}`)).toBe(true);
    expect(accepts(request, `I think.</think>${call}\n${call}`)).toBe(true);
    expect(accepts(request, call)).toBe(false);
    expect(accepts({ ...request, startsInReasoning: false }, call)).toBe(true);
    expect(accepts({ ...request, parallelToolCalls: false }, `</think>${call}\n${call}`)).toBe(
      false,
    );
  });
});

describe('text in parameters', () => {
  const tools = [
    tool('write', {
      properties: { content: { type: 'string' }, mode: { type: ['string', 'null'] } },
    }),
  ];
  const request: ConstraintRequest = { tools, toolCallFormat: 'xml', toolChoice: 'required' };
  const call = (name: string, value: string) =>
    `<tool_call>\n<function=write>\n<parameter=${name}>\n${value}\n</parameter>\n</function>\n</tool_call>`;

  test.each([
    'plain',
    '',
    ' \n\nspace \n',
    '<b>x</b> a < b',
    'ends a value with </parameter>',
    'a line <parameter=content> </parameter> of them',
    'an indented\n  </parameter>\n  line',
    'indented\n  </function>\n  </tool_call>\n',
    '</b> </function> and </tool_call> within a line',
    'the beginning of a tag </param',
    '"quoted" \\ \t\r é 😀',
  ])('%j may be written, and is read as it was', (value) => {
    expect(accepts(request, call('content', value))).toBe(true);
    const { toolCalls } = parseTurn(call('content', value), { format: 'xml', tools });
    expect(toolCalls.map((x) => JSON.parse(x.arguments))).toEqual([{ content: value }]);
  });

  test.each([
    'a <tool_call> b',
    '<function=write>',
    'x\n</parameter>\n</function>\n</tool_call>\n<tool_call>',
    '</parameter>',
    '\n<parameter=mode>\nx',
    'x </parameter> </function>',
    'x</parameter>\u00a0<parameter=mode>',
  ])('%j may not: it would be markup', (value) => {
    expect(accepts(request, call('content', value))).toBe(false);
  });

  test('that is allowed is read as it was, whatever of markup is in it', () => {
    const parts = [
      '<tool_call>',
      '</tool_call>',
      '<function=write>',
      '</function>',
      '<parameter=mode>',
    ];
    parts.push('<parameter=x>', '</parameter>', '\n', '\n', ' ', 'a', 'b', '<', '</', '>');
    const random = new Random('soup');
    let allowed = 0;
    for (let run = 0; run < 1500; run++) {
      const pick = () => parts[random.below(parts.length)]!;
      const value = Array.from({ length: 1 + random.below(6) }, pick).join('');
      if (!accepts(request, call('content', value))) continue;
      allowed++;
      const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(value)}`;
      const more = `</parameter>\n<parameter=mode>\nm\n</parameter>\n</function>\n</tool_call>`;
      const both = call('content', value).replace(
        /<\/parameter>\n<\/function>\n<\/tool_call>$/,
        more,
      );
      const texts: [string, unknown[]][] = [
        [call('content', value), [{ content: value }]],
        [both, [{ content: value, mode: 'm' }]],
        [`${both}\n${call('mode', 'm')}`, [{ content: value, mode: 'm' }, { mode: 'm' }]],
      ];
      for (const [text, expected] of texts) {
        for (const finishReason of ['stop', 'length'] as const) {
          const { toolCalls } = parseTurn(text, { format: 'xml', tools, finishReason });
          expect(
            toolCalls.map((x) => JSON.parse(x.arguments)),
            where,
          ).toEqual(expected);
        }
      }
    }
    expect(allowed).toBeGreaterThan(300);
  });

  test('must not look like a value of another type', () => {
    const values: [string, unknown][] = [
      ['null', null],
      ['nulls', 'nulls'],
      ['1', '1'],
    ];
    for (const [text, value] of values) {
      expect(accepts(request, call('mode', text)), text).toBe(true);
      const { toolCalls } = parseTurn(call('mode', text), { format: 'xml', tools });
      expect(JSON.parse(toolCalls[0]!.arguments)).toEqual({ mode: value });
    }
    expect(accepts(request, call('mode', 'None'))).toBe(false);
    expect(accepts(request, call('mode', ' null'))).toBe(false);
  });
});
