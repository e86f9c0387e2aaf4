import { createInterface, type Interface, type Key } from 'node:readline';
import { type History, historySize } from './history.ts';
import type { Interruption, LineSource } from './line-source.ts';
import type { Line } from './message-reader.ts';

/** Asks the terminal to mark what is pasted, and to leave it. */
const bracketedPaste = { on: '\x1b[?2004h', off: '\x1b[?2004l' } as const;

/** Lines that a person types, with editing and a history. Ends with Ctrl-D, and when the signal fires. */
export class TerminalLines implements LineSource {
  readonly interactive = true;
  readonly #readline: Interface;
  /** Where prompts and what is typed are shown: not in the answers, if those go to a file. */
  readonly #screen: NodeJS.WriteStream;
  readonly #waiting: (Line | Interruption)[] = [];
  #deliver: ((line: Line | Interruption | undefined) => void) | undefined;
  #ended = false;
  #pasting = false;
  #recalled: readonly string[];

  constructor(history: History | undefined, signal: AbortSignal) {
    this.#screen = process.stderr.isTTY ? process.stderr : process.stdout;
    this.#recalled = history?.lines ?? [];
    const readline = createInterface({
      input: process.stdin,
      output: this.#screen,
      history: [...this.#recalled],
      historySize,
      signal,
    });
    this.#readline = readline;
    process.stdin.on('keypress', (_text: string | undefined, { name }: Key) => {
      if (name === 'paste-start') this.#pasting = true;
      if (name === 'paste-end') this.#pasting = false;
    });
    readline.on('history', (lines: string[]) => {
      // Lines of a paste are no lines that anybody wants to edit again.
      if (this.#pasting) lines.splice(0, lines.length, ...this.#recalled);
      else this.#recalled = [...lines];
    });
    readline.on('line', (text) => {
      if (!this.#pasting) history?.add(text);
      this.#push({ text, pasted: this.#pasting });
    });
    readline.on('SIGINT', () => this.#interrupt());
    readline.on('close', () => {
      this.#ended = true;
      // Ctrl-D: whatever comes next begins a line.
      if (this.#deliver) this.#screen.write('\n');
      this.#deliver?.(undefined);
    });
  }

  next(prompt: string): Promise<Line | Interruption | undefined> {
    if (this.#waiting.length > 0) return Promise.resolve(this.#waiting.shift());
    if (this.#ended) return Promise.resolve(undefined);
    process.stdin.setRawMode?.(true);
    this.#screen.write(bracketedPaste.on);
    this.#readline.setPrompt(prompt);
    this.#readline.prompt(true);
    return new Promise((resolve) => {
      this.#deliver = resolve;
    });
  }

  rest(): void {
    if (this.#ended) return;
    this.#readline.pause();
    process.stdin.setRawMode?.(false);
    this.#screen.write(bracketedPaste.off);
  }

  [Symbol.dispose](): void {
    this.#readline.close();
    this.#screen.write(bracketedPaste.off);
  }

  #push(line: Line | Interruption): void {
    if (this.#deliver) this.#deliver(line);
    else this.#waiting.push(line);
    this.#deliver = undefined;
  }

  #interrupt(): void {
    const dropped = this.#readline.line !== '';
    this.#pasting = false;
    this.#readline.write(null, { ctrl: true, name: 'e' });
    this.#readline.write(null, { ctrl: true, name: 'u' });
    this.#screen.write('^C\n');
    this.#push({ interrupted: true, dropped });
  }
}
