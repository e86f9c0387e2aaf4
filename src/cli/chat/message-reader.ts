/** A line of input. */
export interface Line {
  readonly text: string;
  /** It ended within a paste, so that more of the same message follows. */
  readonly pasted: boolean;
}

/** Lines that belong together. */
export interface Entry {
  readonly text: string;
  /** From a block or a paste of several lines: text as it is, in which no command is looked for. */
  readonly verbatim: boolean;
}

const fence = '"""';

/**
 * Puts lines together to what was meant as one: a line that ends in `\` goes on in the next one, lines
 * between `"""` and `"""` belong together, and so do those of a paste.
 */
export class MessageReader {
  #lines: string[] = [];
  #inBlock = false;
  #verbatim = false;

  /** What is begun and not ended. */
  get unfinished(): 'block' | 'lines' | undefined {
    if (this.#inBlock) return 'block';
    return this.#lines.length > 0 ? 'lines' : undefined;
  }

  /** Takes a line, and returns what it completes. */
  push({ text, pasted }: Line): Entry | undefined {
    if (pasted) return this.#keep(text, true);
    if (this.#inBlock) return this.#pushToBlock(text);
    if (this.#lines.length === 0 && text.trimStart().startsWith(fence)) {
      this.#inBlock = true;
      this.#verbatim = true;
      const rest = text.trimStart().slice(fence.length);
      return rest === '' ? undefined : this.#pushToBlock(rest);
    }
    if (text.endsWith('\\')) return this.#keep(text.slice(0, -1), this.#verbatim);
    // A paste often ends with its last line's end, behind which nothing was typed.
    if (text !== '' || this.#lines.length === 0) this.#lines.push(text);
    return this.#finish();
  }

  /** What is left at the end of the input. */
  end(): Entry | undefined {
    return this.unfinished ? this.#finish() : undefined;
  }

  /** Drops what is unfinished. */
  clear(): void {
    this.#lines = [];
    this.#inBlock = false;
    this.#verbatim = false;
  }

  #keep(text: string, verbatim: boolean): undefined {
    this.#lines.push(text);
    this.#verbatim = verbatim;
  }

  #pushToBlock(text: string): Entry | undefined {
    const line = text.trimEnd();
    if (!line.endsWith(fence)) return this.#keep(text, true);
    const last = line.slice(0, -fence.length);
    if (last !== '') this.#lines.push(last);
    return this.#finish();
  }

  #finish(): Entry {
    const entry = { text: this.#lines.join('\n'), verbatim: this.#verbatim };
    this.clear();
    return entry;
  }
}
