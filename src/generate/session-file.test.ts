import { describe, expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { MowgliError } from '../errors.ts';
import { MemorySource } from '../files/memory.ts';
import { kvTokenBytes } from '../model/kv-transfer.ts';
import { readSession, type SessionReader, writeSession } from './session-file.ts';

const kv = { type: 'f16', layers: 1, heads: 1, headDim: 4 } as const;
const reader: SessionReader = { fingerprint: 'abc', kv, context: 1000 };
const header = { messages: [{ role: 'user', content: 'Grüße, 世界 🙂' }], options: { seed: 1 } };

function randomSession(count: number) {
  const random = new Random(`session of ${count}`);
  const tokens = Array.from({ length: count }, () => random.word());
  const bytes = Uint8Array.from({ length: count * kvTokenBytes(kv) }, () => random.below(256));
  const readKv = async (from: number, to: number) =>
    bytes.slice(from * kvTokenBytes(kv), to * kvTokenBytes(kv));
  return { fingerprint: 'abc', kv, header, tokens, readKv, bytes };
}

async function written(session: Parameters<typeof writeSession>[1]): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await writeSession(async (bytes) => void parts.push(bytes.slice()), session);
  return Buffer.concat(parts);
}

/** Reads a session to its end. */
async function readAll(file: Uint8Array, expected = reader) {
  const session = await readSession(new MemorySource('chat.session', file), expected);
  const blocks: Uint8Array[] = [];
  for await (const block of session.blocks()) blocks.push(block.slice());
  return { ...session, blocks };
}

/** The code of the error that reading ends with. */
async function refusal(file: Uint8Array, expected = reader): Promise<string> {
  try {
    await readAll(file, expected);
  } catch (error) {
    if (!(error instanceof MowgliError)) throw error;
    expect(error.message).toMatch(/^chat\.session /);
    expect(error.message, 'says what to do').toMatch(/; (load|save|pass|update|download)/);
    return error.code;
  }
  return 'none';
}

test.each([0, 1, 63, 64, 65, 200])('%i tokens come back as they were', async (count) => {
  const session = randomSession(count);
  const found = await readAll(await written(session));
  expect(found.header).toEqual(header);
  expect(found.tokens).toEqual(session.tokens);
  expect(found.blocks.map(({ length }) => length / kvTokenBytes(kv))).toEqual(
    Array.from({ length: Math.ceil(count / 64) }, (_, i) => Math.min(64, count - 64 * i)),
  );
  expect(new Uint8Array(Buffer.concat(found.blocks))).toEqual(session.bytes);
});

test('a session is read and written a block at a time', async () => {
  const { readKv, ...session } = randomSession(500);
  const asked: number[] = [];
  let largest = 0;
  await writeSession(
    async (bytes) => {
      largest = Math.max(largest, bytes.length);
    },
    {
      ...session,
      readKv: async (from, to) => {
        asked.push(to - from);
        return readKv(from, to);
      },
    },
  );
  expect(Math.max(...asked)).toBe(64);
  expect(largest).toBeLessThanOrEqual(Math.max(4 * 500, 64 * kvTokenBytes(kv)) + 32);
});

describe('damage', () => {
  const session = randomSession(70);

  test('every truncation is told of', async () => {
    const file = await written(session);
    for (let length = 0; length < file.length; length++) {
      // An empty file could be the beginning of anything.
      const code = await refusal(file.subarray(0, length));
      expect(code, `${length} bytes of ${file.length}`).toBe('FILE_TRUNCATED');
    }
  });

  test('a file that shrinks while it is read is told of', async () => {
    const file = await written(session);
    for (const left of [60, 400, file.length - 40]) {
      const source = new MemorySource('chat.session', file.subarray(0, left));
      const shrinking = { name: source.name, size: file.length, read: source.read.bind(source) };
      const all = async () => {
        const opened = await readSession({ ...shrinking, close: async () => {} }, reader);
        for await (const block of opened.blocks()) expect(block.length).toBeGreaterThan(0);
      };
      await expect(all()).rejects.toMatchObject({ code: 'FILE_TRUNCATED' });
    }
  });

  test('every flipped bit is told of', async () => {
    const file = await written(session);
    const random = new Random('bits');
    for (let at = 0; at < file.length; at++) {
      const damaged = file.slice();
      damaged[at] ^= 1 << random.below(8);
      const code = await refusal(damaged);
      expect(
        // A length that is damaged can also ask for more than there is.
        at >= 12 && at < 16 ? ['FILE_INVALID', 'FILE_TRUNCATED'] : ['FILE_INVALID'],
        `byte ${at} of ${file.length}, MOWGLI_SEED=${baseSeed}`,
      ).toContain(code);
    }
  });

  test('bytes behind the end, blocks in another order, and parts of another session', async () => {
    const file = await written(session);
    expect(await refusal(Buffer.concat([file, new Uint8Array(1)]))).toBe('FILE_INVALID');
    const long = await written(randomSession(192));
    const block = 64 * kvTokenBytes(kv) + 32;
    const first = long.length - 3 * block;
    const exchanged = long.slice();
    exchanged.copyWithin(first, first + block, first + 2 * block);
    exchanged.set(long.subarray(first, first + block), first + block);
    expect(await refusal(exchanged)).toBe('FILE_INVALID');
    const other = await written({ ...randomSession(192), header: { ...header, messages: [] } });
    const mixed = Buffer.concat([
      long.subarray(0, first),
      other.subarray(other.length - 3 * block),
    ]);
    expect(await refusal(mixed)).toBe('FILE_INVALID');
  });

  test('what is no session at all', async () => {
    const random = new Random('noise');
    for (const size of [1, 15, 16, 17, 100, 5000]) {
      const noise = Uint8Array.from({ length: size }, () => random.below(256));
      expect(await refusal(noise), `${size} bytes`).toBe('FILE_INVALID');
    }
  });
});

describe('what does not fit', () => {
  test.each([
    ['another model', { ...reader, fingerprint: 'abd' }, 'OPTION_INVALID'],
    ['another number format', { ...reader, kv: { ...kv, type: 'f32' as const } }, 'OPTION_INVALID'],
    ['another shape', { ...reader, kv: { ...kv, heads: 2 } }, 'FILE_INVALID'],
    ['a smaller context', { ...reader, context: 69 }, 'CONTEXT_EXCEEDED'],
    ['the same context', { ...reader, context: 70 }, 'none'],
  ])('%s', async (_, expected, code) => {
    expect(await refusal(await written(randomSession(70)), expected)).toBe(code);
  });

  test('a later format', async () => {
    const file = (await written(randomSession(70))).slice();
    file[8] = 2;
    expect(await refusal(file)).toBe('FILE_INVALID');
  });

  const head = { model: 'abc', kv, tokens: 70, blockTokens: 64, header };
  test.each([
    ['half of JSON', '{"model":'],
    ['no text', '\ud800'],
    ['a list', '[]'],
    ['null', 'null'],
    ['nothing', '{}'],
    ['huge blocks', JSON.stringify({ ...head, blockTokens: 2 ** 40 })],
    ['no blocks', JSON.stringify({ ...head, blockTokens: 0 })],
    ['a negative count', JSON.stringify({ ...head, tokens: -1 })],
    ['a count that is no number', JSON.stringify({ ...head, tokens: '70' })],
    ['no model', JSON.stringify({ ...head, model: undefined })],
    ['no shape', JSON.stringify({ ...head, kv: null })],
    ['another shape', JSON.stringify({ ...head, kv: { ...kv, layers: 2 ** 50 } })],
  ])('a head with %s and a digest that is right', async (_, json) => {
    expect(await refusal(await sealedHead(json))).toBe('FILE_INVALID');
  });

  test('a head that asks for more tokens than there can be', async () => {
    const json = JSON.stringify({ ...head, tokens: 2 ** 52 });
    expect(await refusal(await sealedHead(json))).toBe('CONTEXT_EXCEEDED');
  });
});

/** The beginning of a session that somebody else wrote, such that its digest is right. */
async function sealedHead(json: string): Promise<Uint8Array> {
  const text = Buffer.from(json, json.startsWith('\ud800') ? 'utf16le' : 'utf8');
  const start = Buffer.concat([Buffer.from('MOWGLISE'), new Uint8Array(8), text]);
  start.writeUInt32LE(1, 8);
  start.writeUInt32LE(text.length, 12);
  const sealed = Buffer.concat([start, new Uint8Array(32)]);
  const digest = await crypto.subtle.digest('SHA-256', sealed);
  return Buffer.concat([start, new Uint8Array(digest)]);
}

test('an abort ends the writing', async () => {
  const abort = new AbortController();
  const { readKv, ...session } = randomSession(300);
  let blocks = 0;
  const stopping = async (from: number, to: number) => {
    if (++blocks === 2) abort.abort();
    return readKv(from, to);
  };
  const writing = writeSession(async () => {}, { ...session, readKv: stopping }, abort);
  await expect(writing).rejects.toMatchObject({ code: 'ABORTED' });
  expect(blocks).toBe(2);
});
