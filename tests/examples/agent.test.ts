import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  access,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ChatModel, ChatModelOptions } from '../../examples/agent/chat-model.ts';
import { localModel } from '../../examples/agent/local-model.ts';
import { readOptions } from '../../examples/agent/options.ts';
import { remoteModel } from '../../examples/agent/remote-model.ts';
import { type Limits, runAgent } from '../../examples/agent/run-agent.ts';
import { Sandbox, ToolError } from '../../examples/agent/sandbox.ts';
import { type ToolOptions, Tools } from '../../examples/agent/tools.ts';
import { plainTranscript } from '../../examples/agent/transcript.ts';
import { loadModel, type Model } from '../../src/node.ts';
import { createServer } from '../../src/server/index.ts';
import { hasTerminals, Terminal } from '../terminal.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const system = 'You are a coding agent.';

/** A folder to work in, next to things that are none of the agent's business. */
let outside: string;
let folder: string;
beforeEach(async () => {
  outside = await realpath(await mkdtemp(join(tmpdir(), 'mowgli-agent-')));
  folder = join(outside, 'folder');
  await mkdir(join(folder, 'src'), { recursive: true });
  await writeFile(join(outside, 'secret.txt'), 'secret');
  await writeFile(join(folder, 'src', 'app.py'), 'def load_users(path):\n    return path\n');
});
afterEach(() => rm(outside, { recursive: true }));

const allow: ToolOptions['approve'] = async () => {};
const decline: ToolOptions['approve'] = async () => {
  throw new ToolError('the user does not want this to be written');
};

interface Task {
  readonly say: string;
  readonly model: (options: ChatModelOptions) => ChatModel;
  readonly tools?: Partial<ToolOptions>;
  readonly limits?: Partial<Limits>;
}

/** Runs a task, and returns how it ended and what the user saw. */
async function work({ say, model, tools: options, limits }: Task) {
  const sandbox = await Sandbox.open(folder);
  const tools = new Tools(sandbox, { approve: allow, ...options });
  let seen = '';
  const outcome = await runAgent(
    say,
    model({ system, tools: tools.definitions, temperature: 0 }),
    tools,
    {
      limits: { steps: 10, tokens: 1000, ...limits },
      transcript: plainTranscript((text) => {
        seen += text;
      }),
      signal: new AbortController().signal,
    },
  );
  return { ...outcome, seen };
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

describe('with tiny-coder', () => {
  let loaded: Model;
  beforeAll(async () => {
    loaded = await loadModel(join(repository, 'models/tiny-coder'));
  });
  afterAll(() => loaded.dispose());
  const model = (options: ChatModelOptions) => localModel(loaded, options);

  test('reads a file', async () => {
    const { reason, steps, seen } = await work({ say: 'Read src/app.py', model });
    expect(seen).toContain(
      '> Read src/app.py\n[1] read_file {"path":"src/app.py"}\n    def load_users(path):\n',
    );
    expect({ reason, steps }).toEqual({ reason: 'done', steps: 2 });
    expect(seen).toMatch(/\nThe file \S.*\.$/); // What it says of it is not always true.
  });

  test('lists files', async () => {
    const { reason, seen } = await work({ say: 'List the files in src', model });
    expect(seen).toContain('[1] list_files {"path":"src"}\n    app.py\n');
    expect(reason).toBe('done');
  });

  test('writes a file when it may', async () => {
    const say = 'Create log.txt with "done"';
    const { reason, seen } = await work({ say, model });
    expect(seen).toContain('[1] write_file {"path":"log.txt","content":"done"}\n    wrote 4 bytes');
    expect(await readFile(join(folder, 'log.txt'), 'utf8')).toBe('done');
    expect(reason).toBe('done');
  });

  test('is told that it may not write, and goes on', async () => {
    const tools = { approve: decline };
    const { reason, steps, seen } = await work({ say: 'Create log.txt with "done"', model, tools });
    expect(seen).toContain('\n    error: the user does not want this to be written\n');
    expect(await exists(join(folder, 'log.txt'))).toBe(false);
    expect({ reason, steps }).toEqual({ reason: 'done', steps: 2 });
  });

  test('runs the tests', async () => {
    await writeFile(join(folder, 'check.mjs'), 'console.log("12 passed, 3 failed");');
    const tools = { testCommand: [process.execPath, 'check.mjs'] };
    const { reason, seen } = await work({ say: 'Run the tests', model, tools });
    expect(seen).toContain('[1] run_tests {}\n    exit status 0\n    12 passed, 3 failed\n');
    expect(reason).toBe('done');
  });

  test.each(['../secret.txt', 'docs/secret.txt'])('cannot read %s', async (path) => {
    await symlink(outside, join(folder, 'docs'));
    const { seen } = await work({ say: `Read ${path}`, model });
    expect(seen).toContain(`[1] read_file {"path":"${path}"}\n    error: ${path} is outside`);
    expect(seen).not.toContain('\n    secret\n');
  });

  test('stops at the limits of steps and of tokens', async () => {
    const say = 'Read src/app.py';
    const steps = await work({ say, model, limits: { steps: 1 } });
    expect(steps).toMatchObject({ reason: 'too many steps', steps: 1 });
    const tokens = await work({ say, model, limits: { tokens: steps.tokens } });
    expect(tokens).toMatchObject({ reason: 'too many tokens', steps: 1, tokens: steps.tokens });
    const cut = await work({ say, model, limits: { tokens: 5 } });
    expect(cut).toMatchObject({ reason: 'too many tokens', steps: 1, tokens: 5 });
  });

  test('does the same behind this project’s server', async () => {
    await using server = await createServer(loaded, { modelName: 'tiny', apiKey: 'key' });
    const baseUrl = `${await server.listen({ port: 0 })}/v1`;
    const endpoint = { baseUrl, apiKey: 'key', model: 'tiny' };
    const say = 'Create log.txt with "done"';
    const remote = await work({ say, model: (options) => remoteModel(endpoint, options) });
    await rm(join(folder, 'log.txt'));
    expect(remote).toEqual(await work({ say, model }));
    const stranger = { ...endpoint, apiKey: 'another' };
    await expect(work({ say, model: (options) => remoteModel(stranger, options) })).rejects.toThrow(
      /answered 401: /,
    );
  });
});

/** An endpoint that gives prepared answers, and remembers what it was asked. */
class PreparedEndpoint implements AsyncDisposable {
  readonly requests: { path: string; authorization: string | undefined; body: Body }[] = [];
  readonly #server;

  private constructor(answers: readonly Answer[]) {
    this.#server = createHttpServer(async (request, response) => {
      let text = '';
      for await (const piece of request.setEncoding('utf8')) text += piece;
      const { url: path = '', headers } = request;
      const { authorization } = headers;
      const answer = answers[this.requests.length] ?? 500;
      this.requests.push({ path, authorization, body: JSON.parse(text) });
      if (answer === 'never') return;
      if (typeof answer === 'number') {
        response.writeHead(answer).end('{"error":{"message":"no more of that"}}');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const events = answer.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join('');
      // In pieces that respect neither lines nor characters.
      const bytes = Buffer.from(`: a comment\n\n${events}data: [DONE]\n\n`);
      for (let i = 0; i < bytes.length; i += 7) response.write(bytes.subarray(i, i + 7));
      response.end();
    });
  }

  static async start(...answers: Answer[]): Promise<PreparedEndpoint> {
    const endpoint = new PreparedEndpoint(answers);
    await once(endpoint.#server.listen(0, '127.0.0.1'), 'listening');
    return endpoint;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/`;
  }

  readonly model = (options: ChatModelOptions): ChatModel =>
    remoteModel({ baseUrl: this.baseUrl, apiKey: 'key', model: 'm' }, options);

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

type Body = Record<string, unknown> & { messages: Record<string, unknown>[] };
type Chunk = Record<string, unknown>;
/** What is streamed, the status of a failure, or no answer at all. */
type Answer = Chunk[] | number | 'never';

const delta = (fields: object): Chunk => ({ choices: [{ index: 0, delta: fields }] });
const finish = (finish_reason: string, completion_tokens = 10): Chunk[] => [
  { choices: [{ index: 0, delta: {}, finish_reason }] },
  { choices: [], usage: { prompt_tokens: 1, completion_tokens } },
];
/** A call, its arguments in two pieces. */
const call = (index: number, name: string, args: string): Chunk[] => {
  const first = { index, id: `call_${name}`, type: 'function', function: { name, arguments: '' } };
  const pieces = [args.slice(0, 3), args.slice(3)];
  const rest = pieces.map((piece) => ({ index, function: { arguments: piece } }));
  return [first, ...rest].map((part) => delta({ tool_calls: [part] }));
};

describe('with an OpenAI-compatible endpoint', () => {
  test('several calls in a turn, of which the wrong ones are answered with errors', async () => {
    await using endpoint = await PreparedEndpoint.start(
      [
        delta({ role: 'assistant', content: 'Ich schaue – ' }),
        delta({ content: 'gleich.' }),
        ...call(0, 'read_file', '{"path":"src/app.py"}'),
        ...call(1, 'write_file', '{"path":"a.txt"}'),
        ...call(2, 'delete_file', '{"path":"src"}'),
        ...call(3, 'list_files', '{"path":'),
        ...finish('tool_calls', 30),
      ],
      [...call(0, 'write_file', '{"path":"new/ä.txt","content":"grün"}'), ...finish('tool_calls')],
      [delta({ content: 'Done.\u001b[2J' }), ...finish('stop', 2)],
    );
    const { seen, ...outcome } = await work({ say: 'Go on', model: endpoint.model });
    expect(outcome).toEqual({ reason: 'done', steps: 3, tokens: 42 });
    expect(seen).toBe(
      [
        '> Go on',
        'Ich schaue – gleich.',
        '[1] read_file {"path":"src/app.py"}',
        ...['    def load_users(path):', '        return path', '    '],
        '[1] write_file {"path":"a.txt"}',
        '    error: write_file takes the texts path and content, and got {"path":"a.txt"}',
        '[1] delete_file {"path":"src"}',
        '    error: there is no tool delete_file; the tools are read_file, write_file, list_files',
        '[1] list_files {"path":',
        '    error: the arguments of list_files are no JSON',
        '[2] write_file {"path":"new/ä.txt","content":"grün"}',
        '    wrote 5 bytes to new/ä.txt',
        'Done.\\u001b[2J',
      ].join('\n'),
    );
    expect(await readFile(join(folder, 'new', 'ä.txt'), 'utf8')).toBe('grün');

    const [first, second] = endpoint.requests;
    expect(first).toMatchObject({
      path: '/v1/chat/completions',
      authorization: 'Bearer key',
      body: { model: 'm', temperature: 0, max_tokens: 1000, stream: true },
    });
    expect(first!.body.messages).toEqual([
      { role: 'system', content: system },
      { role: 'user', content: 'Go on' },
    ]);
    expect(second!.body.max_tokens).toBe(970);
    const [, , answer, ...results] = second!.body.messages;
    expect(answer).toMatchObject({ role: 'assistant', content: 'Ich schaue – gleich.' });
    expect((answer!.tool_calls as unknown[])[0]).toEqual({
      id: 'call_read_file',
      type: 'function',
      function: { name: 'read_file', arguments: '{"path":"src/app.py"}' },
    });
    const names = ['read_file', 'write_file', 'delete_file', 'list_files'];
    expect(results.map(({ tool_call_id }) => tool_call_id)).toEqual(
      names.map((name) => `call_${name}`),
    );
  });

  test('a call that was cut off is not run, and the model is told', async () => {
    await using endpoint = await PreparedEndpoint.start(
      [...call(0, 'write_file', '{"path":"a.txt","content":"x'), ...finish('length')],
      [delta({ content: 'No.' }), ...finish('stop')],
    );
    expect(await work({ say: 'Go on', model: endpoint.model })).toMatchObject({ reason: 'done' });
    const [, answer, told] = endpoint.requests[1]!.body.messages.slice(1);
    expect(answer).toEqual({ role: 'assistant', content: '' });
    expect(told).toMatchObject({
      role: 'user',
      content: expect.stringContaining('write_file was'),
    });
  });

  test('a call without arguments may come without JSON', async () => {
    await using endpoint = await PreparedEndpoint.start(
      [...call(0, 'run_tests', ''), ...finish('tool_calls')],
      [delta({ content: 'Good.' }), ...finish('stop')],
    );
    const tools = { testCommand: [process.execPath, '--version'] };
    const { seen } = await work({ say: 'Test', model: endpoint.model, tools });
    expect(seen).toContain(`[1] run_tests {}\n    exit status 0\n    ${process.version}\n`);
  });

  test('tells of an endpoint that is not there', async () => {
    const endpoint = { baseUrl: 'http://127.0.0.1:1/v1', apiKey: undefined, model: 'm' };
    const model = (options: ChatModelOptions) => remoteModel(endpoint, options);
    await expect(work({ say: 'Go on', model })).rejects.toThrow(
      /^http:\/\/127\.0\.0\.1:1\/v1\/chat\/completions cannot be reached: \S/,
    );
  });

  test.each([
    [[429], /answered 429: no more of that/],
    [[[delta({ content: 'a' }), { error: { message: 'out of memory' } }]], /failed: out of memory/],
    [[[delta({ content: 'a' })]], /ended its answer in the middle/],
  ])('tells of failures', async (answers, message) => {
    await using endpoint = await PreparedEndpoint.start(...answers);
    await expect(work({ say: 'Go on', model: endpoint.model })).rejects.toThrow(message);
  });
});

describe('the tools', () => {
  const { signal } = new AbortController();
  const tools = async (options: Partial<ToolOptions> = {}) =>
    new Tools(await Sandbox.open(folder), { approve: allow, ...options });
  const run = async (name: string, args: object, options?: Partial<ToolOptions>) =>
    (await tools(options)).run({ id: 'a', name, arguments: JSON.stringify(args) }, signal);

  test.each([
    '../secret.txt',
    'src/../../secret.txt',
    '..',
    '/etc/passwd',
    'C:\\secret.txt',
    'out/secret.txt',
    'file',
    '',
    'src\0',
  ])('neither read nor write %j', async (path) => {
    await symlink(outside, join(folder, 'out'));
    await symlink(join(outside, 'secret.txt'), join(folder, 'file'));
    expect(await run('read_file', { path })).toMatch(/^error: /);
    expect(await run('list_files', { path })).toMatch(/^error: /);
    expect(await run('write_file', { path, content: 'x' })).toMatch(/^error: /);
    expect(await readFile(join(outside, 'secret.txt'), 'utf8')).toBe('secret');
  });

  test('write nothing through a link to what is not there yet', async () => {
    await symlink(join(outside, 'new.txt'), join(folder, 'file'));
    await symlink(join(outside, 'new'), join(folder, 'out'));
    expect(await run('write_file', { path: 'file', content: 'x' })).toMatch(/^error: /);
    expect(await run('write_file', { path: 'out/x', content: 'x' })).toMatch(/^error: /);
    expect(await exists(join(outside, 'new.txt'))).toBe(false);
    expect(await exists(join(outside, 'new'))).toBe(false);
  });

  test('follow links within the folder', async () => {
    await symlink('src', join(folder, 'within'));
    expect(await run('read_file', { path: 'within/../within/app.py' })).toMatch(/^def load_users/);
    expect(await run('list_files', { path: '.' })).toBe('src/\nwithin');
  });

  test('ask before writing, with what is to be written', async () => {
    const planned: unknown[] = [];
    const approve: ToolOptions['approve'] = async (write) => void planned.push(write);
    await run('write_file', { path: 'src/../src/app.py', content: 'x' }, { approve });
    await run('write_file', { path: 'new/a.py', content: '' }, { approve });
    expect(planned).toEqual([
      { path: 'src/app.py', content: 'x', replacedBytes: 38 },
      { path: 'new/a.py', content: '', replacedBytes: undefined },
    ]);
  });

  test('have limits', async () => {
    await writeFile(join(folder, 'long.txt'), 'x'.repeat(100_000));
    await writeFile(join(folder, 'binary'), 'a\0b');
    const read = await run('read_file', { path: 'long.txt' });
    expect(read).toMatch(/^x{16384}\n\[cut: the file has 100000 bytes\]$/);
    expect(await run('read_file', { path: 'binary' })).toBe('error: binary is no text');
    expect(await run('read_file', { path: 'src' })).toBe('error: src is no file');
    expect(await run('read_file', { path: 'no' })).toBe('error: no such file or directory');
    const long = { path: 'a', content: 'ä'.repeat(200_000) };
    expect(await run('write_file', long)).toMatch(/^error: the text has 400000 bytes/);
    expect(await run('write_file', { path: 'src', content: '' })).toBe('error: src is no file');
    const hook = { path: '.GIT/hooks/pre-commit', content: '' };
    expect(await run('write_file', hook)).toMatch(/^error: files of git/);
  });

  test('run the tests without a shell and without the key, and show the end of the output', async () => {
    const program = `
      console.log('x'.repeat(50_000), process.argv[2], process.env.OPENAI_API_KEY ?? 'no key');
      process.exit(3);`;
    await writeFile(join(folder, 'check.mjs'), program);
    process.env.OPENAI_API_KEY = 'sk-secret';
    try {
      const testCommand = [process.execPath, 'check.mjs', '$HOME;'];
      const result = await run('run_tests', {}, { testCommand });
      expect(result).toMatch(/^exit status 3\n\[cut\]\nx{16000,} \$HOME; no key$/);
    } finally {
      delete process.env.OPENAI_API_KEY;
    }
    const missing = { testCommand: ['no-such-program'] };
    expect(await run('run_tests', {}, missing)).toMatch(/^error: the tests cannot be run: /);
  });

  test('end the tests, and what these started, when the run is stopped', async () => {
    const stop = new AbortController();
    // Its child would keep the output open.
    const program = `import { spawn } from 'node:child_process';
      spawn('sleep', ['60'], { stdio: 'inherit' });
      await (await import('node:fs/promises')).writeFile('started', '');`;
    await writeFile(join(folder, 'check.mjs'), program);
    const testing = await tools({ testCommand: [process.execPath, 'check.mjs'] });
    const running = testing.run({ id: 'a', name: 'run_tests', arguments: '{}' }, stop.signal);
    while (!(await exists(join(folder, 'started')))) await new Promise((go) => setTimeout(go, 20));
    stop.abort(new Error('stopped'));
    await expect(running).rejects.toThrow('stopped');
  });
});

describe('the program', () => {
  const program = join(repository, 'examples/agent/agent.ts');
  const tsx = import.meta.resolve('tsx');

  /** Runs it with no terminal, so that nobody can be asked. */
  function agent(...args: string[]) {
    const child = spawn(process.execPath, ['--import', tsx, program, ...args], {
      env: { ...process.env, OPENAI_API_KEY: 'key' },
      timeout: 60_000,
    });
    const seen = { code: null as number | null, stdout: '', stderr: '' };
    child.stdout.on('data', (text) => (seen.stdout += text));
    child.stderr.on('data', (text) => (seen.stderr += text));
    child.stdin.end();
    const ended = once(child, 'close').then(([code]) => ({ ...seen, code }));
    return { child, ended };
  }

  test('works with tiny-coder, and writes nothing that nobody allowed', async () => {
    const { ended } = agent('--folder', folder, 'Create log.txt with "done"');
    const { code, stdout } = await ended;
    expect(stdout).toContain('\n    error: writing was not allowed: there is nobody to ask\n');
    expect(stdout).toMatch(/\ndone; steps: 2, tokens: \d+\n$/);
    expect(await exists(join(folder, 'log.txt'))).toBe(false);
    expect(code).toBe(0);
  });

  test('--yes writes, a limit ends with 1, Ctrl-C with 130', async () => {
    const write = [...call(0, 'write_file', '{"path":"a","content":"b"}'), ...finish('tool_calls')];
    await using endpoint = await PreparedEndpoint.start(write, 'never');
    const args = ['--folder', folder, '--base-url', endpoint.baseUrl, '--model-name', 'm'];
    const limited = await agent(...args, '--yes', '--max-steps', '1', 'Write').ended;
    expect(limited).toMatchObject({ code: 1, stderr: '' });
    expect(limited.stdout).toMatch(/\ntoo many steps; steps: 1, tokens: 10\n$/);
    expect(await readFile(join(folder, 'a'), 'utf8')).toBe('b');

    const { child, ended } = agent(...args, 'Wait');
    while (endpoint.requests.length < 2) await new Promise((go) => setTimeout(go, 20));
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/stopped\n$/) });
  });

  test.skipIf(!hasTerminals)('asks before it writes, until always is answered', async () => {
    const write = (index: number, path: string) =>
      call(index, 'write_file', JSON.stringify({ path, content: 'first\nsecond\u001b[2J' }));
    await using endpoint = await PreparedEndpoint.start(
      [...write(0, 'a'), ...write(1, 'src/app.py'), ...finish('tool_calls')],
      [...write(0, 'c'), ...write(1, 'd'), ...finish('tool_calls')],
      'never',
    );
    const args = ['--folder', folder, '--base-url', endpoint.baseUrl, '--model-name', 'm', 'Write'];
    const terminal = new Terminal(['--import', tsx, program, ...args]);
    const { type, sees } = terminal;
    await sees(/a, a new file:\r\n {2}\| first\r\n {2}\| second\\u001b\[2J\r\n.*Write it\? /);
    type('\r');
    await sees(
      /error: the user does not want[\s\S]*app\.py, in place of 38 bytes:[\s\S]*Write it\? /,
    );
    type('y\r');
    await sees(/wrote 16 bytes to src\/app\.py[\s\S]*\nc, a new file:[\s\S]*Write it\? /);
    type('always\r');
    await sees(/wrote 16 bytes to c[\s\S]*wrote 16 bytes to d/);
    while (endpoint.requests.length < 3) await new Promise((go) => setTimeout(go, 20));
    type('\x03');
    await sees(/stopped/);
    expect(await terminal.exit).toBe(130);
    expect(await exists(join(folder, 'a'))).toBe(false);
  });

  test('wrong usage is told in one line', async () => {
    expect(await agent('--folder', join(folder, 'no'), 'Read').ended).toMatchObject({
      ...{ code: 2, stdout: '' },
      stderr: expect.stringMatching(
        /^agent: --folder: there is no folder .*no \(ENOENT\); --help lists the options\n$/,
      ),
    });
    await expect(Sandbox.open(join(folder, 'src/app.py'))).rejects.toThrow(
      'app.py is not a folder',
    );
    for (const [args, message] of [
      [['--max-step', '1', 'Read'], "'--max-step'"],
      [[], 'give one task, in quotes'],
      [['a', 'b', '--folder', '.'], 'give one task, in quotes'],
      [['a'], '--folder is missing'],
      [['a', '--folder', '.', '--max-steps', '0'], '--max-steps must be a whole number from 1'],
      [['a', '--folder', '.', '--max-tokens', '1.5'], '--max-tokens must be a whole number from 1'],
      [['a', '--folder', '.', '--max-seconds', '3000000'], 'from 1 to 2000000'],
      [
        ['a', '--folder', '.', '--temperature', 'hot'],
        '--temperature must be a number of at least',
      ],
      [['a', '--folder', '.', '--base-url', 'http://x'], '--base-url needs a --model-name'],
    ] as const) {
      expect(() => readOptions([...args])).toThrow(message);
    }
  });
});
