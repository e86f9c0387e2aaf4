import { MowgliError } from '../errors.ts';
import { type OfferedTool, offeredTools } from '../text/tool-calls/offered-tools.ts';
import { isRecord } from '../text/tool-calls/value-types.ts';
import { SchemaDocument, type SchemaNode } from './schema/document.ts';

/** A tool, as a grammar needs it. */
export interface Tool {
  /** What the parser of calls makes of it. */
  readonly offered: OfferedTool;
  /** Its calls obey the schema even where the model may choose to call it. */
  readonly strict: boolean;
  readonly document: SchemaDocument;
  /** What the arguments must match, all of it. */
  readonly schemas: readonly SchemaNode[];
}

/**
 * Reads function definitions, OpenAI style or bare. Of two with one name, the last counts.
 * @throws MowgliError `OPTION_INVALID` for a definition without a name, or parameters that are no schema.
 */
export function readTools(definitions: readonly unknown[]): ReadonlyMap<string, Tool> {
  const offered = offeredTools(definitions);
  const tools = new Map<string, Tool>();
  definitions.forEach((definition, i) => {
    const inner = isRecord(definition) && definition.function;
    const { name, parameters, strict } = (isRecord(inner) ? inner : definition) as Record<
      string,
      unknown
    >;
    const document = new SchemaDocument(parameters ?? {}, `tools[${i}] ("${name}"), parameters`);
    tools.set(name as string, {
      offered: offered.get(name as string)!,
      strict: strict === true,
      document,
      schemas: [document.root, document.node(argumentsOf(document.root), '#(arguments)')],
    });
  });
  return tools;
}

/** Arguments are an object; without any parameters, an empty one. */
function argumentsOf({ schema }: SchemaNode): unknown {
  const object = { type: 'object' };
  if (!isRecord(schema)) return object;
  const says = ['properties', 'additionalProperties', '$ref', 'allOf', 'anyOf', 'oneOf'];
  return says.some((keyword) => keyword in schema)
    ? object
    : { ...object, additionalProperties: false };
}

/** The tool of a name. */
export function toolNamed(tools: ReadonlyMap<string, Tool>, name: string): Tool {
  const tool = tools.get(name);
  if (tool) return tool;
  const names = [...tools.keys()].map((other) => JSON.stringify(other)).join(', ');
  throw new MowgliError(
    'OPTION_INVALID',
    `toolChoice names ${JSON.stringify(name)}, which is not among the tools (${names}). Pass its ` +
      'definition in tools, or name one of them.',
  );
}
