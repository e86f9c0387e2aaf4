import type { SamplingOptions, StopOptions } from '../../node.ts';
import { usageError } from '../options.ts';
import { maxTokens, seed, temperature } from '../sampling.ts';

export type Settings = SamplingOptions & StopOptions;

/** What /set sets: its name, the option, how its value is read. */
const settable = [
  { name: 'temperature', option: 'temperature', read: temperature('temperature') },
  { name: 'seed', option: 'seed', read: seed('seed') },
  { name: 'max-tokens', option: 'maxTokens', read: maxTokens('max-tokens') },
] as const;

/**
 * The settings after `/set name value`.
 * @throws MowgliError `OPTION_INVALID`
 */
export function changeSetting(settings: Settings, argument: string): Settings {
  const [name, value, ...more] = argument.split(/\s+/);
  const setting = settable.find((known) => known.name === name);
  if (!setting || value === undefined || more.length > 0) {
    const names = settable.map((known) => known.name).join(', ');
    throw usageError(`/set needs one of ${names} and a value, as in /set temperature 0.7`);
  }
  const { [setting.option]: _, ...others } = settings;
  return value === 'default' ? others : { ...others, [setting.option]: setting.read(value) };
}

/** What /set shows. */
export function describeSettings(settings: Settings): string {
  return settable
    .map(({ name, option }) => `${name.padEnd(11)}  ${settings[option] ?? 'default'}`)
    .join('\n');
}
