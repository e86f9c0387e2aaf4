import { type IncomingMessage, request } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

export interface PostOptions {
  readonly apiKey?: string;
  /** Closes the socket as soon as so many events of a stream have come. */
  readonly leaveAfterEvents?: number;
  /** Closes the socket when it fires. */
  readonly signal?: AbortSignal;
}

/**
 * Posts a body on a socket of its own.
 * @returns what came; `undefined` when the socket was closed on purpose
 */
export function post(
  port: number,
  body: object,
  options: PostOptions = {},
): Promise<Reply | undefined> {
  const { apiKey, leaveAfterEvents, signal } = options;
  return new Promise((resolve, reject) => {
    const content = JSON.stringify(body);
    const outgoing = request({
      ...{ host: '127.0.0.1', port, path: '/v1/chat/completions', method: 'POST', agent: false },
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(content),
        ...(apiKey && { authorization: `Bearer ${apiKey}` }),
      },
    });
    let left = false;
    const leave = () => {
      left = true;
      outgoing.destroy();
      resolve(undefined);
    };
    signal?.addEventListener('abort', leave, { once: true });
    outgoing.on('error', (error) => left || reject(error));
    outgoing.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
        if (leaveAfterEvents !== undefined && eventsOf(text).length >= leaveAfterEvents) leave();
      });
      response.on('error', (error) => left || reject(error));
      response.on('end', () => {
        resolve({ status: response.statusCode!, headers: response.headers, text });
      });
    });
    outgoing.end(content);
  });
}

/** The data of the whole events of a stream, `[DONE]` included. */
export function eventsOf(text: string): string[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .flatMap((event) => (event.startsWith('data: ') ? [event.slice('data: '.length)] : []));
}
