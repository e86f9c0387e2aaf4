import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach } from 'vitest';
import { createServer, type ServerOptions } from '../../src/server/index.ts';
import { FakeModel } from './fake-model.ts';

export const chat = '/v1/chat/completions';
export const messages = [{ role: 'user', content: 'Hello!' }];

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server of a fake model, which is closed after the test. */
export async function open(options: ServerOptions = {}, model = new FakeModel()) {
  const app = await createServer(model, options);
  cleanups.push(() => app.close());
  const post = (payload: object | string, url = chat, headers = {}) =>
    app.inject({
      ...{ method: 'POST', url },
      headers: { 'content-type': 'application/json', ...headers },
      payload,
    });
  return { app, model, post };
}

/** The same, listening. */
export async function listen(options: ServerOptions = {}, model = new FakeModel()) {
  const opened = await open(options, model);
  await opened.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = opened.app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const ask = (body: object, init: RequestInit = {}) =>
    fetch(url + chat, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ messages, ...body }),
      ...init,
    });
  const get = async (path: string) => {
    const response = await fetch(url + path);
    return { status: response.status, text: await response.text() };
  };
  return { ...opened, url, port, ask, get };
}

/** The data of a stream's events. */
export const dataOf = (text: string): unknown[] =>
  text.split('\n\n').flatMap((event) => {
    if (!event.startsWith('data: ')) return [];
    const data = event.slice(6);
    return [data === '[DONE]' ? data : JSON.parse(data)];
  });

/** Says a word every few milliseconds, for ever. */
export const endless: FakeModel['script'] = async function* () {
  for (;;) {
    yield { type: 'text', text: 'word ' };
    await sleep(2);
  }
};
