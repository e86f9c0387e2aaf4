import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder of a copy of this package with `dist`, as an installed one has it. */
    packageFolder: string;
  }
}

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Compiles the sources for the tests that run the command: it then starts in a quarter of the time that
 * loading TypeScript takes. Types are not checked; `npm run check` does that, and tests/package.test.ts
 * tests the real build.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'mowgli-compiled-'));
  const compilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    rewriteRelativeImportExtensions: true,
  };
  const files = await readdir(join(root, 'src'), { recursive: true });
  for (const file of files.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))) {
    const source = await readFile(join(root, 'src', file), 'utf8');
    const { outputText } = ts.transpileModule(source, { fileName: file, compilerOptions });
    const target = join(folder, 'dist', file.replace(/\.ts$/, '.js'));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, outputText);
  }
  for (const name of ['bin', 'package.json']) {
    await cp(join(root, name), join(folder, name), { recursive: true });
  }
  for (const name of ['shaders', 'models', 'scripts', 'node_modules']) {
    await symlink(join(root, name), join(folder, name), 'junction');
  }
  project.provide('packageFolder', folder);
  return () => rm(folder, { recursive: true });
}
