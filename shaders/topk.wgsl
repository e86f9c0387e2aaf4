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
  var last = Best(0.0, NONE);
  var exhausted = false;
  for (var s = 0u; s < p.k; s++) {
    var best = Best(0.0, NONE);
    for (var i = begin + lane; i < end; i += lanes) {
      let value = values[i];
#if SECOND
      let id = candidates[i];
      if (id != NONE && is_better(value, id, best, last)) {
#else
      let id = i;
      if (is_better(value, id, best, last)) {
#endif
        best = Best(value, id);
      }
    }
    let found = reduce_best(best, lane);
    exhausted = exhausted || found.index == NONE;
    if (lane == 0u) {
      top_values[group * p.k + s] = select(found.value, LOWEST, exhausted);
      top_ids[group * p.k + s] = select(found.index, NONE, exhausted);
    }
    last = found;
  }
}
