/** Reports on stderr how far writing is, five times a second; to be told the bytes of each piece. */
export function progress(totalBytes: number): (bytes: number) => void {
  const began = performance.now();
  let doneBytes = 0;
  let shown = 0;
  return (bytes) => {
    doneBytes += bytes;
    const now = performance.now();
    if (now - shown < 200 && doneBytes < totalBytes) return;
    shown = now;
    const rate = doneBytes / 1e6 / ((now - began) / 1e3);
    const percent = ((100 * doneBytes) / totalBytes).toFixed(1);
    process.stderr.write(`\r${percent} % of ${gigabytes(totalBytes)}, ${rate.toFixed(0)} MB/s   `);
  };
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
}
