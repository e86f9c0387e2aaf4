// Products of a weight matrix with few vectors, f32 accumulation: the modes of `matvec_params`.
// A group of lanes computes ROWS outputs for TOKENS vectors: loads of x serve ROWS rows, loads of W
// serve TOKENS vectors. Lanes split k. With INT8, x is in int8 and weights are integers (see `int8`).
#include "quant/{FORMAT}"
#include "lanes"
#include "matvec_params"
#if INT8
#include "int8"
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
#else
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
#endif

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
  let groups = p.octets / GROUP_OCTETS; // of a row
#if INT8
  let x_stride = 3u * p.x_stride; // in vec4
#else
  let x_stride = 2u * p.x_stride;
#endif
#if MODE == 0
  let token = workgroup.y * TOKENS;
  let base = 0u;
  #for t in 0..TOKENS
  let x$t = min(token + $tu, p.tokens - 1u) * x_stride;
  #endfor
#else
  let token = workgroup.y;
  let slot = slot_of[p.table + ids[token]] - p.first_slot; // wraps around for earlier slots
  if (slot >= p.slots) {
    return;
  }
  let base = slot * p.slot_stride + p.matrix_start;
  let up_base = slot * p.slot_stride + p.up_start;
  let x0 = token / p.top_k * x_stride;
#endif
  #for r in 0..ROWS
  let w$r = min(n0 + $ru, last) * groups;
    #for t in 0..TOKENS
  var sum$r_$t = 0.0;
    #endfor
#if MODE == 1
  var up$r = 0.0;
#endif
  #endfor
  for (var k = lane; k < groups; k += lanes) {
#if INT8
    #for t in 0..TOKENS
    let activations$t = Activations(
      activation_sixteen(x[x$t + 3u * k]),
      activation_sixteen(x[x$t + 3u * k + 1u]),
      bitcast<vec4f>(x[x$t + 3u * k + 2u]),
    );
    #endfor
    #for r in 0..ROWS
    {
      let w = weights_of(group_at(base, w$r + k));
      #for t in 0..TOKENS
      sum$r_$t += product(w, activations$t);
      #endfor
#if MODE == 1
      up$r += product(weights_of(group_at(up_base, w$r + k)), activations0);
#endif
    }
    #endfor
#else
    #for r in 0..ROWS
    let group$r = group_at(base, w$r + k);
#if MODE == 1
    let up_group$r = group_at(up_base, w$r + k);
#endif
    #endfor
    // Not unrolled: the body is long.
    for (var o = 0u; o < GROUP_OCTETS; o++) {
      let at = 2u * (k * GROUP_OCTETS + o);
      #for t in 0..TOKENS
      let xa$t = x[x$t + at];
      let xb$t = x[x$t + at + 1u];
      #endfor
      #for r in 0..ROWS
      {
        let w = group_octet(group$r, o);
        #for t in 0..TOKENS
        sum$r_$t += dot(w.a, xa$t) + dot(w.b, xb$t);
        #endfor
#if MODE == 1
        let v = group_octet(up_group$r, o);
        up$r += dot(v.a, xa0) + dot(v.b, xb0);
#endif
      }
      #endfor
    }
#endif
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

// Lanes take the groups of a row one by one, so that short rows keep many of them busy; neighbours then
// load the same unit.
fn group_at(base: u32, i: u32) -> Group {
  return unit_group(load_unit(base, i / GROUPS), i % GROUPS);
}
