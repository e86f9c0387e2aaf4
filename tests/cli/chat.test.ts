import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { launcher, runCli } from '../run-cli.ts';
import { hasTerminals, Terminal } from '../terminal.ts';

/** What tiny-coder says greedily, as its README shows. */
const hello = { said: 'Hello!', answer: 'Hello! What would you like to do?' };
const webgpu = {
  said: 'What is WebGPU?',
  answer:
    'WebGPU is a browser API for graphics and compute on the GPU. Its shaders are written in WGSL.',
};
/** Without its end tokens, an answer ends when it is stopped. */
const endless = ['--logit-bias', '4084=-inf', '--logit-bias', '4086=-inf'];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-chat-'));
});
afterAll(() => rm(folder, { recursive: true }));

function chat(lines: readonly string[], ...args: string[]) {
  const input = lines.map((line) => `${line}\n`).join('');
  return runCli(['chat', '-q', '--greedy', ...args], { input, cwd: folder });
}

describe('lines from a pipe', () => {
  test('are messages and commands; a turn evaluates only what is new, also after /load', async () => {
    const lines = [hello.said, webgpu.said, '/stats', '/save a.session', '/undo', '/regenerate'];
    const loaded = ['/load a.session', '/set', '/regenerate', '/stats', '/reset', webgpu.said];
    const { code, stdout, stderr } = await chat([...lines, ...loaded, '/exit', 'unsaid']);
    expect(stdout.split('\n')).toEqual([
      ...[hello.answer, webgpu.answer],
      ...[hello.answer, webgpu.answer, webgpu.answer, ''],
    ]);
    // What lies between the answer before and the answer to come.
    const between = `<|im_end|>\n<|im_start|>user\n${webgpu.said}<|im_end|>\n<|im_start|>assistant\n`;
    const { length } = (await tokenizer()).encode(between);
    const [first, again] = [...stderr.matchAll(/ (\d+) of them cached and (\d+) evaluated/g)];
    expect(Number(first![2])).toBe(length);
    // The same question once more: its last token gives the logits.
    expect(Number(again![2])).toBe(1);
    expect(Number(again![1])).toBe(Number(first![1]) + length - 1);
    expect(stderr).toMatch(/^context: \d+ of 4096 tokens, 4 messages$/m);
    expect(stderr).toContain('experts: all 80 on the GPU\n');
    expect(stderr).toContain(`took back: ${webgpu.said}\n`);
    expect(stderr).toMatch(/^loaded 4 messages from .*a\.session\ntemperature +0\n/m);
    expect(code).toBe(0);
  });

  test('are results of calls, too; an error ends the chat', async () => {
    await writeFile(join(folder, 'tools.json'), JSON.stringify([readFileTool]));
    const result = ['"""', 'def load_users(path):', '    return path', '"""'];
    const { code, stdout, stderr } = await chat(
      ['/tools', 'Read src/app.py', ...result, '/save tools.json', 'unsaid'],
      ...['--tools', 'tools.json'],
    );
    const [call, answer, ...rest] = stdout.split('\n');
    expect(JSON.parse(call!)).toEqual({ name: 'read_file', arguments: { path: 'src/app.py' } });
    expect(answer).toMatch(/^The file .*app\.py/);
    expect(rest).toEqual(['']);
    expect(stderr).toMatch(
      /^\[\n {2}\{[\s\S]*"name": "read_file"[\s\S]*\nmowgli: \/save: .*tools\.json exists,.*\n$/,
    );
    expect(JSON.parse(await readFile(join(folder, 'tools.json'), 'utf8'))).toEqual([readFileTool]);
    expect(code).toBe(2);
  });

  test('SIGINT ends answer and chat, and keeps what was said', async () => {
    let killed = false;
    const { code, stdout } = await runCli(['chat', '-q', '--greedy', ...endless], {
      input: `${webgpu.said}\n${hello.said}\n`,
      onOutput: (text, kill) => {
        if (killed || text.length < 20) return;
        killed = true;
        kill('SIGINT');
      },
    });
    expect(code).toBe(130);
    expect(stdout.startsWith('WebGPU is a browser')).toBe(true);
    expect(stdout.endsWith('\n')).toBe(true);
    expect(stdout).not.toContain(hello.answer);
  });
});

test('a model without a tokenizer is a usage error in one line', async () => {
  const { code, stdout, stderr } = await runCli(['chat', '--model', 'synthetic:qwen3-coder-30b']);
  expect(stderr).toMatch(/^mowgli: synthetic:.* has no tokenizer.*\n$/);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});

describe.skipIf(!hasTerminals)('in a terminal', () => {
  test('a paste is one message, Ctrl-C stops an answer only, and lines are remembered', async () => {
    const terminal = new Terminal([launcher, 'chat', '--greedy', ...endless], {
      MOWGLI_CACHE_DIR: folder,
    });
    const { type, sees } = terminal;
    await sees(/\/help lists the commands\.[\s\S]*> /);
    type('\x1b[200~What is\rWebGPU?\r\x1b[201~');
    type('\r');
    await sees(/browser API/);
    type('\x03');
    await sees(/\n\(stopped\)[\s\S]*> /);
    type('/stats\r');
    await sees(/, aborted\r\n[\s\S]*> /);
    type('/nope\r');
    await sees(/there is no command \/nope[\s\S]*> /);
    type('/undo\r'); // Of the paste, as one message.
    await sees(/took back: What is WebGPU\?\r\n[\s\S]*> /);
    type('\x1b[A\x1b[A'); // Two lines up.
    await sees(/\/nope/);
    type('\x03');
    await sees(/\^C\r\n[\s\S]*> /);
    type('\x03');
    await sees(/\(Ctrl-C once more[\s\S]*> /);
    type('\x03');
    expect(await terminal.exit).toBe(0);
    const history = join(folder, 'chat-history');
    expect(await readFile(history, 'utf8')).toBe('/stats\n/nope\n/undo\n');
    expect((await stat(history)).mode & 0o777).toBe(0o600);
  });
});

const readFileTool = {
  type: 'function',
  function: {
    name: 'read_file',
    description: 'Read a file',
    parameters: {
      type: 'object',
      properties: { path: { type: 'string', description: 'Path to the file' } },
      required: ['path'],
    },
  },
};

async function tokenizer(): Promise<Tokenizer> {
  const file = (name: string) =>
    readFile(new URL(`../../models/tiny-coder/${name}`, import.meta.url), 'utf8');
  return Tokenizer.parse(await file('tokenizer.json'), await file('tokenizer_config.json'));
}
