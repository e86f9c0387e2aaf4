#!/usr/bin/env node
// Starts the command line program: from its TypeScript sources in a clone, else as built into dist/.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`mowgli: Node ${process.versions.node} is too old; install Node 20.19 or later`);
  process.exit(1);
}

const source = new URL('../src/cli/main.ts', import.meta.url);
if (existsSync(source)) {
  const { register } = await import('tsx/esm/api');
  // Named outright, or tsx would apply the tsconfig.json of whatever folder it is run in.
  register({ tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)) });
}
const { main } = await import(
  existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href
);
await main(process.argv.slice(2));
