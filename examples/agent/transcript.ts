import type { Call } from './chat-model.ts';

/** Lines of a result to show. The model sees all of them. */
const resultLines = 12;

/** What the user sees of a run. */
export interface Transcript {
  task(text: string): void;
  /** A piece of what the model says. */
  said(text: string): void;
  called(step: number, call: Call): void;
  result(text: string): void;
  ended(summary: string): void;
}

/** A transcript in plain text. */
export function plainTranscript(write: (text: string) => void): Transcript {
  let inLine = false;
  const line = (text: string) => {
    write(`${inLine ? '\n' : ''}${printable(text)}\n`);
    inLine = false;
  };
  return {
    task: (text) => line(`> ${text}`),
    said(text) {
      write(printable(text));
      inLine = text === '' ? inLine : !text.endsWith('\n');
    },
    called: (step, call) => line(`[${step}] ${call.name} ${call.arguments}`),
    result(text) {
      const lines = text.split('\n');
      for (const shown of lines.slice(0, resultLines)) line(`    ${shown}`);
      if (lines.length > resultLines) line(`    (${lines.length - resultLines} more lines)`);
    },
    ended: line,
  };
}

/**
 * A text without what terminals obey: a file or an answer could move the cursor, and show a user something
 * else than what it does.
 */
export function printable(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    });
}
