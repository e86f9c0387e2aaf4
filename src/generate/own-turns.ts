import { atOnce, inSlices, type Steps } from '../text/slices.ts';
import { detached, TokenizedTexts } from '../text/tokenized-texts.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** A turn of the model, as it generated it. */
export interface OwnTurn {
  /** The prompt that it answered, as the template rendered it. */
  readonly prompt: string;
  /** The conversation with the turn in it, as the template renders it for later prompts. */
  readonly rendered: string;
  readonly tokens: readonly number[];
}

/**
 * A stretch of a rendered conversation that ends with an end-of-turn token, behind the stretches before
 * it. So a turn is known by everything before it, too: the same words in another conversation are
 * another turn.
 */
interface Stretch {
  readonly text: string;
  readonly before: Stretch | undefined;
  readonly after: Map<string, Stretch>;
  /** Set where the stretch ends with a turn of the model's own. */
  own?:
    | { readonly tokens: readonly number[]; readonly begin: number; readonly end: number }
    | undefined;
}

/** Of text and code, about. */
const charactersPerToken = 4;

/**
 * Tokenizes conversations such that the model's own turns keep the tokens that it generated. A text can
 * be cut into tokens in many ways, and a model does not always choose the tokenizer's; its own tokens
 * keep what it meant, and its part of the KV cache.
 */
export class OwnTurns {
  /** What is between the model's turns. */
  readonly #texts: TokenizedTexts;
  /** The texts of the tokens that end a turn, such as `<|im_end|>`. */
  readonly #ends: readonly string[];
  /** Finds these. */
  readonly #end: RegExp | undefined;
  readonly #capacity: number;
  readonly #root: Stretch = { text: '', before: undefined, after: new Map() };
  /** Stretches with a turn, the one used longest ago first. */
  readonly #used = new Set<Stretch>();
  #size = 0;

  /**
   * @param capacity tokens of turns to keep at most, and of what is between them about as many again; those
   * used longest ago go first
   */
  constructor(tokenizer: Tokenizer, endTokenIds: readonly number[], capacity: number) {
    this.#texts = new TokenizedTexts(tokenizer, charactersPerToken * capacity);
    this.#capacity = capacity;
    this.#ends = endTokenIds
      .filter((id) => id < tokenizer.vocabSize)
      .map((id) => tokenizer.decode([id]));
    const ends = this.#ends.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    this.#end = ends.length > 0 ? new RegExp(ends.join('|'), 'g') : undefined;
  }

  /**
   * Keeps the tokens of a turn for later prompts. Not done, and false, where the template changes what
   * is before the turn once it is history.
   */
  keep({ prompt, rendered, tokens }: OwnTurn): boolean {
    const end = this.#endOfTurn(rendered, prompt.length);
    if (!rendered.startsWith(prompt) || !end) return false;
    let stretch = this.#root;
    for (const text of this.#stretches(rendered.slice(0, end.after))) {
      let next = stretch.after.get(text);
      if (!next) {
        next = { text: detached(text), before: stretch, after: new Map() };
        stretch.after.set(next.text, next);
      }
      stretch = next;
    }
    this.#size += tokens.length - (stretch.own?.tokens.length ?? 0);
    const start = end.after - stretch.text.length;
    stretch.own = { tokens, begin: prompt.length - start, end: end.at - start };
    this.#use(stretch);
    for (const oldest of this.#used) {
      if (this.#size <= this.#capacity) break;
      this.#forget(oldest);
    }
    return true;
  }

  /** The tokens of a rendered conversation. */
  encode(rendered: string): number[] {
    return atOnce(this.#encode(rendered));
  }

  /**
   * The same, but other work gets its turn meanwhile.
   * @throws MowgliError `ABORTED` soon after the signal fires
   */
  encodeInSlices(rendered: string, signal?: AbortSignal): Promise<number[]> {
    return inSlices(this.#encode(rendered), 'cutting the conversation into tokens', signal);
  }

  *#encode(rendered: string): Steps<number[]> {
    const tokens: number[] = [];
    const add = (more: ArrayLike<number>) => {
      for (let i = 0; i < more.length; i++) tokens.push(more[i]!);
    };
    let text = '';
    let known: Stretch | undefined = this.#root;
    for (const stretch of this.#stretches(rendered)) {
      known = known?.after.get(stretch);
      if (!known?.own) {
        text += stretch;
        continue;
      }
      this.#use(known);
      const { own } = known;
      // What begins and ends a turn are tokens of their own: the text can be cut there.
      add(yield* this.#texts.encodeInSteps(text + stretch.slice(0, own.begin)));
      add(own.tokens);
      text = stretch.slice(own.end);
    }
    add(yield* this.#texts.encodeInSteps(text));
    return tokens;
  }

  /** Cuts a conversation behind each end-of-turn token. */
  *#stretches(rendered: string): Generator<string> {
    let from = 0;
    for (const { 0: end, index } of this.#end ? rendered.matchAll(this.#end) : []) {
      yield rendered.slice(from, index + end.length);
      from = index + end.length;
    }
    if (from < rendered.length) yield rendered.slice(from);
  }

  /** The first end-of-turn token from a position on: where it is, and where it ends. */
  #endOfTurn(rendered: string, from: number): { at: number; after: number } | undefined {
    let first: { at: number; after: number } | undefined;
    for (const end of this.#ends) {
      const at = rendered.indexOf(end, from);
      if (at >= 0 && !(first && first.at < at)) first = { at, after: at + end.length };
    }
    return first;
  }

  #use(stretch: Stretch): void {
    this.#used.delete(stretch);
    this.#used.add(stretch);
  }

  #forget(stretch: Stretch): void {
    this.#used.delete(stretch);
    this.#size -= stretch.own?.tokens.length ?? 0;
    stretch.own = undefined;
    let at: Stretch | undefined = stretch;
    while (at?.before && !at.own && at.after.size === 0) {
      at.before.after.delete(at.text);
      at = at.before;
    }
  }
}
