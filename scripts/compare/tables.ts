import { markdownTable } from '../../src/cli/table.ts';
import { formatRate } from '../../src/cli/units.ts';
import type { ModelReport } from './compare-model.ts';
import type { ProductsReport } from './compare-products.ts';
import { type Clock, timeOn } from './measure.ts';

/** Milliseconds per product, and how many times as long as ours each of the others takes. */
export function productsTable({ results }: ProductsReport, clock: Clock): string {
  const ours = [...new Set(results.filter(({ isOurs }) => isOurs).map(({ side }) => side))];
  const rows = results.map((result) => {
    const { shape, side, ms, cpuMs, gigaflops, error } = result;
    return [
      shape,
      side,
      ms.toPrecision(3),
      cpuMs.toPrecision(3),
      gigaflops.toFixed(1),
      error.toExponential(1),
      ...ours.map((name) => {
        const own = results.find((other) => other.shape === shape && other.side === name)!;
        return own === result ? '' : ratio(timeOn(clock, result) / timeOn(clock, own));
      }),
    ];
  });
  const time = clock === 'cpu' ? 'CPU' : 'time';
  const header = ['Q4 product', 'side', 'ms', 'CPU ms', 'GFLOP/s', 'error'];
  return markdownTable(
    [...header, ...ours.map((name) => `${time} / ${name}`)],
    rows,
    alignment(2, header.length + ours.length),
  );
}

/** Tokens per second, and how many times those of each of the others ours are. */
export function modelTable({ results }: ModelReport, clock: Clock): string {
  const ours = results.filter(({ isOurs }) => isOurs);
  const rows = results.map((result) => {
    const { side, promptTokens, decodedTokens, prompt, decode, agreement } = result;
    return [
      side,
      `${formatRate(1000 / prompt.ms)} (pp${promptTokens})`,
      prompt.cpuMs.toPrecision(3),
      `${formatRate(1000 / decode.ms)} (tg${decodedTokens})`,
      decode.cpuMs.toPrecision(3),
      ...ours.flatMap((own) =>
        own === result
          ? ['', '']
          : [
              ratio(timeOn(clock, prompt) / timeOn(clock, own.prompt)),
              ratio(timeOn(clock, decode) / timeOn(clock, own.decode)),
            ],
      ),
      `${agreement.same} of ${agreement.tokens}`,
      agreement.meanKl.toPrecision(2),
    ];
  });
  const header = [
    'side',
    'prompt tok/s',
    'CPU ms/tok',
    'decode tok/s',
    'CPU ms/tok',
    ...ours.flatMap(({ side }) => [
      `${side} / it${clock === 'cpu' ? ', CPU' : ''}: prompt`,
      'decode',
    ]),
    'same tokens',
    'KL',
  ];
  return markdownTable(header, rows, alignment(1, header.length));
}

function ratio(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}

function alignment(left: number, columns: number): ('left' | 'right')[] {
  return Array.from({ length: columns }, (_, i) => (i < left ? 'left' : 'right'));
}
