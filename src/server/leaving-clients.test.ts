import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { FakeModel, Gate, until } from '../../tests/server/fake-model.ts';
import { chat, endless, listen, messages } from '../../tests/server/fake-server.ts';

describe('a client that leaves', () => {
  test('ends its generation within a token', async () => {
    const { ask, model, get } = await listen();
    let said = 0;
    model.script = async function* (...args) {
      for await (const part of endless(...args)) {
        said++;
        yield part;
      }
    };
    for (const stream of [true, false]) {
      const leaving = new AbortController();
      const answer = ask({ stream }, { signal: leaving.signal }).then((r) => r.text());
      const left = expect(answer).rejects.toThrow(/abort/);
      said = 0;
      await until(() => said >= 3);
      leaving.abort();
      await left;
      await until(() => model.running === 0);
      expect(said).toBeLessThan(200);
    }
    model.script = new FakeModel().script;
    expect((await ask({})).status).toBe(200);
    const { text } = await get('/metrics');
    expect(text).toContain('mowgli_requests_cancelled_total{reason="disconnected"} 2');
    expect(text).toContain(`route="${chat}",status="499"} 2`);
  });

  test('leaves the queue at once', async () => {
    const { ask, model, get } = await listen();
    const gate = new Gate();
    model.script = async function* () {
      await gate.opened;
      yield { type: 'text', text: 'x' };
    };
    const first = ask({});
    await until(() => model.running === 1);
    const leaving = new AbortController();
    const impatient = ask({}, { signal: leaving.signal });
    const left = expect(impatient).rejects.toThrow();
    const depth = async () => /mowgli_queue_depth (\d+)/.exec((await get('/metrics')).text)?.[1];
    while ((await depth()) !== '1') await sleep(1);
    leaving.abort();
    await left;
    while ((await depth()) !== '0') await sleep(1);
    gate.open();
    expect((await first).status).toBe(200);
    expect(model.asked.length).toBe(1);
  });

  test('while it does not read is dropped, and the model goes on to others', async () => {
    const { port, ask, model, get } = await listen({ unreadBytes: 100_000 });
    let said = 0;
    model.script = async function* ({ messages: given }) {
      if (given?.at(-1)?.content !== 'long') return;
      for (;;) {
        said++;
        yield { type: 'text', text: 'word '.repeat(1000) };
        if (said % 10 === 0) await sleep(0);
      }
    };
    const body = JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'long' }] });
    const dropping = new Gate();
    const dropped = new Promise<void>((resolve) => {
      const slow = httpRequest({ port, host: '127.0.0.1', path: chat, method: 'POST' });
      slow.setHeader('content-type', 'application/json');
      slow.on('response', (response) => {
        response.pause();
        response.on('error', () => {});
        response.on('close', () => resolve());
        void dropping.opened.then(() => response.resume());
      });
      slow.on('error', () => resolve());
      slow.end(body);
    });
    await until(() => said > 0);
    await until(() => model.running === 0);
    expect((await ask({})).status).toBe(200);
    expect((await get('/metrics')).text).toContain('cancelled_total{reason="slow-reader"} 1');
    // What the system holds for it can still be read; then the connection ends.
    dropping.open();
    await dropped;
  });

  test('leaves no listeners on a connection that is used again', async () => {
    const { port, app } = await listen();
    const counts: number[] = [];
    const answers: string[] = [];
    app.server.on('connection', (socket) => {
      socket.on('data', () => counts.push(socket.listenerCount('close')));
    });
    const socket = connect(port, '127.0.0.1');
    const body = JSON.stringify({ messages });
    const message = `POST ${chat} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    for (let i = 0; i < 20; i++) {
      await new Promise<void>((resolve) => {
        socket.once('data', (answer) => {
          answers.push(answer.toString().split('\r\n')[0]!);
          resolve();
        });
        socket.write(message);
      });
    }
    socket.destroy();
    expect(answers).toEqual(Array(20).fill('HTTP/1.1 200 OK'));
    expect(counts.length).toBe(20);
    expect(counts.at(-1)).toBe(counts[0]);
  });
});
