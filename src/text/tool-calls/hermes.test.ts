import { describe, expect, it } from 'vitest';
import { parseEveryCut, parsePieces, type TurnOptions } from '../../../tests/turn-in-pieces.ts';
import { collectTurn } from './events.ts';

const tools = [
  { type: 'function', function: { name: 'read', parameters: { type: 'object', properties: {} } } },
  { name: 'ping' },
];
const options: TurnOptions = { format: 'hermes', tools };

/** The turn, with arguments as the JSON text that came out. */
function parse(text: string, more: Partial<TurnOptions> = {}) {
  const turn = parseEveryCut(text, { ...options, ...more });
  expect(turn.incompleteCalls).toEqual([]);
  return { content: turn.content, calls: turn.toolCalls.map((x) => [x.name, x.arguments]) };
}

const wrap = (json: string) => `<tool_call>\n${json}\n</tool_call>`;

describe('calls', () => {
  it.each([
    [
      'plain',
      '{"name": "read", "arguments": {"path": "a", "n": [1, {"x": null}]}}',
      '{"path":"a","n":[1,{"x":null}]}',
    ],
    ['without arguments', '{"name": "read"}', '{}'],
    ['with none', '{"name": "read", "arguments": {}}', '{}'],
    ['with null', '{"name": "read", "arguments": null}', '{}'],
    ['called parameters', '{"name": "read", "parameters": {"a": 1}}', '{"a":1}'],
    ['arguments first', '{"arguments": {"a": "x"}, "name": "read"}', '{"a":"x"}'],
    [
      'further fields',
      '{"id": "7", "type": {"a": []}, "name": "read", "arguments": {"a": 1}, "b": 2}',
      '{"a":1}',
    ],
    [
      'arguments as a string',
      '{"name": "read", "arguments": "{\\"a\\": [1.0, true]}"}',
      '{"a":[1.0,true]}',
    ],
    ['arguments as an empty string', '{"name": "read", "arguments": ""}', '{}'],
    [
      'Python',
      "{'name': 'read', 'arguments': {'a': None, 'b': True, 'c': \"it's\", 'd': 'x\"y'}}",
      '{"a":null,"b":true,"c":"it\'s","d":"x\\"y"}',
    ],
    [
      'digits',
      '{"name": "read", "arguments": {"a": 9007199254740993, "b": 1.10, "c": -0}}',
      '{"a":9007199254740993,"b":1.10,"c":-0}',
    ],
    [
      'the markers in a value',
      `{"name": "read", "arguments": {"a": "</tool_call>\\n${wrap('{}').replaceAll('\n', '\\n')}"}}`,
      '{"a":"</tool_call>\\n<tool_call>\\n{}\\n</tool_call>"}',
    ],
    [
      'line breaks in a string',
      '{"name": "read", "arguments": {"a": "x\ny\tz"}}',
      '{"a":"x\\ny\\tz"}',
    ],
    [
      'escapes',
      '{"name": "read", "arguments": {"a": "\\u00e9\\ud83d\\ude00 \\d \\\' \\x41 \\u12"}}',
      '{"a":"\\u00e9\\ud83d\\ude00 \\\\d \' \\u0041 \\\\u12"}',
    ],
    [
      'trailing commas',
      '{"name": "read", "arguments": {"a": [1, 2, ], "b": 1, }, }',
      '{"a":[1,2],"b":1}',
    ],
    [
      'a key twice',
      '{"name": "read", "arguments": {"a": 1, "b": 2, "a": [{"b": 3}]}}',
      '{"a":1,"b":2}',
    ],
    [
      'a key twice at its end',
      '{"name": "read", "arguments": {"a": "x", "a": {"b": {}, "b": "</tool_call>"}, }}',
      '{"a":"x"}',
    ],
    [
      'a key twice, within a value and spelled in another way',
      '{"name": "read", "arguments": {"a": [{"b": {}, "\\u0062": [1], "c": 2}]}}',
      '{"a":[{"b":{},"c":2}]}',
    ],
    [
      'a key twice in a string',
      '{"name": "read", "arguments": "{\\"a\\": 1, \\"a\\": 2}"}',
      '{"a":1}',
    ],
    [
      'arguments twice',
      '{"arguments": {"a": 1}, "name": "read", "name": "ping", "arguments": {"a": 2}}',
      '{"a":1}',
    ],
    ['a bracket too few', '{"name": "read", "arguments": {"a": {"b": 1}}', '{"a":{"b":1}}'],
    ['a bracket too many', '{"name": "read", "arguments": {"a": 1}}}', '{"a":1}'],
  ])('%s', (_, json, expected) => {
    const calls = [['read', expected]];
    expect(parse(wrap(json))).toEqual({ content: '', calls });
    expect(parse(`Now:\n${wrap(json)}\n\nDone.`)).toEqual({ content: 'Now:Done.', calls });
    expect(parse(`${wrap(json)}\n${wrap(json)}`).calls).toEqual([...calls, ...calls]);
    // Without the last tag.
    expect(parse(`<tool_call>${json}`)).toEqual({ content: '', calls });
    expect(parse(`<tool_call>${json}\n${wrap(json)}`).calls).toEqual([...calls, ...calls]);
  });

  it('are recognised without the first tag', () => {
    const json = '{"name": "read", "arguments": {"a": 1}}';
    const calls = [['read', '{"a":1}']];
    expect(parse(json)).toEqual({ content: '', calls });
    expect(parse(`Now:\n\n ${json}\n</tool_call>`)).toEqual({ content: 'Now:', calls });
    expect(parse(`${json}\n${json}`).calls).toEqual([...calls, ...calls]);
  });

  it('may be followed by closing tags, which are markup there', () => {
    const json = wrap('{"name": "read", "arguments": {"a": 1}}');
    const calls = [['read', '{"a":1}']];
    expect(parse(`${json}\n</tool_call> </tool_call>`)).toEqual({ content: '', calls });
    const behind = parse(`${json}</tool_call>\n\nThen </tool_call> is text.`);
    expect(behind).toEqual({ content: 'Then </tool_call> is text.', calls });
    expect(parse(`${json}\n</tool_c`, { finishReason: 'length' })).toEqual({ content: '', calls });
  });

  it('of tools that were made up are passed on', () => {
    expect(parse(wrap('{"name": "made_up", "arguments": {}}')).calls).toEqual([['made_up', '{}']]);
  });

  it.each(['length', 'aborted'] as const)(
    'that are cut off are never whole: %s',
    (finishReason) => {
      const json = '{"name": "read", "arguments": {"a": "}}</tool_call>", "b": [1, 23]}}';
      const text = `Now:\n\n${wrap(json)}`;
      const end = text.indexOf(json) + json.length;
      for (let at = 0; at < end; at++) {
        const pieces = [text.slice(0, at)];
        const turn = collectTurn(parsePieces(pieces, { ...options, finishReason }));
        expect(turn.toolCalls).toEqual([]);
        expect('Now:\n\n').toContain(turn.content.replace(/<[a-z_]*$/, ''));
      }
      expect(parse(text, { finishReason }).calls).toHaveLength(1);
    },
  );

  it.each([
    '{"name": "read", "arguments": {"a": 1',
    '{"name": "read", "arguments": {"a": oops}}',
    '{"name": "read", "arguments": {"a" 1}}',
    '{"name": "read", "arguments": {"a": "x}}',
    '{"name": "read", "arguments": [1]}',
    '{"name": "read", "arguments": "text"}',
    '{"name": "read", "arguments": 5}',
    '{"name": "read", "arguments": {},]',
    '{"name": "read", "arguments": {"a": 1}, "b" 2}',
    '{"name": "read", "arguments": "{}", oops}',
    '{"arguments": {"a": {}}, "name": "read", oops}',
    '{"name": "read", ',
  ])('that are damaged are reported: %s', (json) => {
    for (const text of [wrap(json), `<tool_call>\n${json}`]) {
      const turn = parseEveryCut(text, options);
      expect(turn).toMatchObject({
        content: '',
        toolCalls: [],
        incompleteCalls: [{ name: 'read' }],
      });
    }
    if (json.includes('x}')) return;
    const turn = parseEveryCut(`${wrap(json)}\n${wrap('{"name": "ping"}')}`, options);
    expect(turn.toolCalls).toEqual([{ name: 'ping', arguments: '{}' }]);
  });

  it('may nest without end', () => {
    const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    const json = `<tool_call>{"name": "read", "arguments": ${deep}}</tool_call>`;
    expect(parsePieces([json], options).at(-1)).toMatchObject({ arguments: deep });
  });
});

describe('prose', () => {
  it.each([
    'Write <tool_call>{"name": <function-name>, "arguments": <args-json-object>}</tool_call>.',
    'Write <tool_call>{"name": "example", "arguments": {}}</tool_call>.',
    '```json\n{"name": "read", "arguments": {}}\n```',
    'The object {"name": "read", "arguments": {}} is a call.',
    '{"name": "my-package", "version": "1.0.0"}',
    '{"name": "read", "version": "1.0.0"}',
    '{ "x',
    '<tool_call> opens, </tool_call> closes; { and <',
    'ends with <tool_call>',
    'if (x) {\n  {"name"\n}\n',
  ])('%j stays as it is', (text) => {
    expect(parse(text)).toEqual({ content: text, calls: [] });
  });
});
