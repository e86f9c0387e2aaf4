import type { ChatMessage } from '../index.ts';
import { badField } from './api-error.ts';
import { Fields, type Item } from './fields.ts';

/** A conversation, as the chat template gets it. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** Where arguments of calls were damaged, and empty ones took their place. */
  readonly damagedCalls: readonly string[];
}

/** Reads `messages`. */
export function readMessages(body: Fields): Conversation {
  const items = body.required('messages', body.list('messages', { max: 10_000 }));
  if (items.length === 0) throw badField('messages', 'must have at least one message');
  const damagedCalls: string[] = [];
  const messages = items.map((item) => readMessage(new Fields(item), damagedCalls));
  return { messages, damagedCalls };
}

function readMessage(fields: Fields, damagedCalls: string[]): ChatMessage {
  const role = fields.required('role', fields.text('role'));
  switch (role) {
    case 'system':
    case 'developer': // The newer name of the same.
      return { role: 'system', content: contentOf(fields), ...nameOf(fields) };
    case 'user':
      return { role, content: contentOf(fields), ...nameOf(fields) };
    case 'assistant':
      return readAnswer(fields, damagedCalls);
    case 'tool': {
      const tool_call_id = fields.required('tool_call_id', fields.text('tool_call_id'));
      return { role, content: contentOf(fields), tool_call_id, ...nameOf(fields) };
    }
    default:
      throw badField(
        fields.at('role'),
        `must be one of system, developer, user, assistant, tool, not '${role.slice(0, 40)}'`,
        'invalid_value',
      );
  }
}

/** An answer of the model, as it comes back to it. */
function readAnswer(fields: Fields, damagedCalls: string[]): ChatMessage {
  const calls = (fields.list('tool_calls', { max: 1000 }) ?? []).map((item) =>
    readCall(new Fields(item), damagedCalls),
  );
  const thought = fields.text('reasoning_content');
  const content = fields.has('content') ? contentOf(fields) : null;
  if (content === null && calls.length === 0) {
    throw badField(
      fields.at('content'),
      'is missing: an assistant message has text or tool_calls',
      'missing_required_parameter',
    );
  }
  return {
    role: 'assistant',
    content,
    ...(thought !== undefined && { reasoning_content: thought }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...nameOf(fields),
  };
}

/**
 * Reads a call that the model has made. One that was cut off stays in a client's history for good: were
 * it refused, the conversation could never go on. Templates write arguments out one by one, so there is
 * nothing to show of such ones; the result that follows says what was wrong with them.
 */
function readCall(fields: Fields, damagedCalls: string[]) {
  const id = fields.required('id', fields.text('id'));
  refuseOtherType(fields);
  const inner = fields.required('function', fields.object('function'));
  const name = inner.required('name', inner.text('name'));
  const given = inner.required('arguments', inner.text('arguments'));
  const usable = areArguments(given);
  if (!usable) damagedCalls.push(inner.at('arguments'));
  return { id, type: 'function', function: { name, arguments: usable ? given : '{}' } };
}

/** Whether a text is JSON of an object, or says that there are no arguments. */
function areArguments(text: string): boolean {
  if (text.trim() === '') return true;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** `type` of a tool or a call: there is only one that a model can use here. */
export function refuseOtherType(fields: Fields): void {
  const type = fields.required('type', fields.text('type'));
  if (type === 'function') return;
  throw badField(
    fields.at('type'),
    `must be 'function', not '${type.slice(0, 40)}'`,
    'invalid_value',
  );
}

/** The text of a message. Several parts are lines of their own. */
function contentOf(fields: Fields): string {
  const { value } = fields.item('content');
  if (!Array.isArray(value)) return fields.required('content', fields.text('content'));
  return fields.list('content', { max: 10_000 })!.map(textOfPart).join('\n');
}

function textOfPart(item: Item): string {
  const part = new Fields(item);
  const type = part.required('type', part.text('type'));
  if (type === 'text') return part.required('text', part.text('text'));
  throw badField(
    part.at('type'),
    `is '${type.slice(0, 40)}', and this model reads only parts of the type 'text'`,
    'invalid_value',
  );
}

function nameOf(fields: Fields): { name?: string } {
  const name = fields.text('name');
  return name === undefined ? {} : { name };
}
