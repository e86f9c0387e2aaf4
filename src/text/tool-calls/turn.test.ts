import { describe, expect, it } from 'vitest';
import { parseEveryCut, type TurnOptions } from '../../../tests/turn-in-pieces.ts';

const tools = [{ type: 'function', function: { name: 'ping' } }];
const calls = {
  xml: '<tool_call>\n<function=ping>\n</function>\n</tool_call>',
  hermes: '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>',
};

describe.each(['xml', 'hermes'] as const)('reasoning (%s)', (format) => {
  const call = calls[format];

  function parse(text: string, more: Partial<TurnOptions> = {}) {
    const turn = parseEveryCut(text, { format, tools, ...more });
    expect(turn.incompleteCalls).toEqual([]);
    return [turn.reasoning, turn.content, turn.toolCalls.length];
  }

  it.each([
    ['<think>\nWhy not.\n</think>\n\nYes.\n', 'Why not.', 'Yes.\n', 0],
    ['\n<think>a</think>b', 'a', 'b', 0],
    ['<think>\n\n</think>\n\nYes.', '', 'Yes.', 0],
    ['<think></think>', '', '', 0],
    [`<think>\nI call.\n</think>\n\n${call}`, 'I call.', '', 1],
    [`<think>\n${call} would do\n</think>\n${call}`, `${call} would do`, '', 1],
    [`${call}\n<think>more</think>\n${call}`, 'more', '', 2],
    ['<think>no end <b', 'no end <b', '', 0],
    ['<think>a <think> b</think>c</think>', 'a <think> b', 'c</think>', 0],
    ['The tag <think> is text, </think> too.', '', 'The tag <think> is text, </think> too.', 0],
    ['<thinking>', '', '<thinking>', 0],
  ])('%j', (text, ...expected) => {
    expect(parse(text)).toEqual(expected);
    expect(parse(text, { finishReason: 'length' })).toEqual(expected);
  });

  it('may have begun in the prompt', () => {
    const more = { startsInReasoning: true };
    expect(parse('\nWhy not.\n</think>\n\nYes.', more)).toEqual(['Why not.', 'Yes.', 0]);
    expect(parse(`<think>\nx\n</think>\n${call}`, more)).toEqual(['x', '', 1]);
    expect(parse('x <b> y', more)).toEqual(['x <b> y', '', 0]);
    expect(parse('', more)).toEqual(['', '', 0]);
  });

  it('is kept apart where there are no tools', () => {
    expect(parse(`<think>a</think>${call}`, { tools: [] })).toEqual(['a', call, 0]);
    expect(parse('<think>a</think>b', { format: undefined })).toEqual(['a', 'b', 0]);
  });
});
