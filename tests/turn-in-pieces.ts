/** Parses a turn cut in every way, and holds its events to what they promise. */
import { expect } from 'vitest';
import type { FinishReason } from '../src/generate/types.ts';
import { collectTurn, type ParsedTurn, type TurnEvent } from '../src/text/tool-calls/events.ts';
import { createToolCallParser, type ToolCallParserOptions } from '../src/text/tool-calls/parser.ts';

export type TurnOptions = ToolCallParserOptions & { finishReason?: FinishReason };

/** The events of a turn that comes in these pieces, neighbours of one kind joined. */
export function parsePieces(pieces: readonly string[], options: TurnOptions): TurnEvent[] {
  const parser = createToolCallParser(options);
  const events = pieces.flatMap((piece) => parser.push(piece));
  events.push(...parser.end(options.finishReason ?? 'stop'));
  const joined: TurnEvent[] = [];
  for (const event of events) {
    const last = joined.at(-1);
    if ('text' in event && last?.type === event.type && 'text' in last) {
      joined[joined.length - 1] = { ...event, text: last.text + event.text };
    } else if (event.type === 'tool-call-delta' && last?.type === event.type) {
      joined[joined.length - 1] = { ...event, delta: last.delta + event.delta };
    } else {
      joined.push(event);
    }
  }
  return joined;
}

/** Each call is start, deltas, end, in order, and the deltas are the arguments. */
export function checkEvents(events: readonly TurnEvent[]): void {
  let calls = 0;
  let open: { name: string; deltas: string } | undefined;
  for (const event of events) {
    if (!('index' in event)) {
      expect(open, 'text within a call').toBeUndefined();
      expect(event.text).not.toBe('');
      continue;
    }
    expect(event.index).toBe(calls);
    if (event.type === 'tool-call-start') {
      expect(open).toBeUndefined();
      open = { name: event.name, deltas: '' };
    } else if (event.type === 'tool-call-delta') {
      open!.deltas += event.delta;
    } else {
      expect(event.name).toBe(open!.name);
      expect(event.arguments).toBe(open!.deltas);
      const parsing = expect(() => JSON.parse(event.arguments), event.arguments);
      if (event.type === 'tool-call-end') {
        expect(event.arguments[0]).toBe('{');
        parsing.not.toThrow();
        const keys = keysOf(event.arguments);
        expect(new Set(keys).size, event.arguments).toBe(keys.length);
      } else {
        parsing.toThrow();
      }
      open = undefined;
      calls++;
    }
  }
  expect(open).toBeUndefined();
}

/** The keys of the object in a JSON text, those that are repeated too. */
function keysOf(json: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  for (const [token, text] of json.matchAll(
    /("(?:[^"\\]|\\.)*")(?=:)|"(?:[^"\\]|\\.)*"|[{}[\]]/g,
  )) {
    if (text !== undefined && depth === 1) keys.push(JSON.parse(text) as string);
    if (token === '{' || token === '[') depth++;
    if (token === '}' || token === ']') depth--;
  }
  return keys;
}

/** The turn, which must come out the same whole, cut at each position, and by the character. */
export function parseEveryCut(text: string, options: TurnOptions): ParsedTurn {
  const whole = parsePieces([text], options);
  checkEvents(whole);
  expect(parsePieces(text.split(''), options)).toEqual(whole);
  const expected = JSON.stringify(whole);
  for (let at = 1; at < text.length; at++) {
    const cut = parsePieces([text.slice(0, at), text.slice(at)], options);
    // Comparing texts first is many times quicker.
    if (JSON.stringify(cut) !== expected) expect(cut, `cut at ${at}`).toEqual(whole);
  }
  return collectTurn(whole);
}
