import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FinishReason, Model, ToolCallFormat } from '../node.ts';
import { incompleteNote, readTools, renderWithTools, ToolTurn, turnFields } from './tools.ts';

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

/** A model as far as tools are concerned. */
function modelWith(toolCallFormat: ToolCallFormat | undefined, hasChatTemplate = true): Model {
  const renderChat = (...args: unknown[]) => JSON.stringify(args);
  return { name: 'small', hasChatTemplate, toolCallFormat, renderChat } as unknown as Model;
}

describe('a prompt', () => {
  const messages = [{ role: 'user' as const, content: 'Hi' }];

  it('offers the tools', () => {
    const prompt = renderWithTools(modelWith('hermes'), messages, [save]);
    expect(JSON.parse(prompt)).toEqual([messages, { tools: [save] }]);
  });

  it.each([
    [true, /^--tools: small has a chat template that knows no tools/],
    [false, /^--tools: small has no chat template/],
  ])('needs a template that knows tools: %j', (hasTemplate, message) => {
    const render = () => renderWithTools(modelWith(undefined, hasTemplate), messages, [save]);
    expect(render).toThrow(message);
    expect(render).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
  });
});

describe('an answer', () => {
  /** All that is printed of an answer that comes character by character. */
  function printed(answer: string, finishReason: FinishReason = 'stop', prompt = '') {
    const turn = new ToolTurn(modelWith('xml'), prompt, [save]);
    const streamed = Array.from(answer, (character) => turn.show(character)).join('');
    const parsed = turn.parse(answer, finishReason);
    return {
      stdout: streamed + turn.showEnd(finishReason, parsed),
      note: incompleteNote(parsed, finishReason),
      fields: turnFields(parsed),
    };
  }

  const call = (id: string) =>
    `<tool_call>\n<function=save>\n<parameter=id>\n${id}\n</parameter>\n</function>\n</tool_call>`;

  it('is its text, then a line for each call, with all digits', () => {
    const id = '123456789012345678901234567890';
    const { stdout, note, fields } = printed(`Saving.\n\n${call('7')}\n${call(id)}`);
    const lines = [
      '{"name":"save","arguments":{"id":7}}',
      `{"name":"save","arguments":{"id":${id}}}`,
    ];
    expect(stdout).toBe(`Saving.\n${lines.join('\n')}\n`);
    expect(note).toBeUndefined();
    expect(fields).toEqual({ toolCalls: `[${lines}]`, content: '"Saving."', reasoning: '""' });
  });

  it.each([
    ['Hello', 'Hello\n'],
    ['Hello\n', 'Hello\n'],
    ['', ''],
    [call('1'), '{"name":"save","arguments":{"id":1}}\n'],
    ['1 < 2, <tool', '1 < 2, <tool\n'],
    ['<think>\nHm.\n</think>\n\nYes', '<think>\nHm.\n</think>\n\nYes\n'],
    [
      `<think>Hm</think>${call('1')}`,
      '<think>\nHm\n</think>\n\n{"name":"save","arguments":{"id":1}}\n',
    ],
    ['<think>\nHm', '<think>\nHm\n</think>\n\n'],
  ])('%j is shown as %j', (answer, stdout) => {
    expect(printed(answer).stdout).toBe(stdout);
  });

  it('may begin in reasoning that the prompt opened', () => {
    const { stdout, fields } = printed('Hm\n</think>\n\nYes', 'stop', 'assistant\n<think>\n');
    expect(stdout).toBe('<think>\nHm\n</think>\n\nYes\n');
    expect(fields).toEqual({ toolCalls: '[]', content: '"Yes"', reasoning: '"Hm"' });
  });

  it.each<[FinishReason, RegExp]>([
    ['length', /no whole call: save; .*--max-tokens/],
    ['aborted', /no whole call: save; the answer was interrupted/],
    ['stop', /no whole call: save; the model did not finish/],
  ])('never shows a call that is not whole: %s', (finishReason, message) => {
    const answer = `Saving.\n${call('1')}\n${call('2').slice(0, -40)}`;
    const { stdout, note, fields } = printed(answer, finishReason);
    expect(stdout).toBe('Saving.\n{"name":"save","arguments":{"id":1}}\n');
    expect(note).toMatch(message);
    expect(JSON.parse(fields.toolCalls!)).toEqual([{ name: 'save', arguments: { id: 1 } }]);
  });
});
