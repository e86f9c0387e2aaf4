/** The flags of the library's options, as its messages name them. */
const flags: ReadonlyMap<string, string> = new Map([
  ['responseFormat json_schema', '--json-schema'],
  ['responseFormat', '--json-schema'],
  ['toolChoice', '--tool-choice'],
  ['maxTokens', '--max-tokens'],
  ['logitBias', '--logit-bias'],
  ['kvType', '--kv-type'],
]);

/** Not within what such a message quotes: a property of a schema may be called anything. */
const option = new RegExp(`(?<![\\w/"'.~-])(${[...flags.keys()].join('|')})(?!\\w)`, 'g');

/** A message of the library that finds fault with an option, with the names of the command line. */
export function withFlags(message: string): string {
  return message
    .replace(/^tools(?=[:[])/, '--tools')
    .replace(option, (name) => flags.get(name) ?? name);
}
