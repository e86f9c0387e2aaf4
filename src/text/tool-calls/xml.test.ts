import { describe, expect, it } from 'vitest';
import { parseEveryCut, parsePieces, type TurnOptions } from '../../../tests/turn-in-pieces.ts';
import { collectTurn } from './events.ts';

const tool = (name: string, properties: Record<string, unknown>, required: string[] = []) => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties, required } },
});

const tools = [
  tool('read', { path: { type: 'string' }, start: { type: 'integer' } }, ['path']),
  tool('write', { path: { type: 'string' }, content: { type: 'string' } }, ['path', 'content']),
  tool('ping', {}),
  tool('set', { list: { type: 'array' } }),
];
const options: TurnOptions = { format: 'xml', tools };

const call = (name: string, parameters: Record<string, string>) =>
  `<tool_call>\n<function=${name}>\n${Object.entries(parameters)
    .map(([key, value]) => `<parameter=${key}>\n${value}\n</parameter>\n`)
    .join('')}</function>\n</tool_call>`;

/** The turn, with arguments as values; nothing may be left incomplete. */
function parse(text: string, more: Partial<TurnOptions> = {}) {
  const turn = parseEveryCut(text, { ...options, ...more });
  expect(turn.incompleteCalls).toEqual([]);
  const calls = turn.toolCalls.map((x) => [x.name, JSON.parse(x.arguments) as unknown]);
  return { content: turn.content, calls };
}

describe('values that contain the markers', () => {
  it.each([
    ['a closing tag within a line', 'Write </parameter> to end it.\nThen </function>.'],
    [
      'a closing tag on a line of its own',
      '<config>\n<parameter name="a">\n1\n</parameter>\n</config>',
    ],
    ['a line of parameters', '<parameter=path>1</parameter><parameter=b>2</parameter>\n'],
    ['lines of parameters', '<parameter=a>1</parameter>\n<parameter=b>2</parameter>\nend'],
    ['a parameter that the tool has, within a line', 'use <parameter=content> here'],
    ['a call', call('write', { path: 'p', content: 'c' })],
    ['two calls', `${call('read', { path: 'p' })}\n${call('ping', {})}\n`],
    ['a call within a call', call('write', { path: 'p', content: call('read', { path: 'q' }) })],
    [
      'a call on one line',
      "x = '<tool_call><function=f><parameter=a>1</parameter></function></tool_call>'",
    ],
    [
      'the end of a call on one line',
      'It ends with </parameter></function></tool_call> as always.',
    ],
    ['openers that nothing closes', '<tool_call>, <function=read> and <parameter=zzz>'],
    ['the beginning of a tag at its end', 'a </parame'],
    ['a call that is cut off', '<tool_call>\n<function=read>\n<parameter=path>\nval'],
  ])('%s', (_, content) => {
    const text = call('write', { path: 'a', content });
    const expected = ['write', { path: 'a', content }];
    expect(parse(text).calls).toEqual([expected]);
    const other = call('ping', {});
    // Behind a call that nothing closes, only the end of the turn tells.
    if (content.endsWith('val')) return;
    expect(parse(`${text}\n${other}`).calls).toEqual([expected, ['ping', {}]]);
    const behind = parse(`${text}\n\nDone.`);
    expect(behind).toEqual({ content: 'Done.', calls: [expected] });
  });

  it('come out while they are generated', () => {
    const pieces = ['<tool_call>\n<function=write>\n<parameter=content>\n', 'a\nb', ' < c\nd'];
    const events = parsePieces([...pieces], { ...options, finishReason: 'length' });
    expect(events).toContainEqual({
      type: 'tool-call-delta',
      index: 0,
      delta: '{"content":"a\\nb < c\\nd',
    });
  });
});

describe('tags that are missing', () => {
  const expected = [['write', { path: 'a', content: 'x\ny' }]];

  it.each([
    ['<tool_call>', (text: string) => text.replace('<tool_call>\n', '')],
    ['</tool_call>', (text: string) => text.replace('\n</tool_call>', '')],
    ['both', (text: string) => text.replace(/<\/?tool_call>/g, '')],
    ['</function>', (text: string) => text.replace('</function>\n', '')],
    [
      '</function> and </tool_call>',
      (text: string) => text.replace('</function>\n</tool_call>', ''),
    ],
    ['one </parameter>', (text: string) => text.replace('</parameter>\n<parameter', '<parameter')],
    [
      'the last </parameter>',
      (text: string) => text.replace('</parameter>\n</function', '</function'),
    ],
    ['each </parameter>', (text: string) => text.replaceAll('</parameter>\n', '')],
    ['all within', (text: string) => text.replaceAll(/<\/(parameter|function)>\n/g, '')],
    ['the line breaks', (text: string) => text.replaceAll(/>\n/g, '>').replaceAll(/\n</g, '<')],
    [
      'line breaks before </parameter>',
      (text: string) => text.replaceAll('\n</parameter>', '</parameter>'),
    ],
    ['line breaks behind <parameter>', (text: string) => text.replaceAll(/(<p[^>]*>)\n/g, '$1')],
  ])('%s', (_, damage) => {
    const text = damage(call('write', { path: 'a', content: 'x\ny' }));
    expect(parse(text)).toEqual({ content: '', calls: expected });
    expect(parse(`Now:\n\n${text}\n`)).toEqual({ content: 'Now:', calls: expected });
    const twice = parse(`${text}\n${text}`);
    expect(twice).toEqual({ content: '', calls: [...expected, ...expected] });
  });

  it('does not lose what is said afterwards', () => {
    const text = call('read', { path: 'a' }).replace('\n</tool_call>', '\n\nDone.');
    expect(parse(text)).toEqual({ content: 'Done.', calls: [['read', { path: 'a' }]] });
  });

  it('drops words between parameters', () => {
    const text =
      '<tool_call>\n<function=read>\n<parameter=path>\na\n</parameter>\nand the line\n' +
      '<parameter=start>\n3\n</parameter>\n</function>\n</tool_call>';
    expect(parse(text).calls).toEqual([['read', { path: 'a', start: 3 }]]);
  });

  it('takes several functions in one wrapper', () => {
    const inner = (name: string) =>
      call('read', { path: name }).split('\n').slice(1, -1).join('\n');
    const text = `<tool_call>\n${inner('a')}\n${inner('b')}\n</tool_call>`;
    expect(parse(text).calls).toEqual([
      ['read', { path: 'a' }],
      ['read', { path: 'b' }],
    ]);
  });
});

describe('line breaks around a value', () => {
  it.each([
    ['\r\na\r\n', 'a'],
    ['\r\na\n', 'a'],
    ['a\r\n', 'a'],
    ['\r\na', 'a'],
    ['\r\n', ''],
    ['\r\n\r\n', ''],
    ['\r\n\n', ''],
    ['\r\n\r\n \r\n\r\n', '\r\n \r\n'],
    ['\r\na\r\r\n', 'a\r'],
    ['\r\n\ra\r', '\ra\r'],
    ['\r\na\rb\r\n</parameter> c\r\n', 'a\rb\r\n</parameter> c'],
    // As templates write a value that ends so.
    ['\na\r\n', 'a\r'],
    ['\n\r\na\r\n\n', '\r\na\r\n'],
  ])('%j', (between, path) => {
    const text =
      `<tool_call>\n<function=read>\n<parameter=path>${between}</parameter>\n` +
      '</function>\n</tool_call>';
    expect(parse(text).calls).toEqual([['read', { path }]]);
  });

  it('may all be of the other kind', () => {
    const text = `${call('write', { path: 'a', content: 'x\n\ny' })}\n${call('read', { path: 'b', start: '1' })}`;
    expect(parse(text.replaceAll('\n', '\r\n'))).toEqual({
      content: '',
      calls: [
        ['write', { path: 'a', content: 'x\r\n\r\ny' }],
        ['read', { path: 'b', start: 1 }],
      ],
    });
  });
});

describe('closing tags behind a call', () => {
  const whole = call('read', { path: 'a' });
  const calls = [['read', { path: 'a' }]];

  it.each([
    '\n</tool_call>\n</tool_call>',
    '</function>\n</tool_call>',
    '</function></function>',
    '\n\n </parameter>\n</function>\n</tool_call>\n',
  ])('%j are markup', (closers) => {
    expect(parse(whole + closers)).toEqual({ content: '', calls });
    expect(parse(`${whole + closers} Then </tool_call> is text.`)).toEqual({
      content: 'Then </tool_call> is text.',
      calls,
    });
    expect(parse(`${whole + closers}\n${whole}`).calls).toEqual([...calls, ...calls]);
    expect(parse(`It ends.${closers}`)).toEqual({ content: `It ends.${closers}`, calls: [] });
  });

  it('are markup where the turn is cut off in them', () => {
    const text = `${whole}\n</tool_call>\n</function>`;
    for (let at = whole.length; at < text.length; at++) {
      const { content } = parse(text.slice(0, at), { finishReason: 'length' });
      // What may still be any tag is shown.
      expect(content.replace('<', '')).toBe('');
    }
  });
});

describe('prose', () => {
  it.each([
    'Use <function=read> for files, and <function=ping></function_x>.',
    'A call is <tool_call><function=example><parameter=p>v</parameter></function></tool_call>, see?',
    'It begins with <tool_call> and then\n<function=NAME> comes.',
    '```xml\n<function=read>\n<parameter=path>\na\n</parameter>\n</function>\n```\n',
    '```\n<tool_call>\n<function=example_function_name>\n<parameter=p>\nv\n</parameter>\n</function>\n</tool_call>\n```',
    '<function=unknown>\n<parameter=path>\na\n</parameter>\n</function>',
    '</tool_call> alone, </function>, </parameter>',
    'The tags are <function=read> <tool_call> </parameter>.',
    'ends with <tool_call>',
    'ends with <tool_call>\n<function=read>',
    '  \n indented, and <think> is a word\n\n',
    'a < b, x<y, <<, <function=>, <function=a\nb>',
    '',
    ' \n',
  ])('%j stays as it is', (text) => {
    expect(parse(text)).toEqual({ content: text, calls: [] });
  });

  it('is not held back longer than it takes to know', () => {
    const shown = (text: string) => {
      const events = parsePieces([text], { ...options, finishReason: 'length' });
      return events.map((x) => ('text' in x ? x.text : '')).join('');
    };
    for (const text of [
      'a <tool_call> b',
      'a <function=read> b',
      `a <function=${'x'.repeat(999)} b`,
    ]) {
      expect(shown(text)).toBe(text);
    }
  });

  it('may surround calls', () => {
    const text = `One.\n\n${call('ping', {})}\n\nTwo.\n${call('ping', {})}\nThree.\n`;
    expect(parse(text)).toEqual({
      content: 'One.Two.Three.\n',
      calls: [
        ['ping', {}],
        ['ping', {}],
      ],
    });
  });

  it('behind a code block may be followed by a call without wrapper', () => {
    const text = '```\ncode\n```\n<function=ping>\n</function>';
    expect(parse(text)).toEqual({ content: '```\ncode\n```', calls: [['ping', {}]] });
  });

  it('is all there is without tools', () => {
    const text = call('read', { path: 'a' });
    expect(parse(text, { tools: [] })).toEqual({ content: text, calls: [] });
    expect(parse(text, { format: undefined })).toEqual({ content: text, calls: [] });
  });
});

describe('calls', () => {
  it('of tools that were made up are passed on, with text for values', () => {
    expect(parse(call('made_up', { n: '1' })).calls).toEqual([['made_up', { n: '1' }]]);
  });

  it('keep digits', () => {
    const text = call('set', { list: '[9007199254740993, 1.10]' });
    const { toolCalls } = parseEveryCut(text, options);
    expect(toolCalls).toEqual([{ name: 'set', arguments: '{"list":[9007199254740993,1.10]}' }]);
  });

  it('may name parameters like properties of objects', () => {
    const { toolCalls } = parseEveryCut(
      call('ping', { __proto__x: '1', constructor: '2' }),
      options,
    );
    expect(toolCalls[0]!.arguments).toBe('{"__proto__x":"1","constructor":"2"}');
  });

  it.each(['length', 'aborted'] as const)(
    'that are cut off are never whole: %s',
    (finishReason) => {
      const contents = [
        'x\ny',
        '\n</parameter>\n</function>\nand',
        'wrapped in\n</tool_call>\nor in </tool_call>',
        call('write', { path: 'p', content: 'c' }),
      ];
      for (const content of contents) {
        const text = `Now:\n\n${call('write', { path: 'a', content })}`;
        for (let at = 0; at < text.length; at++) {
          const pieces = [text.slice(0, at)];
          const turn = collectTurn(parsePieces(pieces, { ...options, finishReason }));
          expect(turn.toolCalls, text.slice(0, at)).toEqual([]);
          // What may still be any tag is shown.
          expect('Now:\n\n').toContain(turn.content.replace(/<[a-z_]*$/, ''));
        }
        expect(parse(text, { finishReason }).calls).toEqual([['write', { path: 'a', content }]]);
      }
    },
  );

  it('whose value never ends are not whole, even when the model ends the turn', () => {
    const text =
      '<tool_call>\n<function=write>\n<parameter=path>\na\n</parameter>\n<parameter=content>\nx';
    expect(parseEveryCut(text, options)).toEqual({
      content: '',
      reasoning: '',
      toolCalls: [],
      incompleteCalls: [{ name: 'write', arguments: '{"path":"a","content":"x' }],
    });
  });

  it('have each parameter once: the first counts', () => {
    const tags = (name: string, value: string) => `<parameter=${name}>\n${value}\n</parameter>\n`;
    const text = (parameters: string) =>
      `<tool_call>\n<function=read>\n${parameters}</function>\n</tool_call>`;
    for (const [parameters, json] of [
      [tags('path', 'a') + tags('path', 'b'), '{"path":"a"}'],
      [tags('start', '1') + tags('start', '2') + tags('path', 'a'), '{"start":1,"path":"a"}'],
      [tags('zzz', 'a') + tags('path', 'b') + tags(' zzz ', 'c'), '{"zzz":"a","path":"b"}'],
      [`${tags('path', 'a')}<parameter=path>\nb\n`, '{"path":"a"}'],
    ] as const) {
      const turn = parseEveryCut(text(parameters), options);
      expect(turn).toMatchObject({ content: '', incompleteCalls: [] });
      expect(turn.toolCalls).toEqual([{ name: 'read', arguments: json }]);
    }
  });

  it.each([
    ['<parameter=>\nx\n</parameter>\n', ''],
    ['<parameter= >\nx\n</parameter>\n<parameter=path>\na\n</parameter>\n', '{"path":"a"'],
    ['<parameter=path>\na\n</parameter>\n<parameter=>\nx\n</parameter>\n', '{"path":"a"'],
    ['<parameter=path>\na\n</parameter>\n<parameter=>\nx\n', '{"path":"a"'],
  ])('are damaged by a parameter without a name: %j', (parameters, json) => {
    for (const inner of [parameters, parameters.replaceAll('\n', '')]) {
      const text = `<tool_call>\n<function=read>\n${inner}</function>\n</tool_call>`;
      for (const wrapped of [text, text.replace('<tool_call>\n', '')]) {
        const turn = parseEveryCut(`Now:\n${wrapped}\nDone.\n${call('ping', {})}`, options);
        expect(turn).toEqual({
          content: 'Now:Done.',
          reasoning: '',
          toolCalls: [{ name: 'ping', arguments: '{}' }],
          incompleteCalls: [{ name: 'read', arguments: json }],
        });
      }
    }
  });

  it('are given up when it takes too long to find where their values end', () => {
    // Each value may end at once, or go on to the end of the turn.
    const values = (count: number) =>
      `<tool_call>\n<function=read>\n${'<parameter=path>\n\n</parameter>\nx '.repeat(count)}`;
    const few = `${values(9)}</function>`;
    expect(parse(few).calls).toEqual([['read', { path: '' }]]);
    const text = `${values(99)}</function>`;
    const turn = parsePieces([text], options);
    expect(collectTurn(turn)).toMatchObject({
      content: '',
      toolCalls: [],
      incompleteCalls: [{ name: 'read' }],
    });
    expect(parsePieces(text.split(''), options)).toEqual(turn);
    for (let at = 1; at < text.length; at += 97) {
      expect(parsePieces([text.slice(0, at), text.slice(at)], options)).toEqual(turn);
    }
  });

  it('that lack what is required and their end are not whole', () => {
    const text = '<tool_call>\n<function=write>\n<parameter=path>\na\n</parameter>\n';
    expect(parseEveryCut(text, options).incompleteCalls).toHaveLength(1);
  });
});
