// Products of a weight matrix with few vectors, f32 accumulation.
//   MODE 0, linear:   y[t, n]  = sum over k of W[n, k] x[t, k]
//   MODE 1, gate-up:  y[q, n]  = silu(G[n] . x[q / top_k]) * (U[n] . x[q / top_k])      (SwiGLU)
//   MODE 2, down:     y[q, n]  = D[n] . x[q]
// In modes 1 and 2, q counts (token, slot) pairs; the matrices are those of expert ids[q], found in
// its slot of the bound slab. Pairs whose expert is not in this slab are left alone.
//   W [rows, k] any number format; x [.., 8 * groups] f32, zeros past k; y [.., y_stride] f32
// A group of lanes computes ROWS outputs for TOKENS vectors: loads of x serve ROWS rows, loads of W
// serve TOKENS vectors. Lanes split k.
#include "quant/{FORMAT}"
#include "lanes"

struct Params {
  rows: u32,
  groups: u32, // of eight columns
  tokens: u32, // or pairs
  y_stride: u32,
  first: u32, // of this part's outputs within a row of y
  top_k: u32,
  table: u32, // index of expert 0 of this layer in slots
  first_slot: u32,
  slots: u32,
  slot_groups: u32, // from one slot to the next, in groups of eight weights
  matrix_groups: u32, // from the slot's start to the matrix
  up_groups: u32, // MODE 1: from gate to up
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if MODE > 0
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read> slot_of: array<u32>;
#endif

fn silu(v: f32) -> f32 {
  return v / (1.0 + exp(-v));
}

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  let n0 = group * ROWS;
  if (n0 >= p.rows) {
    return;
  }
  let last = p.rows - 1u;
#if MODE == 0
  let token = workgroup.y * TOKENS;
  let base = 0u;
  #for t in 0..TOKENS
  let x$t = min(token + $tu, p.tokens - 1u) * p.groups * 2u;
  #endfor
#else
  let token = workgroup.y;
  let slot = slot_of[p.table + ids[token]] - p.first_slot; // wraps around for earlier slots
  if (slot >= p.slots) {
    return;
  }
  let base = slot * p.slot_groups + p.matrix_groups;
  let x0 = select(token, token / p.top_k, MODE == 1u) * p.groups * 2u;
#endif
  #for r in 0..ROWS
  let w$r = base + min(n0 + $ru, last) * p.groups;
    #for t in 0..TOKENS
  var sum$r_$t = 0.0;
    #endfor
#if MODE == 1
  var up$r = 0.0;
#endif
  #endfor
  for (var k = lane; k < p.groups; k += lanes) {
    #for t in 0..TOKENS
    let xa$t = x[x$t + 2u * k];
    let xb$t = x[x$t + 2u * k + 1u];
    #endfor
    #for r in 0..ROWS
    {
      let w = weights8(w$r + k);
      #for t in 0..TOKENS
      sum$r_$t += dot(w.a, xa$t) + dot(w.b, xb$t);
      #endfor
#if MODE == 1
      let u = weights8(w$r + p.up_groups + k);
      up$r += dot(u.a, xa0) + dot(u.b, xb0);
#endif
    }
    #endfor
  }
  var sums: array<f32, SUMS>;
  #for r in 0..ROWS
    #for t in 0..TOKENS
  sums[$(r * TOKENS + t)] = sum$r_$t;
    #endfor
#if MODE == 1
  sums[$(ROWS + r)] = up$r;
#endif
  #endfor
  sums = reduce_sums(sums, lane);
  #for r in 0..ROWS
    #for t in 0..TOKENS
  if (lane == 0u && n0 + $ru < p.rows && token + $tu < p.tokens) {
#if MODE == 1
    let value = silu(sums[$r]) * sums[$(ROWS + r)];
#else
    let value = sums[$(r * TOKENS + t)];
#endif
    y[(token + $tu) * p.y_stride + p.first + n0 + $ru] = value;
  }
    #endfor
  #endfor
}
