import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ShaderLibrary } from '../gpu/shader.ts';

const root = fileURLToPath(new URL('../../shaders/', import.meta.url));

/** The WGSL files of this package. `shaders/` is beside both `src/` and `dist/`. */
export function nodeShaders(): ShaderLibrary {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return new Map(
    files
      .filter((file) => file.endsWith('.wgsl'))
      .map((file) => [
        file.slice(0, -'.wgsl'.length).replaceAll('\\', '/'),
        readFileSync(root + file, 'utf8'),
      ]),
  );
}
