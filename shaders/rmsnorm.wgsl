// RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), after an optional addition to the residual:
//   x[t]   += addend[t]                              ADD == 1: the attention block's output
//   x[t]   += sum over s of scale[t, s] addend[t, s] ADD == 2: the chosen experts' outputs
//   out[t]  = x[t] / sqrt(mean(x[t]^2) + eps) * gain
//   x, out [rows, stride]   f32; columns past n are zeros
//   addend [rows, stride] or [rows, slots, stride], scale [rows, slots]
// Rows of x, addend and scale begin at `first`; rows of out at 0. One group of lanes per row.
// With Q8 also the int8 image of out: a lane then owns whole blocks of 32 columns (see `quantize_block`).
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

#if Q8
@group(0) @binding($(4 + ADD)) var<storage, read_write> q8: array<vec4u>;
#include "quantize_block"
#define RUN 8
#else
#define RUN 1
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
  let runs = (p.stride4 + RUN - 1u) / RUN;
  var squares = 0.0;
  for (var run = lane; run < runs; run += lanes) {
    for (var i = run * RUN; i < min((run + 1u) * RUN, p.stride4); i++) {
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
  }
  let inverse = inverseSqrt(reduce_add(squares, lane) / f32(p.n) + p.eps);
  for (var run = lane; run < runs; run += lanes) {
    var values: array<vec4f, RUN>;
    #for j in 0..RUN
    {
      let i = min(run * RUN + $ju, p.stride4 - 1u);
      let value = x[row * p.stride4 + i] * inverse * gain[i];
      out[group * p.stride4 + i] = value;
      values[$j] = select(vec4f(), value, run * RUN + $ju < p.stride4);
    }
    #endfor
#if Q8
    store_q8(group * runs + run, values);
#endif
  }
}
