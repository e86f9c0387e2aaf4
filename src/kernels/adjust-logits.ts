import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';

const workgroup = 64;

/** Bytes of one entry of `adjustLogits`: id (u32), repetition (f32), add (f32), unused. */
export const adjustmentBytes = 16;

/** Applies penalties and biases to `n` distinct tokens, in place; see `shaders/adjust_logits.wgsl`. */
export function adjustLogits(
  rec: Recorder,
  args: { logits: BufferSlice; entries: BufferSlice; n: number },
): void {
  rec.dispatch(
    rec.gpu.pipelines.get('adjust_logits', { WORKGROUP: workgroup }),
    [args.n],
    [args.logits, args.entries],
    Math.ceil(args.n / workgroup),
  );
}
