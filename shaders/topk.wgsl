// The k largest of n values, equal ones by index; with k = 1, argmax. They are all in the k blocks that
// come first by their largest value and, among equals, by index: for each block before a value's own
// there is a value before it. So, after topk_blocks.wgsl:
//   BLOCKS       keys [n] of the blocks' largest values -> the k first blocks' indices
//   otherwise    values [n] and those indices -> top_values [k] f32, top_ids [k] u32
// NaN counts as the largest value of all. An index of 0xffffffff means: fewer than k values. One group of
// lanes does it all.
#include "lanes"
#include "best"

struct Params {
  n: u32,
  k: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
#if BLOCKS
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> top_blocks: array<u32>;
#else
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> blocks: array<u32>;
@group(0) @binding(3) var<storage, read_write> top_values: array<f32>;
@group(0) @binding(4) var<storage, read_write> top_ids: array<u32>;
#endif

const NO_ID = 0xffffffffu;

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  if (group > 0u) {
    return;
  }
#if BLOCKS
  let candidates = p.n;
#else
  let candidates = p.k * BLOCK;
#endif
  var last = BEFORE_ALL;
  for (var s = 0u; s < p.k; s++) {
    var best = NOTHING;
    for (var i = lane; i < candidates; i += lanes) {
#if BLOCKS
      let id = i;
      let key = keys[id];
#else
      let block = blocks[i / BLOCK];
      let id = block * BLOCK + i % BLOCK;
      if (block == NO_ID || id >= p.n) {
        continue;
      }
      let key = key_of(values[id]);
#endif
      if (is_better(key, id, best, last)) {
        best = Best(key, id);
      }
    }
    last = reduce_best(best, lane);
    if (lane == 0u) {
      let id = select(last.index, NO_ID, last.key == 0u);
#if BLOCKS
      top_blocks[s] = id;
#else
      top_values[s] = value_of(last.key);
      top_ids[s] = id;
#endif
    }
  }
}
