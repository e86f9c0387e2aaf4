import { readJsonFile } from './json-file.ts';
import { usageError } from './options.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads the functions that a model is offered: a JSON list in the form of OpenAI's chat API.
 * @throws MowgliError `OPTION_INVALID` with the file, and the index of the entry at fault
 */
export async function readTools(file: string): Promise<readonly unknown[]> {
  const tools = await readJsonFile('--tools', file, 'a JSON list of functions');
  if (!Array.isArray(tools) || tools.length === 0) {
    throw usageError(`--tools: ${file} must hold a list of at least one function: [${form}, ...]`);
  }
  const indexes = new Map<string, number>();
  for (const [index, tool] of tools.entries()) {
    const where = `--tools: ${file}: entry ${index}`;
    const name = checkTool(tool, where);
    if (indexes.has(name)) {
      throw usageError(
        `${where} is called ${name}, as entry ${indexes.get(name)} is: give each function its own name`,
      );
    }
    indexes.set(name, index);
  }
  return tools;
}

const form = '{"type": "function", "function": {"name", "description", "parameters"}}';

/** Checks what templates and the parser of calls rely on, and returns the function's name. */
function checkTool(tool: unknown, where: string): string {
  if (!isObject(tool) || tool.type !== 'function' || !isObject(tool.function)) {
    throw usageError(`${where} is no function: write it as ${form}`);
  }
  const { name, description, parameters } = tool.function;
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
    throw usageError(
      `${where}: function.name must be 1 to 64 letters, digits, '_', '-' or '.', not ${JSON.stringify(name)}`,
    );
  }
  if (description !== undefined && typeof description !== 'string') {
    throw usageError(`${where} (${name}): function.description must be a text`);
  }
  if (parameters !== undefined) checkParameters(parameters, `${where} (${name}): function`);
  return name;
}

function checkParameters(parameters: unknown, where: string): void {
  if (!isObject(parameters) || (parameters.type ?? 'object') !== 'object') {
    throw usageError(
      `${where}.parameters must be a JSON schema of an object: {"type": "object", "properties": {...}}`,
    );
  }
  const { properties = {}, required = [] } = parameters;
  if (!isObject(properties) || !Object.values(properties).every(isSchema)) {
    throw usageError(
      `${where}.parameters.properties must be an object with a schema per parameter`,
    );
  }
  if (!Array.isArray(required) || !required.every((name) => typeof name === 'string')) {
    throw usageError(`${where}.parameters.required must be a list of parameters' names`);
  }
}

/** JSON schemas are objects, or `true` and `false`. */
export function isSchema(value: unknown): value is JsonObject | boolean {
  return typeof value === 'boolean' || isObject(value);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
