/** Pixels of a character of the 11-pixel labels, about. */
export const characterWidth = 6.2;

/** A number as SVG wants it: short. */
export const px = (value: number) => String(Math.round(value * 100) / 100);

export function escapeXml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return (
    text
      .replace(/[&<>"]/g, (character) => entities[character]!)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: XML has no way to write them
      .replace(/[\0-\x08\x0b\x0c\x0e-\x1f]/g, '\ufffd')
  );
}

/** A label; `anchor` says which of its ends is at x. */
export function label(
  x: number,
  y: number,
  text: string,
  { anchor = 'start', kind = '' }: { anchor?: 'start' | 'middle' | 'end'; kind?: string } = {},
): string {
  const style = kind && ` class="${kind}"`;
  return `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}"${style}>${escapeXml(text)}</text>\n`;
}

/** A whole picture, without a background and with colours that read on light and on dark pages. */
export function svgDocument(width: number, height: number, title: string, content: string): string {
  const size = `width="${px(width)}" height="${px(height)}" viewBox="0 0 ${px(width)} ${px(height)}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>${escapeXml(title)}</title>
<style>
text { font: 11px system-ui, sans-serif; fill: #444 }
.title { font-size: 13px; font-weight: 600 }
.axis { stroke: #888; fill: none }
.grid { stroke: #888; stroke-opacity: 0.25; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>
${content}</svg>
`;
}
