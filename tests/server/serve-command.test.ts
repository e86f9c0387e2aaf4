import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import type { Interrupt } from '../../src/cli/interrupt.ts';
import { serveCommand } from '../../src/cli/serve.ts';
import { launcher, runCli } from '../run-cli.ts';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('serves until SIGTERM, answers what is under way, and ends with 0', async () => {
  const child = spawn(
    process.execPath,
    [launcher, 'serve', '--port', '0', '--model-name', 'tiny'],
    {
      env: { ...process.env, MOWGLI_API_KEY: 'sesame' },
    },
  );
  cleanups.push(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = once(child, 'close');
  const [first] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  expect(first).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1\n$/);
  const url = first.trim();
  const ask = (body: object, key = 'sesame') =>
    fetch(`${url}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello!' }], ...body }),
    });
  expect((await ask({}, 'wrong')).status).toBe(401);
  const queued = async () => {
    const headers = { authorization: 'Bearer sesame' };
    const response = await fetch(url.replace('/v1', '/metrics'), { headers });
    return (await response.text()).includes('\nmowgli_queue_depth 1\n');
  };
  const forever = { max_tokens: 150, logit_bias: { 4084: -100, 4086: -100 }, temperature: 0 };
  const stream = await ask({ ...forever, model: 'tiny', stream: true });
  const waiting = ask({ temperature: 0 });
  while (!(await queued())) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGTERM');
  expect(await stream.text()).toMatch(/"finish_reason":"length".*\n\ndata: \[DONE\]\n\n$/);
  expect(await (await waiting).json()).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
  const [code] = await ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).toContain(`curl ${url}/chat/completions`);
  expect(stderr).not.toContain('sesame');
});

test('a port that is taken is told of before the model is loaded', async () => {
  const port = await listen(createServer());
  const { code, stderr, stdout } = await runCli(['serve', '--port', String(port)]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toBe(
    `mowgli: --port: ${port} is in use on 127.0.0.1; stop what uses it, or choose another, or 0 for any that is free\n`,
  );
});

test.each([
  [
    ['--cors-origin', 'example.com'],
    '--cors-origin must be an origin, such as https://example.com',
  ],
  [['--api-key', ' '], '--api-key is empty'],
  [[], 'the environment variable MOWGLI_API_KEY is empty'],
])('%j is wrong usage, told of before the model is loaded', async (args, message) => {
  vi.stubEnv('MOWGLI_API_KEY', '\r\n');
  cleanups.push(() => vi.unstubAllEnvs());
  const { signal } = new AbortController();
  const interrupt = { signal, exitCode: undefined } as Interrupt;
  await expect(serveCommand(interrupt).parseAsync(args, { from: 'user' })).rejects.toMatchObject({
    ...{ code: 'OPTION_INVALID', message: expect.stringContaining(message) },
  });
});
