// The matrices and bindings of matvec.wgsl and matvec_broadcast.wgsl.
//   MODE 0, linear:   y[t, n]  = sum over k of W[n, k] x[t, k]
//   MODE 1, gate-up:  y[q, n]  = silu(G[n] . x[q / top_k]) * (U[n] . x[q / top_k])      (SwiGLU)
//   MODE 2, product:  y[q, n]  = W[n] . x[q / top_k]; with top_k = 1, the down product
// In modes 1 and 2, q counts (token, slot) pairs; the matrices are those of expert ids[q], found in
// its slot of the bound slab. Pairs whose expert is not in this slab are left alone.
//   W [rows, k] any number format; x [.., 8 * octets] f32, zeros past k, or [.., blocks of 32] in int8;
//   y [.., y_stride] f32
struct Params {
  rows: u32,
  octets: u32, // of columns
  tokens: u32, // or pairs
  x_stride: u32, // in octets or blocks
  y_stride: u32,
  first: u32, // of these outputs within a row of y
  row_bytes: u32, // of weights
  nothing: u32, // 0; see touch.wgsl
  top_k: u32,
  table: u32, // index of expert 0 of this layer in slots
  first_slot: u32,
  slots: u32,
  slot_stride: u32, // from one slot to the next, in 16 bytes
  matrix_start: u32, // from the slot's start to the matrix, in 16 bytes
  up_start: u32, // MODE 1: from the slot's start to the up matrix
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if MODE > 0
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read> slot_of: array<u32>;
#endif

fn silu(v: f32) -> f32 {
  return v / (1.0 + exp(-v));
}
