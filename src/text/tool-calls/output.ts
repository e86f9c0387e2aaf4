import type { TurnEvent } from './events.ts';

const FENCE = '```';

/** Makes the events of a turn. */
export class TurnOutput {
  #events: TurnEvent[] = [];
  /** White space that is shown only if text of the same kind follows. */
  #space = '';
  #blank = true;
  #trimStart = false;
  /** The first characters, without white space before them, of the line that the text has come to. */
  #lineStart = '';
  #inCodeBlock = false;
  #calls = 0;
  #name = '';
  #arguments = '';

  /** The events since the last time. */
  drain(): TurnEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Nothing but white space since the beginning, the last call or the last reasoning. */
  get blank(): boolean {
    return this.#blank;
  }

  /** The next text begins a line. */
  get atLineStart(): boolean {
    return this.#lineStart === '';
  }

  /** Between the fences of a Markdown code block. */
  get inCodeBlock(): boolean {
    return this.#inCodeBlock;
  }

  text(text: string): void {
    this.#write('text', text);
    const [rest = '', ...lines] = text.split('\n');
    this.#continueLine(rest);
    for (const line of lines) {
      if (this.#lineStart === FENCE) this.#inCodeBlock = !this.#inCodeBlock;
      this.#lineStart = '';
      this.#continueLine(line);
    }
  }

  reasoning(text: string): void {
    this.#write('reasoning', text);
  }

  /** Something else than the text so far begins. */
  boundary(): void {
    this.#space = '';
    this.#blank = true;
    this.#trimStart = true;
    this.#lineStart = '';
  }

  /** The turn has ended in text: its white space at the end is text too. */
  end(): void {
    if (this.#space !== '') this.#add({ type: 'text', text: this.#space });
    this.#space = '';
  }

  callStart(name: string): void {
    this.boundary();
    this.#name = name;
    this.#arguments = '';
    this.#add({ type: 'tool-call-start', index: this.#calls, name });
  }

  /** More of the arguments' JSON text. */
  callDelta(delta: string): void {
    if (delta === '') return;
    this.#arguments += delta;
    this.#add({ type: 'tool-call-delta', index: this.#calls, delta });
  }

  callEnd(finished: boolean): void {
    this.#add({
      type: finished ? 'tool-call-end' : 'tool-call-incomplete',
      index: this.#calls++,
      name: this.#name,
      arguments: this.#arguments,
    });
    this.boundary();
  }

  #continueLine(text: string): void {
    if (this.#lineStart.length === FENCE.length) return;
    this.#lineStart = (this.#lineStart + text).trimStart().slice(0, FENCE.length);
  }

  #write(type: 'text' | 'reasoning', text: string): void {
    const shown = text.trimEnd();
    if (this.#blank && this.#trimStart) {
      if (shown === '') return;
      this.#add({ type, text: shown.trimStart() });
    } else if (shown === '') {
      // Only added to: looking at all of it for each space would take long where there is no end of it.
      this.#space += text;
      return;
    } else {
      this.#add({ type, text: this.#space + shown });
    }
    this.#space = text.slice(shown.length);
    this.#blank = false;
  }

  /** Adds an event, or lengthens the last one. */
  #add(event: TurnEvent): void {
    const last = this.#events.at(-1);
    if ('text' in event) {
      if (event.text === '') return;
      if (last?.type === event.type && 'text' in last) {
        this.#events[this.#events.length - 1] = { ...event, text: last.text + event.text };
        return;
      }
    } else if (event.type === 'tool-call-delta' && last?.type === 'tool-call-delta') {
      this.#events[this.#events.length - 1] = { ...event, delta: last.delta + event.delta };
      return;
    }
    this.#events.push(event);
  }
}
