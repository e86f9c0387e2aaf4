/** Random calls, rendered by the models' own templates and parsed back. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { baseSeed, Random } from '../kernels-test/random.ts';
import { ChatTemplate } from '../src/text/chat-template.ts';
import { dumpJson, parseJson } from '../src/text/jinja/json.ts';
import { collectTurn } from '../src/text/tool-calls/events.ts';
import { toolCallFormat } from '../src/text/tool-calls/parser.ts';
import { checkEvents, parsePieces } from './turn-in-pieces.ts';

/** What a text is made of: much that looks like markup, none that the format itself cannot tell. */
const FRAGMENTS = [
  ...['a', 'word', ' ', '  ', '\n', '\n\n', '\t', '\r\n', '<', '>', '</', '"', "'", '\\', '\\n'],
  ...[
    'é',
    '查询',
    '👩‍💻',
    '\u2028',
    '\0',
    '&amp;',
    '{',
    '}',
    '[1, 2',
    ':',
    ',',
    '#',
    '```\n',
    '```',
  ],
  ...['null', 'None', 'True', '42', '<b>bold</b>', '<think>', '<tool>', '<tool_call fake'],
  ...['<tool_call>', '<function=', '<parameter=', '<parameter>', '</tool_call> ends it'],
  ...['</parameter> closes', '</function> ends', '<parameter=x>1</parameter> sets'],
  '\n<tool_call>\n<function=f>\n<parameter=p>\nv\n</parameter>\n</function>\n</tool_call>\nis one',
  '\n<function=f>\n<parameter=p>\nv\n</parameter>\n<parameter=q>\nv\n</parameter>\n</function>\n',
  'x<function=g></function></tool_call> y',
  '{"name": "tool", "arguments": {}}',
];

const WORDS = [
  'it',
  'a < b',
  'I will',
  '\n',
  '<tool_call>',
  '</function>',
  '{"a": 1}',
  '`x`',
  'é👩‍💻',
];

type Kind = 'string' | 'integer' | 'number' | 'boolean' | 'null' | 'array' | 'object';

class Calls {
  readonly #random: Random;

  constructor(name: string) {
    this.#random = new Random(name);
  }

  below(n: number): number {
    return this.#random.below(n);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  times<T>(most: number, make: (index: number) => T): T[] {
    return Array.from({ length: this.below(most + 1) }, (_, index) => make(index));
  }

  text(): string {
    return this.times(8, () => this.of(FRAGMENTS)).join('');
  }

  prose(): string {
    return this.times(6, () => this.of(WORDS)).join(' ');
  }

  /** A schema and the kinds of values that it allows. */
  schema(): { schema: Record<string, unknown>; kinds: Kind[] } {
    const kinds: Kind[] = ['string', 'string', 'integer', 'number', 'boolean', 'array', 'object'];
    const kind = this.of(kinds);
    const other = this.of(kinds);
    switch (this.below(8)) {
      case 0:
        return { schema: { type: [kind, 'null'] }, kinds: [kind, 'null'] };
      case 1:
        return { schema: { anyOf: [{ type: 'null' }, { type: kind }] }, kinds: [kind, 'null'] };
      case 2:
        return { schema: { oneOf: [{ type: kind }, { type: other }] }, kinds: [kind, other] };
      case 3:
        return { schema: { $ref: `#/$defs/${kind}` }, kinds: [kind] };
      case 4:
        return { schema: { description: 'any text' }, kinds: ['string'] };
      default:
        return { schema: { type: kind }, kinds: [kind] };
    }
  }

  /** The JSON text of a value, so that it may hold any number. */
  value(kind: Kind, depth = 0): string {
    switch (kind) {
      case 'string':
        return JSON.stringify(this.text());
      case 'integer':
        return this.of(['0', '-1', '42', '9007199254740993', `-${'1234567890'.repeat(3)}`]);
      case 'number':
        return this.of(['0', '3.25', '-1.5e-7', '1e22', '100000.0', '123456789012345678901234']);
      case 'boolean':
        return this.of(['true', 'false']);
      case 'null':
        return 'null';
    }
    const nested: Kind[] = ['string', 'integer', 'number', 'boolean', 'null'];
    if (depth < 2) nested.push('array', 'object');
    const items = this.times(3, () => this.value(this.of(nested), depth + 1));
    if (kind === 'array') return `[${items.join(',')}]`;
    const keys = items.map((_, index) => JSON.stringify(`${index}${this.of(FRAGMENTS)}`));
    return `{${items.map((item, index) => `${keys[index]}:${item}`).join(',')}}`;
  }

  tool(name: string) {
    const parameters = this.times(4, (index) => {
      return { name: this.of(['path', '名前', 'a-b.c', '10']) + index, ...this.schema() };
    });
    const kinds: Kind[] = ['string', 'integer', 'number', 'boolean', 'array', 'object', 'null'];
    const definition = {
      name,
      parameters: {
        type: 'object',
        properties: Object.fromEntries(parameters.map((p) => [p.name, p.schema])),
        $defs: Object.fromEntries(kinds.map((kind) => [kind, { type: kind }])),
      },
    };
    return { name, parameters, definition: { type: 'function', function: definition } };
  }

  arguments({ parameters }: ReturnType<Calls['tool']>): string {
    const given = parameters.filter(() => this.below(4) > 0);
    if (this.below(2) === 0) given.reverse();
    const fields = given.map(({ name, kinds }) => {
      const kind = this.of(kinds);
      let value = this.value(kind);
      // Where text is one of several types, only text that looks like none of the others is sure.
      if (kind === 'string' && kinds.length > 1) value = `"~${value.slice(1)}`;
      return `${JSON.stringify(name)}:${value}`;
    });
    return `{${fields.join(',')}}`;
  }

  cut(text: string): string[] {
    const pieces: string[] = [];
    const longest = this.of([3, 12, 200]);
    for (let at = 0; at < text.length; ) {
      const length = 1 + this.below(longest);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    return pieces;
  }
}

const canonical = (json: string) =>
  dumpJson(parseJson(json), {
    ensureAscii: true,
    indent: null,
    itemSeparator: ',',
    keySeparator: ':',
    sortKeys: false,
  });

const START = '<|im_start|>assistant\n';

describe.each([
  { file: 'chat_template.jinja', format: 'xml', runs: 2000 },
  { file: 'chat_template.v1-2025-07.jinja', format: 'xml', runs: 1000 },
  { file: 'chat_template.unsloth-gguf.jinja', format: 'xml', runs: 500 },
  { file: 'chat_template.hermes.jinja', format: 'hermes', runs: 1500 },
] as const)('$file', ({ file, format, runs }) => {
  const source = readFileSync(new URL(`data/conformance/${file}`, import.meta.url), 'utf8');
  const template = new ChatTemplate(source);

  it(`teaches the format ${format}`, () => {
    expect(toolCallFormat(source)).toBe(format);
  });

  it(`renders ${runs} random turns that parse back to the same values`, () => {
    const random = new Calls(file);
    for (let run = 0; run < runs; run++) {
      const tools = [random.tool('f_0'), random.tool('ファイル.read'), random.tool('g-1')];
      const content = random.prose();
      const reasoning = format === 'hermes' ? random.prose() : '';
      const calls = random
        .times(3, () => random.of(tools))
        .map((tool) => {
          return { name: tool.name, arguments: random.arguments(tool) };
        });
      const message = {
        role: 'assistant',
        content,
        reasoning_content: reasoning,
        tool_calls: calls.map((call) => ({ type: 'function', function: call })),
      };
      const prompt = template.render([{ role: 'user', content: 'u' }, message], {
        addGenerationPrompt: false,
      });
      const start = prompt.indexOf(START) + START.length;
      const text = prompt.slice(start, prompt.lastIndexOf('<|im_end|>'));

      const options = { format, tools: tools.map((tool) => tool.definition) };
      const events = parsePieces([text], options);
      const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(text)}`;
      expect(parsePieces(random.cut(text), options), where).toEqual(events);
      checkEvents(events);
      const turn = collectTurn(events);
      const parsed = turn.toolCalls.map((x) => ({ ...x, arguments: canonical(x.arguments) }));
      const sent = calls.map((call) => ({ ...call, arguments: canonical(call.arguments) }));
      expect(parsed, where).toEqual(sent);
      expect(turn.incompleteCalls, where).toEqual([]);
      expect(turn.content.trim(), where).toBe(content.trim());
      expect(turn.reasoning.trim(), where).toBe(reasoning.trim());
    }
  });
});
