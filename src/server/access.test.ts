import { request as httpRequest } from 'node:http';
import { describe, expect, test } from 'vitest';
import { FakeModel } from '../../tests/server/fake-model.ts';
import { chat, listen, messages, open } from '../../tests/server/fake-server.ts';
import { createServer } from './index.ts';

describe('API keys', () => {
  const key = (value?: string) => (value === undefined ? {} : { authorization: value });

  test('any of them opens, nothing else does', async () => {
    const { post, app } = await open({ apiKey: ['sesame', 'ключ', 'ÿ'] });
    const utf8 = Buffer.from('Bearer ключ').toString('latin1'); // As a header is read.
    for (const right of ['Bearer sesame', 'bearer sesame', utf8, 'Bearer ÿ']) {
      expect((await post({ messages }, chat, key(right))).statusCode, right).toBe(200);
    }
    for (const wrong of [
      undefined,
      'sesame',
      'Bearer',
      'Bearer ',
      'Bearer sesam',
      'Basic sesame',
    ]) {
      const { statusCode, headers, body } = await post({ messages }, chat, key(wrong));
      expect(statusCode, wrong).toBe(401);
      expect(headers['www-authenticate']).toBe('Bearer');
      expect(JSON.parse(body)).toMatchObject({ error: { code: 'invalid_api_key' } });
    }
    for (const url of ['/v1/models', '/metrics', '/nothing']) {
      expect((await app.inject(url)).statusCode, url).toBe(401);
    }
    expect((await app.inject('/health')).statusCode).toBe(200);
  });

  test('white space at the ends is no part of one', async () => {
    const { post } = await open({ apiKey: [' a b\r\n', '\ufeffsesame'] });
    for (const right of ['a b', 'a b ', 'sesame']) {
      expect((await post({ messages }, chat, key(`Bearer ${right}`))).statusCode, right).toBe(200);
    }
    expect((await post({ messages }, chat, key('Bearer ab'))).statusCode).toBe(401);
  });

  test('an empty one is refused: it would open to everybody', async () => {
    for (const apiKey of ['', ' ', ['a', '']]) {
      await expect(createServer(new FakeModel(), { apiKey })).rejects.toThrow(/apiKey is empty/);
    }
  });

  test('is never logged', async () => {
    const lines: string[] = [];
    const logger = { level: 'trace', stream: { write: (line: string) => void lines.push(line) } };
    const { post } = await open({ apiKey: 'sesame', logger });
    await post({ messages }, chat, key('Bearer sesame'));
    await post({ messages }, chat, key('Bearer sesamo'));
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.join('')).not.toContain('sesam');
  });
});

describe('a name that was made to mean this machine', () => {
  const status = (port: number, host: string, path = '/v1/models') =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path, headers: { host } };
      httpRequest(options, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });

  test('is refused; names and addresses of this machine are not', async () => {
    const { port } = await listen();
    for (const host of ['localhost', `LOCALHOST:${port}`, '127.0.0.1', '[::1]:80', 'a.localhost']) {
      expect(await status(port, host), host).toBe(200);
    }
    for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example']) {
      expect(await status(port, host), host).toBe(403);
    }
    expect(await status(port, 'evil.example', '/health')).toBe(200);
  });

  test('does no harm where a key is needed', async () => {
    const { port } = await listen({ apiKey: 'sesame' });
    expect(await status(port, 'my-proxy.example')).toBe(401);
  });
});

describe('pages of other origins', () => {
  const preflight = {
    ...{ method: 'OPTIONS', url: chat },
    headers: {
      origin: 'https://a.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  } as const;
  const allowed = 'access-control-allow-origin';

  test('are let in when they are named, before they show a key', async () => {
    const { app, post } = await open({ corsOrigin: 'https://a.example', apiKey: 'sesame' });
    const asked = await app.inject(preflight);
    expect(asked.statusCode).toBe(204);
    expect(asked.headers[allowed]).toBe('https://a.example');
    expect(asked.headers['access-control-allow-headers']).toBe('authorization,content-type');
    const { origin } = preflight.headers;
    const answered = await post({ messages, stream: true }, chat, {
      ...{ origin, authorization: 'Bearer sesame' },
    });
    expect(answered.headers[allowed]).toBe(origin);
    expect((await post({ messages }, chat, { origin })).headers[allowed]).toBe(origin);
    const other = await post({ messages }, chat, { origin: 'https://b.example' });
    expect(other.headers[allowed]).not.toBe('https://b.example');
  });

  test.each([
    ['https://a.example/', 'https://a.example'],
    ['HTTPS://A.example:443/page?x=1', 'https://a.example'],
    ['http://localhost:3000', 'http://localhost:3000'],
    ['https://bücher.example', 'https://xn--bcher-kva.example'],
    ['tauri://localhost', 'tauri://localhost'],
    ['*', 'https://anything.example'],
  ])('%s lets in %s', async (corsOrigin, origin) => {
    const { post } = await open({ corsOrigin });
    const { headers } = await post({ messages }, chat, { origin });
    expect([origin, '*']).toContain(headers[allowed]);
  });

  test.each([
    'example.com',
    'localhost:3000',
    '//a.example',
    'https://*.example',
    '',
    'null',
    'a:b',
  ])('%j is no origin', async (corsOrigin) => {
    await expect(createServer(new FakeModel(), { corsOrigin })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('pass one such as https://example.com'),
    });
  });

  test('are not, by default', async () => {
    const { app, post } = await open();
    const asked = await app.inject(preflight);
    expect(asked.statusCode).toBe(404);
    expect(asked.headers[allowed]).toBeUndefined();
    const { headers } = await post({ messages }, chat, { origin: 'https://a.example' });
    expect(headers[allowed]).toBeUndefined();
  });
});
