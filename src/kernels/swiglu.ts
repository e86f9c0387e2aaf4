import type { Recorder } from '../gpu/recorder.ts';
import type { Rows } from './matrix.ts';
import { quantize } from './quantize.ts';

const workgroup = 64;

/** out[m, i] = silu(gateUp[m, i]) * gateUp[m, n + i] for i < n; see `shaders/swiglu.wgsl`. */
export function swiglu(
  rec: Recorder,
  args: { gateUp: Rows; out: Rows; n: number; rows: number },
): void {
  const { gateUp, out, n, rows } = args;
  rec.dispatch(
    rec.gpu.pipelines.get('swiglu', { WORKGROUP: workgroup }),
    [n, gateUp.stride, out.stride],
    [gateUp.slice, out.slice],
    Math.ceil(out.stride / workgroup),
    rows,
  );
  quantize(rec, out, rows);
}
