import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { chat, listen, messages, open } from '../../tests/server/fake-server.ts';
import { type ErrorCode, MowgliError } from '../errors.ts';

describe('errors', () => {
  const statuses: Partial<Record<ErrorCode, number>> = {
    ...{ OPTION_INVALID: 400, CONTEXT_EXCEEDED: 400, TEMPLATE_FAILED: 400 },
    ...{ TOKENIZER_INVALID: 400, DEVICE_LOST: 500, GPU_ERROR: 500, OUT_OF_MEMORY: 500 },
    ...{ READ_FAILED: 500, DISPOSED: 503 },
  };
  test.each(Object.entries(statuses))('%s is %i', async (code, status) => {
    const { post, model } = await open();
    model.script = () => {
      throw new MowgliError(code as ErrorCode, `tools: ${model.name} has none at /secret`);
    };
    const { statusCode, body } = await post({ messages });
    const { error } = JSON.parse(body);
    expect(statusCode).toBe(status);
    if (status === 400) {
      expect(error.message).toMatch(/^tools: fake-model has none/);
      expect(error.type).toBe('invalid_request_error');
    } else expect(body).not.toContain('secret');
  });

  test('of an option: by the name that a request has for it', async () => {
    const { post, model } = await open();
    const messageOf = { 'responseFormat json_object: no; raise maxTokens': 'response_format' };
    Object.assign(messageOf, {
      'tools[1] ("f"), parameters: no': 'tools[1]',
      'topology: no': null,
    });
    for (const [message, param] of Object.entries(messageOf)) {
      model.script = () => {
        throw new MowgliError('OPTION_INVALID', message);
      };
      const { error } = (await post({ messages })).json();
      expect(error.param).toBe(param);
      expect(error.message).not.toMatch(/responseFormat|maxTokens/);
    }
    const quoting = 'responseFormat json_schema: #/properties/maxTokens/if is not supported';
    model.script = () => {
      throw new MowgliError('OPTION_INVALID', quoting);
    };
    const { error } = (await post({ messages })).json();
    expect(error.message).toBe(quoting.replace('responseFormat', 'response_format'));
  });

  test('one that nobody foresaw tells nothing of itself', async () => {
    const lines: string[] = [];
    const logger = { level: 'error', stream: { write: (line: string) => void lines.push(line) } };
    const { post, model } = await open({ logger });
    model.script = () => {
      throw new TypeError('cannot read /secret of undefined');
    };
    const { statusCode, body } = await post({ messages });
    expect(statusCode).toBe(500);
    expect(body).not.toMatch(/secret|TypeError|\.ts/);
    expect(lines.join('')).toContain('cannot read /secret of undefined');
  });

  test.each([
    [404, 'GET', '/v1/nothing', {}, ''],
    [404, 'POST', '/chat/completions', { 'content-type': 'application/json' }, '{}'],
    [405, 'GET', chat, {}, ''],
    [405, 'DELETE', '/v1/models', {}, ''],
    [405, 'PUT', '/health', { 'content-type': 'text/plain' }, 'x'],
    [400, 'POST', chat, { 'content-type': 'application/json' }, '{"messages": ['],
    [400, 'POST', chat, { 'content-type': 'application/json' }, ''],
    [400, 'POST', chat, { 'content-type': 'application/json' }, '{"__proto__": {}}'],
    [400, 'POST', chat, { 'content-type': 'application/json' }, Buffer.from([0x22, 0xff, 0x22])],
    [415, 'POST', chat, { 'content-type': 'text/plain' }, '{}'],
    [415, 'POST', chat, { 'content-type': 'application/x-www-form-urlencoded' }, 'a=b'],
    [413, 'POST', chat, { 'content-type': 'application/json' }, `"${'x'.repeat(2000)}"`],
    [400, 'GET', '/v1/models/%zz', {}, ''],
  ] as const)('%i: %s %s %j', async (status, method, url, headers, payload) => {
    const { app } = await open({ bodyLimit: 1000 });
    const response = await app.inject({ method, url, headers, payload });
    expect(response.statusCode).toBe(status);
    expect(response.headers['x-request-id']).toMatch(/^req_/);
    if (status === 405) expect(response.headers.allow).toMatch(/^(GET|POST)$/);
    expect(response.json()).toEqual({
      error: {
        message: expect.stringMatching(/.{10}/),
        type: 'invalid_request_error',
        param: null,
        code: status === 404 || status === 405 ? expect.any(String) : null,
      },
    });
  });

  test('of bodies: what to send instead', async () => {
    const { post } = await open();
    const messageOf = async (body: string, type = 'application/json') =>
      (await post(body, chat, { 'content-type': type })).json().error.message;
    expect(await messageOf('{}', 'text/plain')).toContain("'Content-Type: application/json'");
    expect(await messageOf('{"messages": [{"__proto__": {}}]}')).toContain("a key '__proto__'");
    expect(await messageOf('{"constructor": {"prototype": 1}}')).toContain("in a 'constructor'");
    expect(await messageOf('{"__proto__": {}')).toContain('not valid JSON');
  });

  test('what is no HTTP is answered in the same form', async () => {
    const { port } = await listen();
    const text = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('HELLO\r\n\r\n'));
      let all = '';
      socket.on('data', (piece) => {
        all += piece;
      });
      socket.on('close', () => resolve(all));
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(text.split('\r\n\r\n')[1]!)).toMatchObject({
      error: { type: 'invalid_request_error' },
    });
  });
});
