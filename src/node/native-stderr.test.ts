import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, inject, test } from 'vitest';

const module = join(inject('packageFolder'), 'dist/node/native-stderr.js');
const program = `
  import { writeSync } from 'node:fs';
  import { withNativeStderrMuted } from ${JSON.stringify(pathToFileURL(module).href)};
  process.stderr.write('before ');
  const result = withNativeStderrMuted(() => writeSync(2, 'native '));
  process.stderr.write('after ' + result);`;

test.skipIf(process.platform !== 'linux').each([
  ['a pipe', '{ "$@"; } 2>&1 | cat >"$FILE"', 'before after 7'],
  ['a file that is appended to', '"$@" >>"$FILE" 2>&1', 'before after 7'],
  // Its offset is the shell's, too, which writes there next.
  ['another file', '{ "$@"; printf " next" >&2; } 2>"$FILE"', 'before native after 7 next'],
])('stderr that is %s', async (_, redirected, expected) => {
  const folder = await mkdtemp(join(tmpdir(), 'mowgli-stderr-'));
  try {
    const file = join(folder, 'stderr');
    const command = [process.execPath, '--input-type=module', '--eval', program];
    await promisify(execFile)('sh', ['-c', redirected, 'sh', ...command], {
      env: { ...process.env, FILE: file, MOWGLI_DEBUG: '' },
    });
    expect(await readFile(file, 'utf8')).toBe(expected);
  } finally {
    await rm(folder, { recursive: true });
  }
});
