import { describe, expect, it } from 'vitest';
import type { Simulation } from '../experts/simulate.ts';
import { expertHeatmap } from './expert-heatmap.ts';
import { hitRatePlot } from './hit-rate-plot.ts';
import { escapeXml } from './svg.ts';

/** Fails unless the tags of an XML text are nested properly and no number in it is NaN. */
function expectWellFormed(xml: string): void {
  const open: string[] = [];
  for (const [, close, name, empty] of xml.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (close) expect(open.pop()).toBe(name);
    else if (!empty) open.push(name!);
  }
  expect(open).toEqual([]);
  expect(xml.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]|&(?!amp;|lt;|gt;|quot;)/);
  expect(xml).not.toMatch(/NaN|Infinity|undefined/);
}

/** Fill of each cell, by its row and column. */
function cells(svg: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, fill, d] of svg.matchAll(/<path fill="(rgb[^"]*)" d="([^"]*)"/g)) {
    for (const [, x, y, width, height] of d!.matchAll(/M(\d+) (\d+)h(\d+)v(\d+)/g)) {
      found.set(`${Number(y) / Number(height)} ${Number(x) / Number(width)}`, fill!);
    }
  }
  return found;
}

describe('expertHeatmap', () => {
  it('draws a cell for each expert, the darkest for none and the brightest for the most used', () => {
    const svg = expertHeatmap([[0, 5, 5, 10], [], [0, 0, 8, 0]], { title: 'a <b> & "c"' });
    expectWellFormed(svg);
    expect(svg).toContain('a &lt;b&gt; &amp; &quot;c&quot;');
    expect(svg).toContain('4.0 x the mean');
    const fills = cells(svg);
    expect(fills.size).toBe(8);
    expect(fills.get('2 2')).toBe('rgb(253,231,37)');
    for (const unused of ['0 0', '2 0', '2 1', '2 3']) {
      expect(fills.get(unused)).toBe('rgb(68,1,84)');
    }
    expect(fills.get('0 1')).toBe(fills.get('0 2'));
    expect(fills.get('0 3')).not.toBe(fills.get('0 1'));
  });

  it('compares an expert with its layer, however many tokens that saw', () => {
    const fills = cells(expertHeatmap([Uint32Array.of(1, 3), Uint32Array.of(100, 300)]));
    expect(fills.get('0 0')).toBe(fills.get('1 0'));
    expect(fills.get('0 1')).toBe(fills.get('1 1'));
  });

  it('draws what was never used, what has no layers, and the largest models', () => {
    expectWellFormed(expertHeatmap([[0, 0]]));
    expectWellFormed(expertHeatmap([]));
    const layers = Array.from({ length: 62 }, (_, layer) =>
      Uint32Array.from({ length: 160 }, (_, expert) => layer * expert),
    );
    const svg = expertHeatmap(layers);
    expect(cells(svg).size).toBe(62 * 160);
    expect(svg.length).toBeLessThan(300_000);
  });
});

describe('hitRatePlot', () => {
  const simulation = (slots: readonly number[], policies: readonly string[]): Simulation => ({
    experts: 100,
    usedExperts: 90,
    decodedTokens: 10,
    promptTokens: 0,
    caches: slots.flatMap((count) =>
      policies.map((policy) => ({
        policy: policy as 'lru',
        slots: count,
        decode: { needed: 80, hits: Math.min(80, count), cold: 3 },
        prompt: { needed: 0, hits: 0, cold: 0 },
      })),
    ),
    predictions: [],
  });

  it('draws a line per policy and panel, higher where more was hit', () => {
    const svg = hitRatePlot([
      { title: 'one & two', simulation: simulation([5, 40, 20], ['optimal', 'lru', 'cyclic']) },
      { title: 'three', simulation: simulation([10], ['optimal', 'lru']) },
    ]);
    expectWellFormed(svg);
    expect(svg).toContain('one &amp; two');
    const dots = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
      Number(x),
      Number(y),
    ]);
    expect(dots).toHaveLength(3 * 3 + 2);
    const [first, second, third] = dots as [number, number][];
    expect(first![0]).toBeLessThan(second![0]);
    expect(second![0]).toBeLessThan(third![0]);
    expect(first![1]).toBeGreaterThan(second![1]);
    expect(second![1]).toBeGreaterThan(third![1]);
  });

  it('draws caches larger than the model, and nothing decoded', () => {
    const { caches, ...rest } = simulation([1000], ['lru']);
    const idle = caches.map((cache) => ({ ...cache, decode: cache.prompt }));
    expectWellFormed(hitRatePlot([{ title: '', simulation: { ...rest, caches: idle } }]));
    expectWellFormed(hitRatePlot([{ title: '', simulation: simulation([], []) }]));
  });
});

describe('escapeXml', () => {
  it('leaves nothing that XML forbids', () => {
    expect(escapeXml('<a href="x">&\0\x1b\t')).toBe('&lt;a href=&quot;x&quot;&gt;&amp;��\t');
  });
});
