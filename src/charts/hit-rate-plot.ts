import type { CacheResult, Simulation } from '../experts/simulate.ts';
import { characterWidth, escapeXml, label, px, svgDocument } from './svg.ts';

/** A trace's simulation, and what to call it. */
export interface PlottedSimulation {
  readonly title: string;
  readonly simulation: Simulation;
}

const plot = { width: 420, height: 260 };
const margin = { left: 48, top: 44, right: 20, bottom: 46 };
const legendRow = 18;
const rateTicks = [0, 0.25, 0.5, 0.75, 1];
const tickSteps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/** Okabe and Ito's colours, which the colour-blind tell apart, in shades that show on white and black. */
const colors = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6bb1'];
const dashes = ['', '6 3', '2 3', '8 3 2 3'];

/**
 * Hit rates while decoding against the share of experts that the cache holds: a panel per trace, a line
 * per policy, and Belady's optimum above them.
 */
export function hitRatePlot(panels: readonly PlottedSimulation[]): string {
  const columns = Math.min(2, panels.length);
  const panelWidth = margin.left + plot.width + margin.right;
  const panelHeight = margin.top + plot.height + margin.bottom;
  const names = [...new Set(panels.flatMap(({ simulation }) => policiesOf(simulation)))];
  const rows = Math.ceil(panels.length / columns);
  const drawn = panels.map((panel, i) => {
    const x = (i % columns) * panelWidth;
    const y = Math.floor(i / columns) * panelHeight;
    return `<g transform="translate(${x} ${y})">\n${drawPanel(panel, names)}</g>\n`;
  });
  const width = columns * panelWidth;
  const { svg, height } = legend(names, width, rows * panelHeight + 6);
  return svgDocument(
    width,
    rows * panelHeight + height,
    'Hit rate of cache policies',
    drawn.join('') + svg,
  );
}

const policiesOf = ({ caches }: Simulation) => caches.map(({ policy }) => policy);

function drawPanel({ title, simulation }: PlottedSimulation, names: readonly string[]): string {
  const { caches, experts } = simulation;
  const shareOf = ({ slots }: CacheResult) => Math.min(1, slots / experts);
  const largest = Math.max(0.01, ...caches.map(shareOf));
  const x = (share: number) => margin.left + (share / largest) * plot.width;
  const y = (rate: number) => margin.top + (1 - rate) * plot.height;
  const lines = names.map((name) => {
    const points = caches
      .filter(({ policy }) => policy === name)
      .sort((a, b) => a.slots - b.slots)
      .map((cache) => [x(shareOf(cache)), y(decodeRate(cache))] as const);
    return line(points, name, names);
  });
  const step = tickSteps.find((size) => largest / size <= 6) ?? 0.2;
  const shareTicks = Array.from(
    { length: Math.floor(largest / step + 1e-9) + 1 },
    (_, i) => i * step,
  );
  return [
    label(margin.left, 18, title, { kind: 'title' }),
    label(margin.left, 34, 'Hits while decoding, % of the experts needed'),
    ...rateTicks.map((rate) => horizontal(y(rate)) + tickLabel(margin.left - 6, y(rate) + 4, rate)),
    ...shareTicks.map((share) => label(x(share), y(0) + 16, percent(share), { anchor: 'middle' })),
    label(margin.left + plot.width / 2, y(0) + 34, `Experts in the cache, % of ${experts}`, {
      anchor: 'middle',
    }),
    `<path class="axis" d="M${margin.left} ${margin.top}V${px(y(0))}H${margin.left + plot.width}"/>\n`,
    ...lines,
  ].join('');
}

const decodeRate = ({ decode }: CacheResult) =>
  decode.needed === 0 ? 0 : decode.hits / decode.needed;

const percent = (share: number) => `${Number((100 * share).toFixed(1))}`;

const horizontal = (y: number) =>
  `<path class="grid" d="M${margin.left} ${px(y)}h${plot.width}"/>\n`;

const tickLabel = (x: number, y: number, rate: number) =>
  label(x, y, percent(rate), { anchor: 'end' });

function line(
  points: readonly (readonly [number, number])[],
  name: string,
  names: readonly string[],
): string {
  if (points.length === 0) return '';
  const { color, dash } = look(name, names);
  const path = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${px(x)} ${px(y)}`).join('');
  const dots = points
    .map(([x, y]) => `<circle cx="${px(x)}" cy="${px(y)}" r="3" fill="${color}"/>`)
    .join('');
  return `<g><title>${escapeXml(name)}</title><path d="${path}" fill="none" stroke="${color}" stroke-width="1.8"${dash}/>${dots}</g>\n`;
}

/** Of each policy its own; the optimum is gray, for it is no choice. */
function look(name: string, names: readonly string[]): { color: string; dash: string } {
  if (name === 'optimal') return { color: '#888', dash: ' stroke-dasharray="3 3"' };
  const index = names.filter((other) => other !== 'optimal').indexOf(name);
  const dash = dashes[Math.floor(index / colors.length) % dashes.length]!;
  return { color: colors[index % colors.length]!, dash: dash && ` stroke-dasharray="${dash}"` };
}

function legend(
  names: readonly string[],
  width: number,
  top: number,
): { svg: string; height: number } {
  let x = margin.left;
  let row = 0;
  let svg = '';
  for (const name of names) {
    const entry = 30 + characterWidth * name.length + 18;
    if (x + entry > width && x > margin.left) {
      x = margin.left;
      row++;
    }
    const y = top + row * legendRow;
    const { color, dash } = look(name, names);
    svg += `<path d="M${px(x)} ${px(y)}h22" stroke="${color}" stroke-width="1.8"${dash}/>\n`;
    svg += label(x + 28, y + 4, name);
    x += entry;
  }
  return { svg, height: (row + 1) * legendRow + 10 };
}
