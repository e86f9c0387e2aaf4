import type { BufferSlice } from '../gpu/buffer.ts';
import { f32, type Recorder } from '../gpu/recorder.ts';
import { fewRowsVariant, type LanesVariant, lanesLayout, lanesWorkgroups } from './lanes.ts';
import type { Rows } from './matrix.ts';

/** What is added to the residual stream before it is normalised. */
export type Addend =
  | { readonly rows: Rows }
  /** The chosen experts' outputs [rows * slots, stride], weighted by `scale` [rows, slots]. */
  | { readonly rows: Rows; readonly scale: BufferSlice; readonly slots: number };

/**
 * RMSNorm of rows [first, first + rows) of x into rows [0, rows) of out, after x += addend; see
 * `shaders/rmsnorm.wgsl`. Where out has an int8 image, it is stored too. `n` counts the columns in use,
 * `gain` holds `stride` values.
 */
export function rmsNorm(
  rec: Recorder,
  args: {
    x: Rows;
    gain: BufferSlice;
    out: Rows;
    n: number;
    rows: number;
    first?: number;
    eps: number;
    addend?: Addend | undefined;
    variant?: LanesVariant;
  },
): void {
  const { x, gain, out, n, rows, first = 0, eps, addend } = args;
  const variant = args.variant ?? fewRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  const storage = [gain, x.slice, out.slice];
  let add = 0;
  let slots = 0;
  if (addend) {
    add = 1;
    storage.push(addend.rows.slice);
    if ('scale' in addend) {
      add = 2;
      slots = addend.slots;
      storage.push(addend.scale);
    }
  }
  if (out.q8) storage.push(out.q8);
  rec.dispatch(
    rec.gpu.pipelines.get('rmsnorm', { ...defines, ADD: add, Q8: out.q8 !== undefined }),
    [rows, first, n, x.stride / 4, slots, f32(eps)],
    storage,
    lanesWorkgroups(rows, groupsPerWorkgroup),
  );
}
