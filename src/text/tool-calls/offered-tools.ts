import { MowgliError } from '../../errors.ts';
import { isRecord, type JsonType, TypeReader } from './value-types.ts';

/** What the parser needs to know of a tool. */
export interface OfferedTool {
  readonly name: string;
  /** The types of the parameters that the schema declares. */
  readonly parameters: ReadonlyMap<string, ReadonlySet<JsonType>>;
  /** The types of all other parameters. */
  readonly otherTypes: ReadonlySet<JsonType>;
  readonly required: readonly string[];
}

/**
 * Reads function definitions, OpenAI style or bare.
 * @throws MowgliError `OPTION_INVALID` for a definition without a name.
 */
export function offeredTools(definitions: readonly unknown[]): ReadonlyMap<string, OfferedTool> {
  const tools = new Map<string, OfferedTool>();
  definitions.forEach((definition, index) => {
    const tool = offeredTool(definition);
    if (!tool) {
      throw new MowgliError(
        'OPTION_INVALID',
        `tools[${index}] has no name; pass {type: "function", function: {name, description, parameters}}.`,
      );
    }
    tools.set(tool.name, tool);
  });
  return tools;
}

/** A tool that was not offered: the model made it up, and every value is text. */
export function unknownTool(name: string): OfferedTool {
  return { name, parameters: new Map(), otherTypes: new Set(['string']), required: [] };
}

function offeredTool(definition: unknown): OfferedTool | undefined {
  const inner = isRecord(definition) && definition.function;
  const tool = isRecord(inner) ? inner : definition;
  if (!isRecord(tool) || typeof tool.name !== 'string' || tool.name === '') return undefined;
  const schema = isRecord(tool.parameters) ? tool.parameters : {};
  const properties = isRecord(schema.properties) ? schema.properties : {};
  const types = new TypeReader(schema);
  return {
    name: tool.name,
    parameters: new Map(
      Object.entries(properties).map(([name, property]) => [name, types.read(property)]),
    ),
    otherTypes: types.read(schema.additionalProperties),
    required: Array.isArray(schema.required)
      ? schema.required.filter((x) => typeof x === 'string')
      : [],
  };
}
