import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from '../../src/files/checkpoint.ts';
import { NodeFolder } from '../../src/node/folder.ts';

/** Folders of `kernels-test/data/`; its README says what each is for. */
export const fixtureNames = [
  'experts-160',
  'head-dim-256',
  'no-grouping',
  'odd-sizes',
  'one-kv-head',
  'one-kv-head-f16',
  'one-kv-head-f32',
  'tied-head',
  'yarn',
] as const;

export type FixtureName = (typeof fixtureNames)[number];

/** What an independent implementation computed in float64 (`scripts/make-fixtures.ts`). */
export interface Expected {
  /** The prompt. */
  readonly tokens: readonly number[];
  /** `[tokens, vocab]`, rounded to float32. */
  readonly logits: Float32Array;
  /** What follows the prompt when the most probable token is taken, also past tokens that end a text. */
  readonly greedy: readonly number[];
  /** `[layer][position][k]`, best first. */
  readonly experts: readonly (readonly (readonly number[])[])[];
  /** Smallest gap between the router logits of the last expert chosen and the first one not. */
  readonly routerMargin: number;
  /** Smallest gap between the logits of a greedy token and the runner-up. */
  readonly greedyMargin: number;
}

/** Where a fixture lies: a Hugging Face folder without a tokenizer. */
export function fixtureFolder(name: FixtureName): string {
  return fileURLToPath(new URL(`../data/${name}`, import.meta.url));
}

/** Opens a fixture's checkpoint, which the caller closes, and reads what to expect of it. */
export async function openFixture(name: FixtureName) {
  const folder = fixtureFolder(name);
  const bytes = await readFile(join(folder, 'logits.f32'));
  const logits = new Float32Array(new Uint8Array(bytes).buffer);
  const json = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8'));
  const expected: Expected = { ...json, logits };
  return { ...(await openCheckpoint(await NodeFolder.open(folder))), expected };
}
