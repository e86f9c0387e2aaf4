import { label, px, svgDocument } from './svg.ts';

/** Pixels that the cells are to fill, and how small and large one may be. */
const wanted = { width: 480, height: 240, least: 6, most: 24 };
const margin = { left: 46, top: 44, right: 16, bottom: 76 };

/** Shades of the scale; cells of one shade are one path, which keeps the picture small. */
const shades = 64;

/** Viridis at equal distances, as (red, green, blue): even steps for the eye, in print and colour-blind too. */
const viridis: readonly (readonly [number, number, number])[] = [
  [68, 1, 84],
  [70, 50, 127],
  [54, 92, 141],
  [39, 127, 142],
  [31, 161, 135],
  [74, 194, 109],
  [159, 218, 58],
  [253, 231, 37],
];

export interface HeatmapOptions {
  /** What the counts were taken from. */
  title?: string;
}

/**
 * A picture of how often each expert was used: a row per layer, a column per expert, and a scale in
 * multiples of the use that each would have if the router treated all alike.
 *
 * @param counts per layer the uses of each expert; empty for a layer without experts
 */
export function expertHeatmap(
  counts: readonly ArrayLike<number>[],
  { title = 'Use of experts' }: HeatmapOptions = {},
): string {
  const experts = counts.reduce((most, { length }) => Math.max(most, length), 0);
  const relative = counts.map(relativeToEven);
  const most = Math.max(1, ...relative.map((row) => row.reduce((a, b) => Math.max(a, b), 0)));
  const cell = {
    width: cellSize(wanted.width, experts),
    height: cellSize(wanted.height, counts.length),
  };
  const paths = new Array<string>(shades).fill('');
  for (const [layer, row] of relative.entries()) {
    for (const [expert, use] of row.entries()) {
      const shade = Math.min(shades - 1, Math.floor((use / most) * shades));
      const { width, height } = cell;
      paths[shade] += `M${expert * width} ${layer * height}h${width}v${height}h-${width}z`;
    }
  }
  const plotWidth = Math.max(experts * cell.width, 200);
  const plotHeight = counts.length * cell.height;
  const cells = paths
    .map((path, shade) => path && `<path fill="${color(shade)}" d="${path}"/>\n`)
    .join('');
  const content = [
    label(margin.left, 18, title, { kind: 'title' }),
    label(margin.left, 34, `${counts.length} layers (down), ${experts} experts (across)`),
    `<g transform="translate(${margin.left} ${margin.top})" shape-rendering="crispEdges">\n${cells}</g>\n`,
    layerLabels(counts.length, cell.height),
    expertLabels(experts, cell.width, margin.top + plotHeight),
    scale(most, plotWidth, margin.top + plotHeight + 32),
  ];
  return svgDocument(
    margin.left + plotWidth + margin.right,
    margin.top + plotHeight + margin.bottom,
    title,
    content.join(''),
  );
}

/** Uses as multiples of the layer's mean. */
function relativeToEven(counts: ArrayLike<number>): number[] {
  const uses = Array.from(counts);
  const sum = uses.reduce((a, b) => a + b, 0);
  return uses.map((use) => (sum === 0 ? 0 : (use * uses.length) / sum));
}

function color(shade: number): string {
  const at = (shade / (shades - 1)) * (viridis.length - 1);
  const below = Math.min(viridis.length - 2, Math.floor(at));
  const mix = (channel: 0 | 1 | 2) => {
    const from = viridis[below]![channel];
    return Math.round(from + (viridis[below + 1]![channel] - from) * (at - below));
  };
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

function cellSize(pixels: number, cells: number): number {
  return Math.min(wanted.most, Math.max(wanted.least, Math.floor(pixels / Math.max(1, cells))));
}

function layerLabels(layers: number, height: number): string {
  return labelled(layers, 14 / height, (layer) =>
    label(margin.left - 6, margin.top + (layer + 0.5) * height + 4, String(layer), {
      anchor: 'end',
    }),
  );
}

function expertLabels(experts: number, width: number, y: number): string {
  return labelled(experts, 30 / width, (expert) =>
    label(margin.left + (expert + 0.5) * width, y + 14, String(expert), { anchor: 'middle' }),
  );
}

/** One label in 1, 2, 4 ..., at least `distance` apart. */
function labelled(count: number, distance: number, draw: (index: number) => string): string {
  let every = 1;
  while (every < distance) every *= 2;
  let labels = '';
  for (let index = 0; index < count; index += every) labels += draw(index);
  return labels;
}

function scale(most: number, plotWidth: number, y: number): string {
  const width = Math.min(plotWidth, 256) / shades;
  let bar = '';
  for (let shade = 0; shade < shades; shade++) {
    const x = margin.left + shade * width;
    // A little wider than its place, so that no gap shows between neighbours.
    bar += `<rect x="${px(x)}" y="${y}" width="${px(width + 0.5)}" height="8" fill="${color(shade)}"/>\n`;
  }
  const end = margin.left + shades * width;
  return [
    bar,
    label(margin.left, y + 22, '0'),
    label(end, y + 22, `${most.toFixed(1)} x the mean`, { anchor: 'end' }),
  ].join('');
}
