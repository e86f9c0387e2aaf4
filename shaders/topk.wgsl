// The k largest values of each slice of a row; run again on its own output, of the row. Equal
// values: the lower id first. With k = 1, argmax.
//   values     [n] f32 (and, SECOND, candidates' ids [n] u32; otherwise the id is the index)
//   top_values [slices, k], top_ids [slices, k]; an id of 0xffffffff means: no number was left
// One group of lanes per slice.
#include "lanes"
#include "best"

struct Params {
  n: u32,
  slice: u32, // values per slice
  k: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> top_values: array<f32>;
@group(0) @binding(3) var<storage, read_write> top_ids: array<u32>;
#if SECOND
@group(0) @binding(4) var<storage, read> candidates: array<u32>;
#endif

const NO_ID = 0xffffffffu;

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  let begin = group * p.slice;
  if (begin >= p.n) {
    return;
  }
  let end = min(begin + p.slice, p.n);
  var last = BEFORE_ALL;
  for (var s = 0u; s < p.k; s++) {
    var best = NOTHING;
    for (var i = begin + lane; i < end; i += lanes) {
#if SECOND
      let id = candidates[i];
      let key = select(key_of(values[i]), 0u, id == NO_ID);
#else
      let id = i;
      let key = key_of(values[i]);
#endif
      if (is_better(key, id, best, last)) {
        best = Best(key, id);
      }
    }
    last = reduce_best(best, lane);
    if (lane == 0u) {
      top_values[group * p.k + s] = value_of(last.key);
      top_ids[group * p.k + s] = select(last.index, NO_ID, last.key == 0u);
    }
  }
}
