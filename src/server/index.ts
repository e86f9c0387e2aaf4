/** An HTTP server with OpenAI's API, for Node. */
export type { ServedModel } from './served-model.ts';
export { createServer, type ServerOptions } from './server.ts';
