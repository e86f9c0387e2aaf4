// Products of a weight matrix with few vectors, f32 accumulation.
//   MODE 0, linear:   y[t, n]  = sum over k of W[n, k] x[t, k]
//   MODE 1, gate-up:  y[q, n]  = silu(G[n] . x[q / top_k]) * (U[n] . x[q / top_k])      (SwiGLU)
//   MODE 2, product:  y[q, n]  = W[n] . x[q / top_k]; with top_k = 1, the down product
// In modes 1 and 2, q counts (token, slot) pairs; the matrices are those of expert ids[q], found in
// its slot of the bound slab. Pairs whose expert is not in this slab are left alone.
//   W [rows, k] any number format; x [.., 8 * octets] f32, zeros past k; y [.., y_stride] f32
// A group of lanes computes ROWS outputs for TOKENS vectors: loads of x serve ROWS rows, loads of W
// serve TOKENS vectors. Lanes split k.
#include "quant/{FORMAT}"
#include "lanes"

struct Params {
  rows: u32,
  octets: u32, // of columns
  tokens: u32, // or pairs
  x_stride4: u32, // in vec4
  y_stride: u32,
  first: u32, // of these outputs within a row of y
  top_k: u32,
  table: u32, // index of expert 0 of this layer in slots
  first_slot: u32,
  slots: u32,
  slot_stride: u32, // from one slot to the next, in 16 bytes
  matrix_start: u32, // from the slot's start to the matrix, in 16 bytes
  up_start: u32, // MODE 1: from the slot's start to the up matrix
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
  let units = p.octets / OCTETS; // of a row
#if MODE == 0
  let token = workgroup.y * TOKENS;
  let base = 0u;
  #for t in 0..TOKENS
  let x$t = min(token + $tu, p.tokens - 1u) * p.x_stride4;
  #endfor
#else
  let token = workgroup.y;
  let slot = slot_of[p.table + ids[token]] - p.first_slot; // wraps around for earlier slots
  if (slot >= p.slots) {
    return;
  }
  let base = slot * p.slot_stride + p.matrix_start;
  let up_base = slot * p.slot_stride + p.up_start;
  let x0 = token / p.top_k * p.x_stride4;
#endif
  #for r in 0..ROWS
  let w$r = min(n0 + $ru, last) * units;
    #for t in 0..TOKENS
  var sum$r_$t = 0.0;
    #endfor
#if MODE == 1
  var up$r = 0.0;
#endif
  #endfor
  for (var u = lane; u < units; u += lanes) {
    #for r in 0..ROWS
    let raw$r = load_unit(base, w$r + u);
#if MODE == 1
    let raw_up$r = load_unit(up_base, w$r + u);
#endif
    #endfor
    #for o in 0..OCTETS
    {
      let k = 2u * (u * OCTETS + $ou);
      #for t in 0..TOKENS
      let xa$t = x[x$t + k];
      let xb$t = x[x$t + k + 1u];
      #endfor
      #for r in 0..ROWS
      {
        let w = unit_octet(raw$r, $ou);
        #for t in 0..TOKENS
        sum$r_$t += dot(w.a, xa$t) + dot(w.b, xb$t);
        #endfor
#if MODE == 1
        let v = unit_octet(raw_up$r, $ou);
        up$r += dot(v.a, xa0) + dot(v.b, xb0);
#endif
      }
      #endfor
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
