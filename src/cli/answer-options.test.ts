import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnswerFlags, readAnswerOptions } from './answer-options.ts';

const functions = ['read_file', 'save'].map((name) => ({ type: 'function', function: { name } }));
const schema = { type: 'array', items: { type: 'string' } };

let folder: string;
let tools: string;
let schemaFile: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-answer-options-'));
  tools = join(folder, 'tools.json');
  schemaFile = join(folder, 'schema.json');
  await writeFile(tools, JSON.stringify(functions));
  await writeFile(schemaFile, JSON.stringify(schema));
  await writeFile(join(folder, 'broken.json'), '{"type":');
});
afterAll(() => rm(folder, { recursive: true }));

test('none are nothing', async () => {
  expect(await readAnswerOptions({})).toBeUndefined();
});

test('tools and the choice of them', async () => {
  expect(await readAnswerOptions({ tools })).toEqual({ tools: functions });
  for (const toolChoice of ['auto', 'none', 'required'] as const) {
    expect(await readAnswerOptions({ tools, toolChoice })).toEqual({
      tools: functions,
      toolChoice,
    });
  }
  expect(await readAnswerOptions({ tools, toolChoice: 'save' })).toEqual({
    tools: functions,
    toolChoice: { name: 'save' },
  });
});

test('a schema, as text or in a file', async () => {
  const responseFormat = { type: 'json_schema', schema };
  const jsonSchema = JSON.stringify(schema);
  expect(await readAnswerOptions({ jsonSchema })).toEqual({ responseFormat });
  expect(await readAnswerOptions({ jsonSchemaFile: schemaFile })).toEqual({
    responseFormat: { ...responseFormat, name: schemaFile },
  });
  expect(await readAnswerOptions({ jsonSchema: 'true', tools, toolChoice: 'auto' })).toEqual({
    tools: functions,
    toolChoice: 'auto',
    responseFormat: { type: 'json_schema', schema: true },
  });
});

test.each<[AnswerFlags, RegExp]>([
  [{ toolChoice: 'auto' }, /^--tool-choice needs --tools/],
  [
    { tools: 'tools.json', toolChoice: 'write' },
    /^--tool-choice must be auto, .* \(read_file, save\), not 'write'$/,
  ],
  [{ jsonSchema: '{}', jsonSchemaFile: 'schema.json' }, /: leave one of them out$/],
  [
    { tools: 'tools.json', toolChoice: 'save', jsonSchema: '{}' },
    /^--tool-choice save and a JSON schema exclude each other/,
  ],
  [{ jsonSchema: 'a.json' }, /^--json-schema is not JSON \(.+\); .* --json-schema-file$/],
  [{ jsonSchema: '[]' }, /^--json-schema is no JSON schema: write an object/],
  [{ jsonSchemaFile: 'tools.json' }, /^--json-schema-file: .*tools\.json is no JSON schema/],
  [{ jsonSchemaFile: 'broken.json' }, /^--json-schema-file: .*broken\.json is not JSON \(.+\); /],
  [{ jsonSchemaFile: 'none.json' }, /none\.json cannot be read \(ENOENT.*\); name a file with a/],
  [{ jsonSchemaFile: '-' }, /^--json-schema-file must be a file: stdin/],
])('%j is a usage error', async (flags, message) => {
  const inFolder = (file: string) => (file === '-' ? file : join(folder, file));
  const error = await readAnswerOptions({
    ...flags,
    ...(flags.tools && { tools: inFolder(flags.tools) }),
    ...(flags.jsonSchemaFile && { jsonSchemaFile: inFolder(flags.jsonSchemaFile) }),
  }).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'OPTION_INVALID' });
  expect(error.message).toMatch(message);
});
