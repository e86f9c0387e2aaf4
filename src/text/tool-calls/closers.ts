import type { TextInput, Waiting } from './input.ts';

/**
 * Takes the closing tags that stand behind a call. There they are markup, also when there are too many
 * of them or the turn was cut off within one; elsewhere they are text.
 */
export function* skipClosers(input: TextInput, closers: readonly string[]): Waiting<void> {
  for (;;) {
    input.ranOut = false;
    const at = yield* input.skipSpace(0);
    let end = at;
    for (const closer of closers) {
      if (yield* input.startsWith(closer, at)) end = at + closer.length;
    }
    if (end > at) {
      input.skip(end);
      continue;
    }
    if (input.cut && input.ranOut && input.slice(at, at + 2) === '</') input.skip(input.length);
    return;
  }
}
