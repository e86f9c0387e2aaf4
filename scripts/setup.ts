/**
 * Gives a clone something to run shaders on, so that demo and tests work on any machine: a GPU's
 * driver or lavapipe if they are there; else lavapipe by apt, where this is root's own to decide;
 * else SwiftShader out of node_modules. Says which one it is. Run as `npm run setup`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MowgliError } from '../src/errors.ts';
import { type Dawn, openDawn } from '../src/node/dawn.ts';

function say(text: string): void {
  console.error(`setup: ${text}`);
}

/** A driver that is installed on this system; `undefined` when there is none. */
async function installedDriver(): Promise<Dawn | undefined> {
  for (const adapter of ['native', 'lavapipe'] as const) {
    try {
      return await openDawn({ adapter, muteWarnings: true });
    } catch (error) {
      if (!(error instanceof MowgliError) || error.code !== 'NO_ADAPTER') throw error;
    }
  }
  return undefined;
}

let dawn = await installedDriver();
const mayInstall =
  process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
if (!dawn && mayInstall) {
  say('no Vulkan driver works here; installing lavapipe with apt');
  const script = fileURLToPath(new URL('install-lavapipe.sh', import.meta.url));
  const { status } = spawnSync('sh', [script], { stdio: ['ignore', 2, 2] });
  if (status !== 0) say('lavapipe could not be installed');
  dawn = await installedDriver();
}
try {
  dawn ??= await openDawn({ adapter: 'swiftshader', muteWarnings: true });
  const { kind, description } = dawn.driver;
  say(`shaders run on ${description} (${kind})`);
  process.exit(0);
} catch (error) {
  if (!(error instanceof MowgliError)) throw error;
  say(error.message);
  process.exit(1);
}
