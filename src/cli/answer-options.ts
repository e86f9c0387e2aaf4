import type { Command } from 'commander';
import type { RespondOptions, ResponseFormat, ToolChoice } from '../node.ts';
import { readJsonFile } from './json-file.ts';
import { usageError } from './options.ts';
import { isSchema, readTools } from './tools.ts';

/** What an answer may consist of besides text, or must. */
export interface AnswerFlags {
  tools?: string;
  toolChoice?: string;
  jsonSchema?: string;
  jsonSchemaFile?: string;
}

/** The same, as the library takes it. */
export type AnswerOptions = Pick<RespondOptions, 'tools' | 'toolChoice' | 'responseFormat'>;

/** Adds the options of {@link AnswerFlags} to a command. */
export function addAnswerOptions(command: Command): Command {
  return command
    .option(
      '--tools <file>',
      "functions that the model may call, as a JSON list in OpenAI's form; calls are printed as lines of JSON after the text",
    )
    .option(
      '--tool-choice <choice>',
      'auto, none, required (at least one call), or the name of the one function to call; enforced (default: auto)',
    )
    .option(
      '--json-schema <schema>',
      'let the answer be JSON that this schema allows, such as \'{"type": "object"}\'; enforced',
    )
    .option('--json-schema-file <file>', 'the same, with the schema in a file');
}

/** The names of those options that were given. */
export function givenAnswerFlags(flags: AnswerFlags): readonly string[] {
  const { tools, toolChoice, jsonSchema, jsonSchemaFile } = flags;
  const all = {
    '--tools': tools,
    '--tool-choice': toolChoice,
    '--json-schema': jsonSchema,
    '--json-schema-file': jsonSchemaFile,
  };
  return Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [name]));
}

/**
 * Reads what was given of the options of {@link AnswerFlags}, and the files that they name; `undefined`
 * when nothing was.
 * @throws MowgliError `OPTION_INVALID`
 */
export async function readAnswerOptions(flags: AnswerFlags): Promise<AnswerOptions | undefined> {
  if (givenAnswerFlags(flags).length === 0) return undefined;
  const tools = flags.tools === undefined ? undefined : await readTools(flags.tools);
  const toolChoice = readChoice(flags.toolChoice, tools);
  const responseFormat = await readFormat(flags);
  const mustCall = typeof toolChoice === 'object' || toolChoice === 'required';
  if (responseFormat && mustCall) {
    throw usageError(
      `--tool-choice ${flags.toolChoice} and a JSON schema exclude each other, since an answer that must call holds no other text: leave one of them out`,
    );
  }
  return {
    ...(tools && { tools }),
    ...(toolChoice && { toolChoice }),
    ...(responseFormat && { responseFormat }),
  };
}

function readChoice(
  choice: string | undefined,
  tools: readonly unknown[] | undefined,
): ToolChoice | undefined {
  if (choice === undefined) return undefined;
  if (!tools) throw usageError('--tool-choice needs --tools, the functions to choose from');
  if (choice === 'auto' || choice === 'none' || choice === 'required') return choice;
  const names = tools.map((tool) => (tool as { function: { name: string } }).function.name);
  if (names.includes(choice)) return { name: choice };
  throw usageError(
    `--tool-choice must be auto, none, required or a function of --tools (${names.join(', ')}), not '${choice}'`,
  );
}

async function readFormat(flags: AnswerFlags): Promise<ResponseFormat | undefined> {
  const { jsonSchema: text, jsonSchemaFile: file } = flags;
  if (text !== undefined && file !== undefined) {
    throw usageError('--json-schema and --json-schema-file say the same: leave one of them out');
  }
  if (file !== undefined) {
    const schema = await readJsonFile('--json-schema-file', file, 'a JSON schema');
    return toFormat(schema, `--json-schema-file: ${file}`, file);
  }
  return text === undefined ? undefined : toFormat(parseSchema(text), '--json-schema');
}

function parseSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw usageError(
      `--json-schema is not JSON (${(cause as Error).message}); a schema in a file is given with --json-schema-file`,
    );
  }
}

function toFormat(schema: unknown, where: string, name?: string): ResponseFormat {
  if (isSchema(schema)) {
    return { type: 'json_schema', schema, ...(name !== undefined && { name }) };
  }
  throw usageError(`${where} is no JSON schema: write an object, such as {"type": "object"}`);
}
