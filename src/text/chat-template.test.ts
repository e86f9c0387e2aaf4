import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MowgliError } from '../errors.ts';
import { ChatTemplate, type RenderOptions, type TemplateMessage } from './chat-template.ts';
import { parseJson } from './jinja/json.ts';
import type { Dict } from './jinja/values.ts';

const at = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const data = (name: string) => at(`tests/data/conformance/${name}`);

interface Conversation {
  template: string;
  messages: TemplateMessage[];
  tools: unknown[] | null;
  add_generation_prompt: boolean;
  expected: string;
}

const coder = new ChatTemplate(data('chat_template.jinja'));
const user = { role: 'user', content: 'x' };

/** The error of a call that has to fail. */
function failure(run: () => unknown): MowgliError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(MowgliError);
    expect((error as MowgliError).code).toBe('TEMPLATE_FAILED');
    return error as MowgliError;
  }
  expect.fail('no error was thrown');
}

describe('ChatTemplate, against Jinja2', () => {
  const { templates, cases } = JSON.parse(data('chat-template.json')) as {
    templates: Record<string, string>;
    cases: (Conversation & { name: string; kwargs?: Record<string, unknown> })[];
  };

  it.each(cases)(
    '$name',
    ({ template, messages, tools, add_generation_prompt, kwargs, expected }) => {
      const text = new ChatTemplate(data(templates[template]!)).render(messages, {
        tools,
        addGenerationPrompt: add_generation_prompt,
        variables: kwargs ?? {},
      });
      expect(text).toBe(expected);
    },
  );

  const jinja = JSON.parse(data('jinja.json')) as {
    variables: string;
    cases: [string, string | null][];
    conversations: (Conversation & { seed: number })[];
  };

  it.each(jinja.conversations)(
    '$template, random conversation $seed',
    ({ template, messages, tools, add_generation_prompt, expected }) => {
      const text = new ChatTemplate(data(template)).render(messages, {
        tools,
        addGenerationPrompt: add_generation_prompt,
      });
      expect(text).toBe(expected);
    },
  );

  const variables = Object.fromEntries(parseJson(jinja.variables) as Dict & Map<string, unknown>);

  it.each(jinja.cases.filter(([, expected]) => expected !== null))('%j', (template, expected) => {
    expect(new ChatTemplate(template).render([], { variables })).toBe(expected);
  });

  it.each(jinja.cases.filter(([, expected]) => expected === null))('refuses %j', (template) => {
    failure(() => new ChatTemplate(template).render([], { variables }));
  });
});

describe('arguments of tool calls', () => {
  const call = (args: unknown) =>
    coder.render(
      [
        user,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ type: 'function', function: { name: 'f', arguments: args } }],
        },
      ],
      { addGenerationPrompt: false },
    );

  it('may be JSON text', () => {
    expect(call('{"a": "x", "b": [1, null], "t": true}')).toBe(
      call({ a: 'x', b: [1, null], t: true }),
    );
    expect(call('{"a": "x"}')).toContain('<parameter=a>\nx\n</parameter>');
  });

  it('keep in text what JavaScript’s parser would lose', () => {
    const text = call('{"10": 1, "2": 1.0, "id": 9007199254740993, "e": 1e5, "z": -0.0}');
    expect(text).toContain(
      '<parameter=10>\n1\n</parameter>\n<parameter=2>\n1.0\n</parameter>\n' +
        '<parameter=id>\n9007199254740993\n</parameter>\n<parameter=e>\n100000.0\n</parameter>\n' +
        '<parameter=z>\n-0.0\n</parameter>',
    );
  });

  it('may be empty, null or absent', () => {
    for (const args of ['', ' ', null, '{}', 'null']) expect(call(args)).toBe(call({}));
    expect(call(undefined)).toBe(call({}));
  });

  it('are not changed in the caller’s messages', () => {
    const tool_calls = [{ function: { name: 'f', arguments: '{"a": 1}' } }];
    coder.render([user, { role: 'assistant', content: '', tool_calls }]);
    expect(tool_calls[0]!.function.arguments).toBe('{"a": 1}');
  });

  it('may stand in a call without the wrapper', () => {
    const tool_calls = [{ name: 'f', arguments: '{"a": 1}' }];
    expect(coder.render([user, { role: 'assistant', content: '', tool_calls }])).toContain(
      '<parameter=a>\n1\n',
    );
  });

  it.each(['{"a": 1', '{a: 1}', "{'a': 1}", '{"a": 01}', '{"a": 1} x', '{"a": "\n"}'])(
    'that are not JSON are named: %j',
    (text) => {
      expect(failure(() => call(text)).message).toMatch(
        /arguments of messages\[1\]\.tool_calls\[0\] are not JSON: expected/,
      );
    },
  );

  it.each(['[1]', '"a"', '3'])('that are no object are named: %j', (text) => {
    expect(failure(() => call(text)).message).toMatch(
      /arguments of messages\[1\]\.tool_calls\[0\] must be an object/,
    );
  });
});

describe('what a template is given', () => {
  const render = (template: string, options?: RenderOptions) =>
    new ChatTemplate(template).render([user], options);

  it('is what transformers gives', () => {
    const text = '{{ tools }}|{{ documents }}|{{ add_generation_prompt }}|{{ messages | length }}';
    expect(render(text)).toBe('None|None|True|1');
    expect(render(text, { tools: [], addGenerationPrompt: false })).toBe('None|None|False|1');
  });

  it('includes further variables, except undefined ones', () => {
    const template = '{{ enable_thinking is defined }}{{ enable_thinking }}';
    expect(render(template, { variables: { enable_thinking: false } })).toBe('TrueFalse');
    expect(render(template, { variables: { enable_thinking: undefined } })).toBe('False');
  });

  it('includes the special tokens of tokenizer_config.json', () => {
    const config = {
      bos_token: null,
      eos_token: '<|im_end|>',
      pad_token: { content: '<pad>', lstrip: false },
      chat_template: '{{ bos_token is defined }} {{ eos_token }} {{ pad_token }}',
    };
    expect(ChatTemplate.fromTokenizerConfig(config)!.render([user])).toBe('False <|im_end|> <pad>');
  });

  it('tells the time that the caller gives', () => {
    const now = new Date(2025, 7, 5, 14, 3, 9);
    const format = '%Y-%m-%d %H:%M:%S|%d %b %Y|%B %-d, %Y|%A %a|%I:%M %p|%j|%y|%%';
    expect(render(`{{ strftime_now('${format}') }}`, { now })).toBe(
      '2025-08-05 14:03:09|05 Aug 2025|August 5, 2025|Tuesday Tue|02:03 PM|217|25|%',
    );
    expect(failure(() => render("{{ strftime_now('%Q') }}")).message).toMatch(/%Q/);
  });

  it('treats a Date or other object with toJSON as JSON does', () => {
    expect(render('{{ d }}', { variables: { d: new Date(0) } })).toBe('1970-01-01T00:00:00.000Z');
  });

  it('prints numbers as Python would have read them from JSON', () => {
    const v = [1e20, 1e21, 123456789012345680000, 1e-5, 0.1, -0, 5e-324, 1.7976931348623157e308];
    expect(render('{{ v }}', { variables: { v } })).toBe(
      '[100000000000000000000, 1e+21, 123456789012345683968, 1e-05, 0.1, 0, 5e-324, ' +
        '1.7976931348623157e+308]',
    );
  });
});

describe('sources of templates', () => {
  it('can be a list of named ones, with one for tools', () => {
    const template = new ChatTemplate([
      { name: 'default', template: 'plain' },
      { name: 'tool_use', template: 'tools' },
    ]);
    expect(template.names).toEqual(['default', 'tool_use']);
    expect(template.render([user])).toBe('plain');
    expect(template.render([user], { tools: [] })).toBe('plain');
    expect(template.render([user], { tools: [{}] })).toBe('tools');
  });

  it('are found in tokenizer_config.json, unless there is a file', () => {
    const config = { chat_template: 'inside' };
    expect(ChatTemplate.fromTokenizerConfig(config)!.render([user])).toBe('inside');
    expect(ChatTemplate.fromTokenizerConfig(config, 'file')!.render([user])).toBe('file');
    expect(ChatTemplate.fromTokenizerConfig({})).toBeUndefined();
    expect(ChatTemplate.fromTokenizerConfig(undefined)).toBeUndefined();
    expect(failure(() => ChatTemplate.fromTokenizerConfig({ chat_template: 5 })).message).toMatch(
      /tokenizer_config\.json: chat_template must be/,
    );
  });

  it('include the model in this repository', () => {
    const config = JSON.parse(at('models/tiny-coder/tokenizer_config.json')) as unknown;
    const template = ChatTemplate.fromTokenizerConfig(config)!;
    // Written after the current Qwen3-Coder template, so the two agree on a plain conversation.
    const messages = [
      { role: 'system', content: 'S' },
      { role: 'user', content: 'U' },
      { role: 'assistant', content: 'A' },
      { role: 'user', content: 'V' },
    ];
    expect(template.render(messages)).toBe(coder.render(messages));
  });

  it('that are damaged are refused when they are loaded', () => {
    const error = failure(() => new ChatTemplate('{% if x %}', { name: 'm/chat_template.jinja' }));
    expect(error.message).toMatch(/^m\/chat_template\.jinja: template "default" cannot be parsed/);
    failure(() => new ChatTemplate([]));
  });
});

describe('a conversation that cannot be rendered', () => {
  it('gets the template’s own words', () => {
    const template = new ChatTemplate(
      "{% if messages[0].role != 'user' %}{{ raise_exception('Start with a user message') }}{% endif %}",
    );
    const error = failure(() => template.render([{ role: 'assistant', content: 'x' }]));
    expect(error.message).toBe(
      'chat template: it refuses the conversation: Start with a user message',
    );
    expect(template.render([user])).toBe('');
  });

  it('gets Python’s reason and a hint', () => {
    expect(failure(() => coder.render([{ role: 'user', content: null }])).message).toMatch(
      /can only concatenate str \(not "NoneType"\) to str.*content must be text/,
    );
    expect(failure(() => coder.render([])).message).toMatch(/list object has no element 0/);
    expect(failure(() => coder.render([{ role: 'user', content: ['x'] }])).message).toMatch(
      /not "list"/,
    );
  });

  it('does not end the process when a template recurses without end', () => {
    failure(() => new ChatTemplate('{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}').render([]));
  });
});
