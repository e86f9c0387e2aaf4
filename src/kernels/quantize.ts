import type { Recorder } from '../gpu/recorder.ts';
import { q8Blocks, type Rows } from './matrix.ts';

/** Workgroups along one axis of a dispatch, on every device: 65535. */
const widest = 32768;

/**
 * Brings the int8 image of the first `rows` rows of x up to date, where it has one; see
 * `shaders/quantize.wgsl`. For kernels that write rows which a product may read, and do not store the
 * image themselves.
 */
export function quantize(rec: Recorder, x: Rows, rows: number): void {
  if (!x.q8) return;
  const blocks = q8Blocks(x.stride);
  // One token has few blocks: on a software GPU, in workgroups small enough to occupy every core.
  const workgroup = rec.gpu.capabilities.software ? 16 : 64;
  const workgroups = Math.ceil((rows * blocks) / workgroup);
  const wide = Math.min(workgroups, widest);
  rec.dispatch(
    rec.gpu.pipelines.get('quantize', { WORKGROUP: workgroup }),
    [rows * blocks, blocks, x.stride / 4, wide * workgroup],
    [x.slice, x.q8],
    wide,
    Math.ceil(workgroups / widest),
  );
}
