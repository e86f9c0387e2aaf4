// The largest value of each block of BLOCK values, as a key (see best.wgsl). The
// first step of topk.wgsl. One group of lanes per block.
//   values [n] f32; keys [blocks] u32
#include "lanes"
#include "best"

struct Params {
  n: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  let begin = group * BLOCK;
  if (begin >= p.n) {
    return;
  }
  var key = 0u;
  for (var i = begin + lane; i < min(begin + BLOCK, p.n); i += lanes) {
    key = max(key, key_of(values[i]));
  }
  key = reduce_max(key, lane);
  if (lane == 0u) {
    keys[group] = key;
  }
}
