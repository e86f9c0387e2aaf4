import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Endpoint } from './remote-model.ts';

export const usage = `usage: agent.ts --folder DIR [options] "TASK"
  --folder DIR            the folder to work in; nothing outside of it is read or written
  --test-command "CMD"    what run_tests runs there: words with spaces between them, without a shell
                          (default: there is no run_tests)
  --yes                   write files without asking
  --max-steps N           answers of the model at most (default: 10)
  --max-tokens N          tokens that it generates at most, in all (default: 20000)
  --max-seconds N         how long it works at most (default: 600)
  --temperature T         how varied answers are; 0 is the likeliest token each time (default: 0)

with a model of this library:
  --model PATH            a Hugging Face folder or a GGUF file (default: models/tiny-coder)
  --context N             tokens that the conversation may have (default: the library's)

with a model behind an OpenAI-compatible endpoint:
  --base-url URL          such as http://localhost:8080/v1
  --model-name NAME       the model's name there
  --api-key KEY           (default: the environment variable OPENAI_API_KEY)

exit status: 0 done, 1 failed or stopped by a limit, 2 wrong usage, 130 stopped by Ctrl-C
`;

/** What is wrong with the command line; empty when only help was asked for. */
export class UsageError extends Error {}

/** Reads the command line. @throws UsageError */
export function readOptions(args: string[]) {
  const { values, positionals } = parse(args);
  if (values.help) throw new UsageError();
  const [task, ...more] = positionals;
  if (!task || more.length > 0) throw new UsageError('give one task, in quotes');
  if (!values.folder) throw new UsageError('--folder is missing');
  const number = (name: 'steps' | 'tokens' | 'seconds', fallback: number) =>
    toInteger(`--max-${name}`, values[`max-${name}`]) ?? fallback;
  return {
    task,
    folder: values.folder,
    testCommand: values['test-command']?.trim().split(/\s+/),
    yes: values.yes ?? false,
    limits: { steps: number('steps', 10), tokens: number('tokens', 20_000) },
    seconds: number('seconds', 600),
    temperature: toTemperature(values.temperature) ?? 0,
    model: values.model ?? tinyCoder,
    context: toInteger('--context', values.context),
    endpoint: toEndpoint(values),
  };
}

const tinyCoder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));

function parse(args: string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        folder: text,
        'test-command': text,
        yes: { type: 'boolean' },
        'max-steps': text,
        'max-tokens': text,
        'max-seconds': text,
        temperature: text,
        model: text,
        context: text,
        'base-url': text,
        'model-name': text,
        'api-key': text,
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Timers count no more seconds than about that. */
const most = 2_000_000;

function toInteger(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= most) return Number(value);
  throw new UsageError(`${name} must be a whole number from 1 to ${most}, not '${value}'`);
}

function toTemperature(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d*\.?\d+$/.test(value)) return Number(value);
  throw new UsageError(`--temperature must be a number of at least 0, not '${value}'`);
}

function toEndpoint(values: ReturnType<typeof parse>['values']): Endpoint | undefined {
  const { 'base-url': baseUrl, 'model-name': model, 'api-key': apiKey } = values;
  if (baseUrl === undefined) return undefined;
  if (model === undefined) throw new UsageError('--base-url needs a --model-name');
  return { baseUrl, model, apiKey: apiKey ?? process.env.OPENAI_API_KEY };
}
