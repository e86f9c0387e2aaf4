import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep, win32 } from 'node:path';

/** Something that a tool could not do; the model is told of it and may try something else. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** The one folder that the tools may touch. */
export class Sandbox {
  /** Without symbolic links in it. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** @throws Error when there is no such folder */
  static async open(folder: string): Promise<Sandbox> {
    const root = await realpath(folder).catch(({ code }: NodeJS.ErrnoException) => {
      throw new Error(`there is no folder ${folder} (${code})`);
    });
    if (!(await stat(root)).isDirectory()) throw new Error(`${folder} is not a folder`);
    return new Sandbox(root);
  }

  /**
   * The place that a relative path leads to, without symbolic links in what exists of it.
   *
   * Nothing may make links between this check and the use of its result: run the agent as the only one
   * who writes to the folder, or in a container.
   *
   * @throws ToolError for a path that leads out of the folder, by `..` or by a symbolic link
   */
  async resolve(path: string): Promise<string> {
    if (path === '' || path.includes('\0')) throw new ToolError('the path is no name of a file');
    if (isAbsolute(path) || win32.isAbsolute(path)) {
      throw new ToolError(`${path} is an absolute path; use paths relative to the folder`);
    }
    const wanted = resolve(this.root, path);
    const place = this.#holds(wanted) ? await realPath(wanted) : wanted;
    if (this.#holds(place)) return place;
    throw new ToolError(`${path} is outside of the folder; stay inside it`);
  }

  /** A place in the folder, as the model knows it. */
  name(place: string): string {
    return relative(this.root, place) || '.';
  }

  #holds(place: string): boolean {
    const path = relative(this.root, place);
    return path !== '..' && !path.startsWith(`..${sep}`) && !isAbsolute(path);
  }
}

/** A path with the symbolic links of its existing part followed. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return join(await realPath(dirname(path)), basename(path));
  }
}
