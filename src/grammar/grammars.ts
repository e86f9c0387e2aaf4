import { MowgliError } from '../errors.ts';
import type { TokenConstraint } from '../generate/constraint.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { CallGrammar } from './call-grammar.ts';
import type { Expression } from './expression.ts';
import { Expressions } from './expressions.ts';
import { HermesCalls } from './hermes-calls.ts';
import { JsonText, Texts } from './json-text.ts';
import { LruMap } from './lru-map.ts';
import { Masks } from './masks.ts';
import type { ConstraintRequest, ResponseFormat } from './request.ts';
import { SchemaCompiler } from './schema/compiler.ts';
import { SchemaDocument } from './schema/document.ts';
import { type Automaton, GrammarConstraint } from './token-constraint.ts';
import { readTools, type Tool, toolNamed } from './tools.ts';
import { Turns } from './turn.ts';
import { Vocabulary } from './vocabulary.ts';
import { TooMuchWork } from './work.ts';
import { XmlCalls } from './xml-calls.ts';

/** Work that a request may take, two or three tenths of a second. Usual ones take some thousands. */
const MAX_WORK = 90_000;
/** Requests whose expressions are kept, and the length of their texts, by which they are known again. */
const MAX_REQUESTS = 64;
const MAX_KEY = 2 ** 20;
/** Expressions of compiled requests after which new ones begin afresh, at some hundred bytes each. */
const MAX_COMPILED = 300_000;

/** Expressions beyond those. Grammars that somebody wrote make some thousands. */
const MAX_GATHERED = 300_000;

/** Makes the constraints of answers; one for each model, for it keeps what was compiled. */
export class Grammars {
  readonly #tokenizer: Tokenizer;
  readonly #endTokens: readonly number[];
  #vocabulary: Vocabulary | undefined;
  #workshop: Workshop | undefined;

  /** @param endTokenIds The tokens that end an answer. */
  constructor(tokenizer: Tokenizer, endTokenIds: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#endTokens = endTokenIds.filter((id) => id < tokenizer.vocabSize);
  }

  /**
   * The constraint of one answer; `undefined` when every text will do.
   * @throws MowgliError `OPTION_INVALID` for a request that contradicts itself, or that asks for a
   * schema which cannot be obeyed exactly.
   */
  constraint(request: ConstraintRequest): TokenConstraint | undefined {
    try {
      return this.#constraint(request);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new MowgliError(
        'OPTION_INVALID',
        'the schemas of responseFormat or tools are nested too deeply; use flatter ones',
        { cause: error },
      );
    }
  }

  #constraint(request: ConstraintRequest): TokenConstraint | undefined {
    const wish = readRequest(request);
    if (!wish) return undefined;
    this.#vocabulary ??= new Vocabulary(this.#tokenizer, this.#endTokens);
    if (!this.#workshop || this.#workshop.automaton.make.kept > MAX_COMPILED) {
      this.#workshop = new Workshop(this.#vocabulary, this.#endTokens);
    }
    return this.#workshop.constraint(wish);
  }
}

type JsonWish = Exclude<ResponseFormat, { type: 'text' }>;

/** What an answer must be. */
interface Wish {
  /** The request as text, so that the same one is compiled once. */
  readonly key: string;
  /** What messages call it. */
  readonly what: string;
  readonly json: JsonWish | undefined;
  readonly calls:
    | {
        readonly format: 'xml' | 'hermes';
        readonly tools: ReadonlyMap<string, Tool>;
        /** Those that may be called: at least one must be, or may be, or none. */
        readonly use: 'must' | 'may' | 'not';
        readonly callable: readonly Tool[];
        readonly max: number;
      }
    | undefined;
  /** Whether all of the answer is asked for in this form, and not only its calls. */
  readonly whole: boolean;
  readonly startsInReasoning: boolean;
}

function readRequest(request: ConstraintRequest): Wish | undefined {
  const { responseFormat, toolCallFormat, parallelToolCalls = true } = request;
  if (typeof parallelToolCalls !== 'boolean') {
    invalid(`parallelToolCalls is ${JSON.stringify(parallelToolCalls)}`, 'pass true or false');
  }
  const definitions = request.tools ?? [];
  const choice = request.toolChoice ?? (definitions.length > 0 ? 'auto' : 'none');
  const json = checkedFormat(responseFormat);
  const mustCall = choice === 'required' || typeof choice === 'object';
  if (!mustCall && choice !== 'auto' && choice !== 'none') {
    invalid(
      `toolChoice is ${JSON.stringify(choice)}`,
      "pass 'auto', 'none', 'required' or {name: ...}",
    );
  }
  if (mustCall) {
    const what = typeof choice === 'object' ? `{name: ${JSON.stringify(choice.name)}}` : choice;
    if (definitions.length === 0) invalid(`toolChoice is ${what} without tools`, 'pass tools');
    if (json) {
      invalid(
        `toolChoice is ${what} together with responseFormat ${json.type}`,
        'ask for one of them: a turn that must call tools holds no other text',
      );
    }
    if (!toolCallFormat) {
      invalid(
        `toolChoice is ${what}, but the chat template of this model knows no tool calls`,
        'pass toolCallFormat, or use another model',
      );
    }
  }
  const key = JSON.stringify([
    responseFormat,
    definitions,
    choice,
    toolCallFormat,
    parallelToolCalls,
    request.startsInReasoning,
  ]);
  const whole = json !== undefined || mustCall;
  const rest = { key, json, whole, startsInReasoning: request.startsInReasoning === true };
  const what = json ? describeFormat(json) : mustCall ? 'toolChoice' : 'a call of the tools';
  if (definitions.length === 0 || !toolCallFormat) {
    return json ? { ...rest, what, calls: undefined } : undefined;
  }
  const tools = readTools(definitions);
  const callable =
    typeof choice === 'object' ? [toolNamed(tools, choice.name)] : [...tools.values()];
  const single = !parallelToolCalls || typeof choice === 'object';
  const use = mustCall ? 'must' : choice === 'auto' ? 'may' : 'not';
  if (use === 'may' && !json && !single && !callable.some((tool) => tool.strict)) return undefined;
  const max = single ? 1 : Number.POSITIVE_INFINITY;
  return { ...rest, what, calls: { format: toolCallFormat, tools, use, callable, max } };
}

function checkedFormat(format: ResponseFormat | undefined): JsonWish | undefined {
  if (format === undefined || format.type === 'text') return undefined;
  if (format.type === 'json_object' || format.type === 'json_schema') return format;
  return invalid(
    `responseFormat is ${JSON.stringify(format)}`,
    "its type is 'text', 'json_object' or 'json_schema'",
  );
}

function describeFormat(format: JsonWish): string {
  if (format.type === 'json_object') return 'responseFormat json_object';
  return `responseFormat json_schema${format.name === undefined ? '' : ` "${format.name}"`}`;
}

function invalid(problem: string, cure: string): never {
  throw new MowgliError('OPTION_INVALID', `${problem}; ${cure}`);
}

/** Compiles requests, for as long as what it made fits into memory. */
class Workshop {
  readonly automaton: Automaton;
  readonly #json: JsonText;
  readonly #turns: Turns;
  readonly #compiled = new LruMap<string, Expression>(MAX_REQUESTS);
  #xml: XmlCalls | undefined;

  constructor(vocabulary: Vocabulary, endTokens: readonly number[]) {
    const make = new Expressions((bytes) => vocabulary.spelling(bytes));
    const texts = new Texts(make);
    this.#json = new JsonText(texts);
    this.#turns = new Turns(texts);
    make.endSetup();
    const masks = new Masks(make, vocabulary, endTokens);
    this.automaton = { make, vocabulary, masks, maxGathered: MAX_GATHERED };
  }

  constraint(wish: Wish): TokenConstraint {
    let expression = this.#compiled.get(wish.key);
    if (!expression) {
      expression = this.#compileWithin(wish);
      if (wish.key.length <= MAX_KEY) this.#compiled.set(wish.key, expression);
    }
    return new GrammarConstraint(this.automaton, expression, wish.what, wish.whole);
  }

  #compileWithin(wish: Wish): Expression {
    try {
      return this.automaton.make.work.within(MAX_WORK, () => this.#compile(wish));
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return invalid(
        `${wish.what}: its schemas, taken together, are too large or too complex`,
        'use fewer tools, or fewer properties, values, alternatives and patterns in them',
      );
    }
  }

  #compile(wish: Wish): Expression {
    const { make } = this.automaton;
    const givenUp = make.givenUp;
    const expression = make.keep(() => this.#turn(wish));
    const needed = make.completion(expression);
    if (make.givenUp > givenUp) {
      invalid(`${wish.what}: its patterns, taken together, are too complex`, 'use simpler ones');
    }
    if (needed === Number.POSITIVE_INFINITY) {
      invalid(`${wish.what}: no value matches the schema`, 'correct what contradicts itself');
    }
    return expression;
  }

  #turn({ json, calls, startsInReasoning }: Wish): Expression {
    const turns = this.#turns;
    const grammar = calls && this.#callGrammar(calls.format, calls.tools);
    let turn: Expression;
    if (!calls || !grammar || (json && calls.use === 'not')) {
      turn = this.#content(json!, this.#json);
    } else if (calls.use === 'not') {
      // Reasoning is text like any other then.
      return turns.text(grammar);
    } else if (calls.use === 'must') {
      turn = turns.calls(grammar, calls.callable, calls.max);
    } else {
      const isLoose = (tool: Tool) => !tool.strict;
      turn = json
        ? this.#contentOrCalls(
            json,
            grammar,
            turns.calls(grammar, calls.callable, calls.max, isLoose),
          )
        : turns.textAndCalls(grammar, calls.callable, calls.max, isLoose);
    }
    return startsInReasoning ? turns.afterReasoning(turn) : turn;
  }

  /** JSON that cannot be taken for calls, or calls. */
  #contentOrCalls(json: JsonWish, grammar: CallGrammar, calls: Expression): Expression {
    const { make } = this.automaton;
    const text = new JsonText(this.#json.texts, { avoided: grammar.openers, oneLine: true });
    const call = make.sequence(grammar.marks, make.anything);
    const content = make.intersection(this.#content(json, text), make.complement(call));
    return make.alternatives(content, calls);
  }

  #content(format: JsonWish, json: JsonText): Expression {
    const schema = format.type === 'json_object' ? { type: 'object' } : format.schema;
    const document = new SchemaDocument(schema, describeFormat(format));
    return document.within(json.texts.make.work, () => {
      const compiler = new SchemaCompiler(json, document, { inOrder: true });
      const value = compiler.value([document.root]);
      compiler.finish();
      return value;
    });
  }

  #callGrammar(format: 'xml' | 'hermes', tools: ReadonlyMap<string, Tool>): CallGrammar {
    if (format === 'hermes') return new HermesCalls(this.#json, [...tools.values()]);
    this.#xml ??= new XmlCalls(this.#json.texts);
    return this.#xml;
  }
}
