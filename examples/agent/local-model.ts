import type { Model, RespondEnd } from '../../src/node.ts'; // in your own project: 'mowgli-llm'
import type { ChatModel, ChatModelOptions, Turn } from './chat-model.ts';

/** A conversation with a model of this library. Each turn evaluates only what is new. */
export function localModel(model: Model, options: ChatModelOptions): ChatModel {
  const session = model.chat(options);
  return {
    async send(messages, { maxTokens, signal, onText }) {
      let end: RespondEnd | undefined;
      for await (const part of session.send(messages, { maxTokens, signal })) {
        if (part.type === 'text') onText(part.text);
        else if (part.type === 'end') end = part;
      }
      return toTurn(end!); // There always is an end, or an error.
    },
  };
}

function toTurn({ message, incompleteCalls, finishReason, usage }: RespondEnd): Turn {
  return {
    text: message.content ?? '',
    calls: (message.tool_calls ?? []).map((call) => ({ id: call.id, ...call.function })),
    incomplete: incompleteCalls.map(({ name }) => name),
    cutOff: finishReason === 'length',
    tokens: usage.completionTokens,
  };
}
