import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import reference from '../models/tiny-coder/reference/expected.json' with { type: 'json' };
import { runCli } from './run-cli.ts';

const tinyCoder = fileURLToPath(new URL('../models/tiny-coder', import.meta.url));

/** The functions of the reference's prompts. */
const tools = [
  ['read_file', 'Read a file', 'path', 'Path to the file'],
  ['list_directory', 'List a directory', 'path', 'Directory path'],
  ['run_command', 'Run a shell command', 'command', 'The command to run'],
].map(([name, description, parameter, meaning]) => ({
  type: 'function',
  function: {
    name,
    description,
    parameters: {
      type: 'object',
      properties: { [parameter!]: { type: 'string', description: meaning } },
      required: [parameter],
    },
  },
}));

const request = 'Read src/app.py';
const sample = reference.prompts.find(({ name }) => name === 'tool_read')!;
/** What the model answers to it greedily. */
const [answer] = sample.greedy_text.split('<|im_end|>');
const call = { name: 'read_file', arguments: { path: 'src/app.py' } };

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-cli-tools-'));
  file = join(folder, 'tools.json');
  await writeFile(file, JSON.stringify(tools));
});
afterAll(() => rm(folder, { recursive: true }));

describe('generate --tools', () => {
  const generate = (...args: string[]) =>
    runCli(['generate', '-q', '--greedy', '--max-tokens', '60', '--tools', file, ...args]);

  test('prints a call as a line of JSON, and none of its markup', async () => {
    const { code, stdout, stderr } = await generate(request);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(`${JSON.stringify(call)}\n`);
  });

  test('prints an answer without calls as text', async () => {
    const prime = 'Write a Python function that checks if a number is prime.';
    const { code, stdout } = await generate(prime);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[A-Z][^{}]*```python\ndef is_prime\(n\):\n[^{}]*\n$/);
  });

  test('--json has calls, text and reasoning apart, of exactly the reference prompt', async () => {
    const { stdout } = await generate('--json', request);
    expect(JSON.parse(stdout)).toMatchObject({
      text: answer,
      promptTokens: sample.n_tokens,
      tokens: sample.greedy_ids.slice(0, sample.greedy_ids.indexOf(4086)),
      finishReason: 'stop',
      toolCalls: [call],
      content: '',
      reasoning: '',
    });
  });

  test('--tool-choice forces a call that the model would not make', async () => {
    const { code, stdout, stderr } = await generate('--tool-choice', 'list_directory', 'Hello!');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      name: 'list_directory',
      arguments: { path: expect.any(String) },
    });
    expect(stdout.split('\n')).toHaveLength(2);
  });

  test('leaves out a call that was cut off, and says so', async () => {
    const { code, stdout, stderr } = await generate('--max-tokens', '12', request);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toMatch(/^mowgli: .* no whole call: read_file; .*--max-tokens.*\n$/);
  });

  test.each([
    [['--raw', request], /^mowgli: --tools has no place in a --raw prompt.*\n$/],
    [
      ['--tools', '/no/such.json', request],
      /^mowgli: --tools: \/no\/such\.json cannot be read.*\n$/,
    ],
  ])('%j is a usage error in one line', async (args, message) => {
    const { code, stdout, stderr } = await generate(...args);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('a template that knows no tools is named', async () => {
    const model = join(folder, 'no-tools');
    await copyModel(model, '{% for m in messages %}{{ m.content }}{% endfor %}');
    const { code, stdout, stderr } = await generate('--model', model, request);
    expect(stderr).toMatch(
      /^mowgli: --tools: .*no-tools has a chat template that knows no tools.*\n$/,
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

test('generate --json-schema lets the answer be such JSON, and nothing else', async () => {
  const schema = {
    type: 'object',
    properties: { colours: { type: 'array', items: { enum: ['red', 'blue'] }, minItems: 2 } },
    required: ['colours'],
  };
  const { code, stdout, stderr } = await runCli([
    ...['generate', '-q', '--json', '--seed', '1', '--max-tokens', '60', 'Name some colours.'],
    ...['--json-schema', JSON.stringify(schema)],
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { text, content, ...rest } = JSON.parse(stdout);
  expect(rest).toMatchObject({ toolCalls: [], reasoning: '', finishReason: 'stop' });
  expect(content).toBe(text);
  const { colours, ...others } = JSON.parse(content);
  expect(others).toEqual({});
  expect(colours.length).toBeGreaterThanOrEqual(2);
  for (const colour of colours) expect(['red', 'blue']).toContain(colour);
});

/** tiny-coder with another chat template. */
async function copyModel(to: string, template: string): Promise<void> {
  await mkdir(to);
  for (const name of await readdir(tinyCoder)) {
    await symlink(join(tinyCoder, name), join(to, name));
  }
  await writeFile(join(to, 'chat_template.jinja'), template);
}
