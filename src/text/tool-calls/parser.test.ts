import { describe, expect, it } from 'vitest';
import { MowgliError } from '../../errors.ts';
import { createToolCallParser, parseTurn, type ToolCallFormat, toolCallFormat } from './parser.ts';

const tools = [{ type: 'function', function: { name: 'ping' } }];

describe('toolCallFormat', () => {
  it('looks at what the template teaches', () => {
    expect(toolCallFormat('<tool_call>\n<function=f>')).toBe('xml');
    expect(toolCallFormat('<tool_call>{"name"')).toBe('hermes');
    expect(toolCallFormat('{{ messages }}')).toBeUndefined();
    expect(
      toolCallFormat([
        { name: 'default', template: '{{ messages }}' },
        { name: 'tool_use', template: '<tool_call>' },
      ]),
    ).toBe('hermes');
  });
});

describe('a parser', () => {
  it('shows text as it comes, and calls as they become certain', () => {
    const parser = createToolCallParser({ format: 'xml', tools });
    expect(parser.push('Hello')).toEqual([{ type: 'text', text: 'Hello' }]);
    expect(parser.push(' wor')).toEqual([{ type: 'text', text: ' wor' }]);
    expect(parser.push('ld.\n\n<tool_call>')).toEqual([{ type: 'text', text: 'ld.' }]);
    expect(parser.push('\n<function=ping>\n')).toEqual([]);
    expect(parser.push('</function>\n')).toEqual([
      { type: 'tool-call-start', index: 0, name: 'ping' },
    ]);
    expect(parser.push('</tool_call>')).toEqual([
      { type: 'tool-call-delta', index: 0, delta: '{}' },
      { type: 'tool-call-end', index: 0, name: 'ping', arguments: '{}' },
    ]);
    expect(parser.end('stop')).toEqual([]);
  });

  it('never shows half of a character', () => {
    const parser = createToolCallParser({ format: undefined });
    expect(parser.push('a\ud83d')).toEqual([{ type: 'text', text: 'a' }]);
    expect(parser.push('\ude00\ud83d')).toEqual([{ type: 'text', text: '😀' }]);
    expect(parser.end('stop')).toEqual([{ type: 'text', text: '\ud83d' }]);
  });

  it('is for one turn', () => {
    const parser = createToolCallParser({ format: 'hermes', tools });
    parser.end('length');
    expect(() => parser.push('x')).toThrow(MowgliError);
    expect(() => parser.end('stop')).toThrow(/make a new one for each turn/);
  });

  it('names what is wrong with its options', () => {
    const format = 'yaml' as ToolCallFormat;
    expect(() => createToolCallParser({ format, tools })).toThrow(/"yaml" is unknown.*xml, hermes/);
    expect(() => createToolCallParser({ format: 'xml', tools: [{ type: 'function' }] })).toThrow(
      /tools\[0\] has no name/,
    );
    expect(() => createToolCallParser({ format: 'xml', tools: [null] })).toThrow(MowgliError);
  });

  it('can be had for a whole turn', () => {
    const text = 'Hi.\n<tool_call>\n<function=ping>\n</function>';
    expect(parseTurn(text, { format: 'xml', tools })).toEqual({
      content: 'Hi.',
      reasoning: '',
      toolCalls: [{ name: 'ping', arguments: '{}' }],
      incompleteCalls: [],
    });
    expect(parseTurn(text, { format: 'xml', tools, finishReason: 'length' })).toMatchObject({
      content: 'Hi.',
      toolCalls: [],
      incompleteCalls: [{ name: 'ping', arguments: '' }],
    });
  });
});
