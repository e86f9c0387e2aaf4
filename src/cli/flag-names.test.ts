import { expect, test } from 'vitest';
import { withFlags } from './flag-names.ts';

test.each([
  ['tools: small has no chat template', '--tools: small has no chat template'],
  ['tools[0] ("f"), parameters: #/a: no', '--tools[0] ("f"), parameters: #/a: no'],
  ['toolChoice is required without tools', '--tool-choice is required without tools'],
  ['responseFormat json_schema: #: no', '--json-schema: #: no'],
  ['responseFormat json_schema "a.json": #: no', '--json-schema "a.json": #: no'],
  ['needs 7. Raise maxTokens, or', 'needs 7. Raise --max-tokens, or'],
  ['logitBias: 99 is not a token', '--logit-bias: 99 is not a token'],
])('%j is told as %j', (message, told) => {
  expect(withFlags(message)).toBe(told);
});

test.each([
  'x: #/properties/maxTokens: no',
  'the tools (f, "toolChoice") are',
  'maxTokensOfAll is what a schema calls something',
  'tools are functions',
])('%j names no option', (message) => {
  expect(withFlags(message)).toBe(message);
});
