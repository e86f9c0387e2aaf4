import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTools } from './tools.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-tools-'));
});
afterAll(() => rm(folder, { recursive: true }));

const tool = (fields: object) => ({ type: 'function', function: { name: 'save', ...fields } });
const save = tool({
  description: 'Save',
  parameters: {
    type: 'object',
    properties: { id: { type: 'integer' }, text: { type: 'string' }, any: true },
    required: ['id'],
  },
});

describe('a file of tools', () => {
  const read = async (text: string) => {
    const file = join(folder, 'tools.json');
    await writeFile(file, text);
    return readTools(file);
  };

  it('is a list of functions, passed on as it is', async () => {
    const tools = [save, { type: 'function', function: { name: 'a.b-c_1', strict: true } }];
    expect(await read(JSON.stringify(tools))).toEqual(tools);
  });

  it.each<[unknown, RegExp]>([
    [{}, /must hold a list of at least one function: \[\{"type": "function"/],
    [[], /must hold a list of at least one function/],
    [[save, null], /entry 1 is no function: write it as \{"type"/],
    [[{ name: 'save' }], /entry 0 is no function/],
    [[{ ...save, type: 'retrieval' }], /entry 0 is no function/],
    [[{ type: 'function' }], /entry 0 is no function/],
    [[save, tool({ name: undefined })], /entry 1: function\.name must be .*, not undefined$/],
    [[tool({ name: 'a>b' })], /entry 0: function\.name must be .*, not "a>b"$/],
    [[tool({ name: 'x'.repeat(65) })], /entry 0: function\.name must be 1 to 64/],
    [[tool({ description: 1 })], /entry 0 \(save\): function\.description must be a text/],
    [[tool({ parameters: [] })], /entry 0 \(save\): function\.parameters must be a JSON schema/],
    [[tool({ parameters: { type: 'string' } })], /function\.parameters must be a JSON schema/],
    [[tool({ parameters: { properties: { a: 'string' } } })], /parameters\.properties must be/],
    [[tool({ parameters: { required: 'a' } })], /parameters\.required must be a list/],
    [[save, tool({ name: 'b' }), save], /entry 2 is called save, as entry 0 is/],
  ])('%j is refused', async (content, message) => {
    const error = await read(JSON.stringify(content)).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'OPTION_INVALID' });
    expect(error.message).toMatch(/^--tools: \S+tools\.json/);
    expect(error.message).toMatch(message);
  });

  it('is there, is JSON and is not stdin', async () => {
    const usage = { code: 'OPTION_INVALID' };
    await expect(read('[{]')).rejects.toMatchObject(usage);
    await expect(read('[{]')).rejects.toThrow(/tools\.json is not JSON \(.+\); name a file/);
    await expect(readTools(join(folder, 'none'))).rejects.toMatchObject(usage);
    await expect(readTools(join(folder, 'none'))).rejects.toThrow(/none cannot be read \(ENOENT/);
    await expect(readTools('-')).rejects.toMatchObject(usage);
  });
});
