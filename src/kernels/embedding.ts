import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { formatDefines, type Matrix, padded, type Rows } from './matrix.ts';

const workgroup = 64;

/** out[t] = table[ids[t]] for t < tokens; see `shaders/embedding.wgsl`. */
export function embedding(
  rec: Recorder,
  args: { table: Matrix; ids: BufferSlice; out: Rows; tokens: number },
): void {
  const { table, ids, out, tokens } = args;
  const pipeline = rec.gpu.pipelines.get('embedding', {
    ...formatDefines(table.type, rec.gpu.capabilities.f16),
    WORKGROUP: workgroup,
  });
  const groups = padded(table.columns) / 8;
  for (const part of table.parts) {
    rec.dispatch(
      pipeline,
      [groups, out.stride / 4, part.firstRow, part.rows],
      [part.slice, ids, out.slice],
      Math.ceil(groups / workgroup),
      tokens,
    );
  }
}
