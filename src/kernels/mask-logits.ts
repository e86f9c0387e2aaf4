import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';

const workgroup = 256;

/** Words of a mask over `n` tokens, one bit each. */
export function maskWords(n: number): number {
  return Math.ceil(n / 32);
}

/**
 * Sets the logits of tokens that `allowed` has no bit for to -Infinity, in place: `logits` [n] f32,
 * `allowed` [maskWords(n)] u32; see `shaders/mask_logits.wgsl`.
 */
export function maskLogits(
  rec: Recorder,
  args: { logits: BufferSlice; allowed: BufferSlice; n: number },
): void {
  rec.dispatch(
    rec.gpu.pipelines.get('mask_logits', { WORKGROUP: workgroup }),
    [args.n],
    [args.logits, args.allowed],
    Math.ceil(args.n / workgroup),
  );
}
