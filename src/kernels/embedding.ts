import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { decoder, type Matrix, padded, paddedFor, type Rows } from './matrix.ts';

const workgroup = 64;

/** out[t] = table[ids[t]] for t < tokens; see `shaders/embedding.wgsl`. */
export function embedding(
  rec: Recorder,
  args: { table: Matrix; ids: BufferSlice; out: Rows; tokens: number },
): void {
  const { table, ids, out, tokens } = args;
  const { defines, storage } = decoder(rec.gpu, table.type, 3);
  const pipeline = rec.gpu.pipelines.get('embedding', { ...defines, WORKGROUP: workgroup });
  const octets = padded(table.columns) / 8;
  for (const part of table.parts) {
    rec.dispatch(
      pipeline,
      [octets, paddedFor(table.type, table.columns) / 8, out.stride / 4, part.firstRow, part.rows],
      [part.slice, ids, out.slice, ...storage],
      Math.ceil(octets / workgroup),
      tokens,
    );
  }
}
