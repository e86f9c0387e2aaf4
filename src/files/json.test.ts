import { describe, expect, it } from 'vitest';
import { readText, show } from './json.ts';

describe('readText', () => {
  it('refuses a file too large to be text before it reads it, and closes it', async () => {
    let isOpen = true;
    const source = {
      name: 'f/tokenizer.json',
      size: 100_000_001,
      read: () => expect.fail('it was read'),
      close: async () => {
        isOpen = false;
      },
    };
    const folder = { name: 'f', open: async () => source };
    await expect(readText(folder, 'tokenizer.json')).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringContaining('f/tokenizer.json has 100000001 bytes'),
    });
    expect(isOpen).toBe(false);
  });
});

describe('show', () => {
  it('is short, whatever it is given', () => {
    expect(show({ a: 1 })).toBe('{"a":1}');
    expect(show(undefined)).toBe('undefined');
    expect(show('x'.repeat(1000))).toHaveLength(60);
    expect(show(JSON.parse('['.repeat(1e5) + ']'.repeat(1e5)))).toContain('nested too deeply');
  });
});
