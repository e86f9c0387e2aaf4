// RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), after an optional addition to the residual:
//   x[t]   += addend[t]                              ADD == 1: the attention block's output
//   x[t]   += sum over s of scale[t, s] addend[t, s] ADD == 2: the chosen experts' outputs
//   out[t]  = x[t] / sqrt(mean(x[t]^2) + eps) * gain
//   x, out [rows, stride]   f32; columns past n are zeros
//   addend [rows, stride] or [rows, slots, stride], scale [rows, slots]
// Rows of x, addend and scale begin at `first`; rows of out at 0. One group of lanes per row.
#include "lanes"

struct Params {
  rows: u32,
  first: u32,
  n: u32,
  stride4: u32,
  slots: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
#if ADD > 0
@group(0) @binding(4) var<storage, read> addend: array<vec4f>;
#endif
#if ADD == 2
@group(0) @binding(5) var<storage, read> scale: array<f32>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  if (group >= p.rows) {
    return;
  }
  let row = p.first + group;
  var squares = 0.0;
  for (var i = lane; i < p.stride4; i += lanes) {
    var value = x[row * p.stride4 + i];
#if ADD == 1
    value += addend[row * p.stride4 + i];
#elif ADD == 2
    // In slot order, so that the sum never depends on where an expert's weights were.
    for (var s = row * p.slots; s < (row + 1u) * p.slots; s++) {
      value += scale[s] * addend[s * p.stride4 + i];
    }
#endif
#if ADD > 0
    x[row * p.stride4 + i] = value;
#endif
    squares += dot(value, value);
  }
  let inverse = inverseSqrt(reduce_add(squares, lane) / f32(p.n) + p.eps);
  for (var i = lane; i < p.stride4; i += lanes) {
    out[group * p.stride4 + i] = x[row * p.stride4 + i] * inverse * gain[i];
  }
}
