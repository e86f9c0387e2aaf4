import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { MowgliError } from '../../src/errors.ts';
import type { Driver } from '../../src/node/dawn.ts';

/** Versions that this was written against. */
const onnxRuntime = { 'onnxruntime-node': '1.30.0' };
const llamaVersion = '3.22.1';

/** llama.cpp's builds for the CPU and for Vulkan: of its optional dependencies, those used here. */
const llamaBuilds: Readonly<Record<string, readonly string[]>> = {
  'linux-x64': ['linux-x64', 'linux-x64-vulkan'],
  'linux-arm64': ['linux-arm64'],
  'win32-x64': ['win-x64', 'win-x64-vulkan'],
  'win32-arm64': ['win-arm64'],
  'darwin-x64': ['mac-x64'],
  'darwin-arm64': ['mac-arm64-metal'],
};

/** Where peers are installed unless told otherwise: beside what else this project keeps for its user. */
export function defaultPeersFolder(): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(cache, 'mowgli-llm', 'peers');
}

/**
 * Has the peers of the comparison installed in `folder`, which is theirs alone: they are large, and
 * nothing but this comparison needs them.
 *
 * @param mayInstall whether npm may be run for what is missing
 * @throws MowgliError `FILE_NOT_FOUND` when something is missing and may not be, or was not, installed
 */
export async function installPeers(
  folder: string,
  mayInstall: boolean,
  say: (text: string) => void,
): Promise<void> {
  const wanted = Object.entries(packages());
  const missing: string[] = [];
  for (const [name, version] of wanted) {
    if ((await installedVersion(folder, name)) !== version) missing.push(`${name}@${version}`);
  }
  if (missing.length === 0) return;
  if (!mayInstall) {
    throw new MowgliError(
      'FILE_NOT_FOUND',
      `${folder} lacks ${missing.join(', ')}; run this without --no-install, or name the folder that has them with --peers-dir`,
    );
  }
  say(`installing ${missing.join(', ')} in ${folder} (about 450 MB, once)`);
  await mkdir(folder, { recursive: true });
  const manifest = { private: true, dependencies: packages() };
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  // Their install scripts would fetch CUDA and sources of llama.cpp; the binaries used are in the packages.
  const args = ['install', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
  const { status, error } = spawnSync('npm', args, {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32', // npm is a script there
  });
  if (status !== 0) {
    throw new MowgliError(
      'FILE_NOT_FOUND',
      `npm could not install the peers in ${folder}; see its messages above, or install them there yourself and give --no-install`,
      { cause: error },
    );
  }
}

function packages(): Record<string, string> {
  const builds = llamaBuilds[`${process.platform}-${process.arch}`] ?? [];
  return {
    ...onnxRuntime,
    'node-llama-cpp': llamaVersion,
    ...Object.fromEntries(builds.map((build) => [`@node-llama-cpp/${build}`, llamaVersion])),
  };
}

async function installedVersion(folder: string, name: string): Promise<string | undefined> {
  try {
    const file = join(folder, 'node_modules', name, 'package.json');
    return JSON.parse(await readFile(file, 'utf8')).version;
  } catch {
    return undefined; // not installed, or not wholly
  }
}

/** The peers and their versions, for the report. */
export function peerVersions(): string {
  return Object.entries({ ...onnxRuntime, 'node-llama-cpp': llamaVersion })
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}

/**
 * Environment in which a peer's Vulkan loader finds the driver that this project runs on.
 * @throws MowgliError `OPTION_INVALID` for a driver that only this project knows how to load
 */
export function driverEnvironment({ kind }: Driver): NodeJS.ProcessEnv {
  switch (kind) {
    case 'native':
      return {};
    case 'lavapipe':
      return {
        VK_LOADER_DRIVERS_SELECT: '*lvp*',
        // llama.cpp takes no CPU for a GPU unless it is named.
        GGML_VK_VISIBLE_DEVICES: '0',
      };
    case 'swiftshader':
      throw new MowgliError(
        'OPTION_INVALID',
        'the peers cannot run on SwiftShader as it comes with npm; choose --adapter native or lavapipe',
      );
  }
}
