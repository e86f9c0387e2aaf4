import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { collectTurn, type ParsedTurn } from '../src/text/tool-calls/events.ts';
import { parseEveryCut, parsePieces } from './turn-in-pieces.ts';

const data = (name: string) =>
  readFileSync(new URL(`data/conformance/${name}`, import.meta.url), 'utf8');

interface Expected {
  content: string;
  content_mode: 'exact' | 'trim';
  tool_calls: { name: string; arguments: unknown }[];
}

function expectTurn(turn: ParsedTurn, expected: Expected): void {
  const trim = expected.content_mode === 'trim' ? (x: string) => x.trim() : (x: string) => x;
  expect(trim(turn.content)).toBe(trim(expected.content));
  const calls = turn.toolCalls.map((call) => ({
    name: call.name,
    arguments: JSON.parse(call.arguments) as unknown,
  }));
  expect(calls).toEqual(expected.tool_calls);
  expect(turn.incompleteCalls).toEqual([]);
}

describe('outputs that other parsers were tested with or failed at', () => {
  const { cases } = JSON.parse(data('tool-calls.json')) as {
    cases: {
      name: string;
      tools: unknown[];
      output: string;
      chunks?: string[];
      expected: Expected;
    }[];
  };

  it.each(cases)('$name', ({ tools, output, chunks = [output], expected }) => {
    const options = { format: 'xml', tools } as const;
    expectTurn(parseEveryCut(output, options), expected);
    expectTurn(collectTurn(parsePieces(chunks, options)), expected);
  });
});

describe('turns of Qwen3-Coder', () => {
  const { tools, cases } = JSON.parse(data('tool-calls-real.json')) as {
    tools: unknown[];
    cases: { output: string; expected: Expected }[];
  };

  it.each(cases.map((turn, index) => ({ ...turn, index })))('$index', ({ output, expected }) => {
    expectTurn(parseEveryCut(output, { format: 'xml', tools }), expected);
  });

  it('never yield a call that was cut off', () => {
    for (const { output, expected } of cases) {
      for (let at = 0; at < output.length; at++) {
        const cut = output.slice(0, at);
        const options = { format: 'xml', tools, finishReason: 'length' } as const;
        const turn = collectTurn(parsePieces([cut], options));
        // Up to here a call could still go on.
        const ends = cut.split('</function>\n<').length - 1;
        const calls = turn.toolCalls.map((call) => JSON.parse(call.arguments) as unknown);
        const first = expected.tool_calls.slice(0, calls.length);
        expect(calls).toEqual(first.map((call) => call.arguments));
        expect(calls.length).toBeLessThanOrEqual(ends);
        expect(turn.content).not.toMatch(/<tool_call>|<function=/);
      }
    }
  });
});
