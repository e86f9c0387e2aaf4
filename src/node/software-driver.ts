import { lstat, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { constants, homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { MowgliError } from '../errors.ts';

/** The npm package that carries SwiftShader, and the version this was written and tested against. */
export const swiftShaderPackage = '@sparticuz/chromium@147.0.0';

const packageName = '@sparticuz/chromium';
const loader = 'libvulkan.so.1';
const manifest = 'vk_swiftshader_icd.json';
const wanted: readonly string[] = [loader, manifest, 'libvk_swiftshader.so'];

/**
 * Unpacks SwiftShader, a Vulkan driver that runs on the CPU, out of the npm package that carries it.
 * The first call of a user takes about 0.3 s and leaves 7 MB in the cache folder
 * (`$XDG_CACHE_HOME/mowgli-llm`, by default `~/.cache/mowgli-llm`); later ones find them there.
 *
 * @returns The folder of driver and loader; `undefined` where the package is not installed or has no
 * build for this machine (it has one for Linux on x64).
 * @throws MowgliError `FILE_INVALID` when the package's archive is not as expected, `READ_FAILED` when
 * there is no place to unpack it.
 */
export async function unpackSwiftShader(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const archive = await findArchive();
  if (!archive) return undefined;
  // The size stands for the version: a changed archive gets a folder of its own.
  const folderName = `swiftshader-${(await stat(archive)).size}`;
  const failures: unknown[] = [];
  for (const cache of cacheFolders()) {
    try {
      await claim(cache);
      return await unpackOnce(archive, join(cache, folderName));
    } catch (error) {
      if (error instanceof MowgliError) throw error;
      failures.push(error);
    }
  }
  throw new MowgliError(
    'READ_FAILED',
    `SwiftShader could not be unpacked into ${cacheFolders().join(' or ')} ` +
      `(${failures.map(String).join('; ')}); set XDG_CACHE_HOME to a folder that you may write to`,
    { cause: failures[0] },
  );
}

/**
 * Makes the next Vulkan instance of this process load the driver in `folder`, and returns a function
 * that puts the environment back, for child processes to see what their user set.
 *
 * Two things usually done before a process starts are done within it. `VK_DRIVER_FILES` (older
 * loaders: `VK_ICD_FILENAMES`) is read by the Vulkan loader when an instance is made, and Node's
 * `process.env` writes through to the C environment (on the main thread). And where the system has no
 * Vulkan loader, Dawn's `dlopen("libvulkan.so.1")` finds one that is mapped already, whatever folder
 * it came from: `process.dlopen` maps it, then complains that it is not a Node addon; `RTLD_NODELETE`
 * keeps it.
 */
export function selectDriver(folder: string): () => void {
  const manifestPath = join(folder, manifest);
  const before = new Map<string, string | undefined>();
  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) {
    before.set(name, process.env[name]);
    process.env[name] = manifestPath;
  }
  const noDelete = 0x1000; // RTLD_NODELETE of glibc and musl; Node names only the common flags.
  try {
    process.dlopen(
      { exports: {} },
      join(folder, loader),
      constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | noDelete,
    );
  } catch {
    // Always "did not self-register". If it truly failed, Dawn finds no adapter, and says so.
  }
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

async function findArchive(): Promise<string | undefined> {
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(packageName);
  } catch {
    return undefined;
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const archive = join(folder, 'bin', 'swiftshader.tar.br');
    if (await stat(archive).catch(() => undefined)) return archive;
  }
  return undefined;
}

/** Where to unpack, best first: a home folder can be missing or read-only, in a container say. */
function cacheFolders(): string[] {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return [join(cache, 'mowgli-llm'), join(tmpdir(), `mowgli-llm-${process.getuid?.() ?? 0}`)];
}

/** Makes the folder ours alone: code is loaded from it, and anybody may plant one in a shared /tmp. */
async function claim(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  const writableByOthers = (found.mode & 0o022) !== 0;
  if (!found.isDirectory() || found.uid !== process.getuid?.() || writableByOthers) {
    throw new Error(`${folder} belongs to or is writable by another user`);
  }
}

/** Unpacks beside the target and renames: another process sees the whole folder or none. */
async function unpackOnce(archive: string, target: string): Promise<string> {
  if (await stat(target).catch(() => undefined)) return target;
  const files = readTar(await promisify(brotliDecompress)(await readFile(archive)), archive);
  const draft = await mkdtemp(`${target}.`);
  try {
    for (const name of wanted) {
      const content = files.get(name);
      if (!content) throw unexpected(archive, `holds no ${name}`);
      await writeFile(join(draft, name), content, { mode: 0o755 });
    }
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another process was faster: its folder is as good as ours.
    if (!(await stat(target).catch(() => undefined))) throw error;
  }
  return target;
}

/** The regular files of a tar archive (POSIX ustar: 512-byte headers, sizes in octal), by base name. */
function readTar(tar: Buffer, name: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8);
    if (!Number.isInteger(size) || at + 512 + size > tar.length) {
      throw unexpected(name, 'is cut short or not a tar archive');
    }
    const path = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const type = tar.toString('latin1', at + 156, at + 157);
    if (type === '0' || type === '\0') {
      files.set(path.slice(path.lastIndexOf('/') + 1), tar.subarray(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

function unexpected(archive: string, problem: string): MowgliError {
  return new MowgliError(
    'FILE_INVALID',
    `${archive} ${problem}; install the version that is known to work: npm install ${swiftShaderPackage}`,
  );
}
