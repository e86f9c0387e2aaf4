import type { RespondOptions, ResponseFormat, ToolChoice } from '../index.ts';
import { badField } from './api-error.ts';
import { Fields } from './fields.ts';
import { refuseOtherType } from './messages.ts';

/** As many as OpenAI's API takes. */
const maxTools = 128;

/** Reads which functions may and must be called: `tools`, `tool_choice`, `parallel_tool_calls`. */
export function readTools(
  body: Fields,
): Pick<RespondOptions, 'tools' | 'toolChoice' | 'parallelToolCalls'> {
  for (const old of ['functions', 'function_call']) {
    if (!body.has(old)) continue;
    throw badField(
      old,
      'is no longer supported; use tools and tool_choice',
      'unsupported_parameter',
    );
  }
  const names = (body.list('tools', { max: maxTools }) ?? []).map((item) =>
    checkTool(new Fields(item)),
  );
  const toolChoice = readChoice(body, names);
  const parallelToolCalls = body.boolean('parallel_tool_calls');
  return {
    // As they came: templates write out what is in a definition.
    ...(names.length > 0 && { tools: body.value.tools as readonly unknown[] }),
    ...(toolChoice !== undefined && { toolChoice }),
    ...(parallelToolCalls !== undefined && { parallelToolCalls }),
  };
}

/** Checks the definition of a function, and answers its name. */
function checkTool(tool: Fields): string {
  refuseOtherType(tool);
  const definition = tool.required('function', tool.object('function'));
  const name = definition.required('name', definition.text('name'));
  // Models write names between markup: what could be taken for that would not come back.
  if (!/^[\w.:/-]{1,128}$/.test(name)) {
    throw badField(
      definition.at('name'),
      "must be 1 to 128 letters, digits or any of '_', '-', '.', ':', '/'",
      'invalid_value',
    );
  }
  definition.text('description');
  definition.object('parameters');
  definition.boolean('strict');
  return name;
}

function readChoice(body: Fields, names: readonly string[]): ToolChoice | undefined {
  const { value } = body.item('tool_choice');
  if (value === undefined || value === 'auto' || value === 'none') return value;
  if (value === 'required') {
    if (names.length > 0) return value;
    throw badField('tool_choice', "is 'required', and there are no tools to call", 'invalid_value');
  }
  if (typeof value === 'string') {
    throw badField(
      'tool_choice',
      "must be 'auto', 'none', 'required' or {type: 'function', function: {name}}",
      'invalid_value',
    );
  }
  const choice = body.object('tool_choice')!;
  refuseOtherType(choice);
  const inner = choice.required('function', choice.object('function'));
  const name = inner.required('name', inner.text('name'));
  if (names.includes(name)) return { name };
  throw badField(inner.at('name'), 'is not the name of one of the tools', 'invalid_value');
}

/** Reads `response_format`. */
export function readResponseFormat(body: Fields): ResponseFormat | undefined {
  const format = body.object('response_format');
  if (!format) return undefined;
  const type = format.required('type', format.text('type'));
  if (type === 'text' || type === 'json_object') return { type };
  if (type !== 'json_schema') {
    throw badField(
      format.at('type'),
      `must be one of text, json_object, json_schema, not '${type.slice(0, 40)}'`,
      'invalid_value',
    );
  }
  const inner = format.required('json_schema', format.object('json_schema'));
  const name = inner.required('name', inner.text('name'));
  const { value: schema } = inner.required('schema', inner.object('schema'));
  inner.boolean('strict'); // The schema is obeyed either way.
  inner.text('description');
  return { type, name, schema };
}
