// Router of a MoE block: softmax over the experts' logits, the top_k largest, and (NORMALISE) their
// weights divided by their sum. Equal logits: the lower index first.
//   logits [tokens, stride] f32; ids, weights [tokens, top_k]
// One group of lanes per token. Normalised weights need no softmax over all: the common divisor
// cancels.
#include "lanes"
#include "best"

struct Params {
  tokens: u32,
  experts: u32,
  stride: u32,
  top_k: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  if (group >= p.tokens) {
    return;
  }
  let row = group * p.stride;
  var last = BEFORE_ALL;
  var most = 0.0;
  var sum = 0.0;
  for (var s = 0u; s < p.top_k; s++) {
    var best = NOTHING;
    for (var e = lane; e < p.experts; e += lanes) {
      let key = key_of(logits[row + e]);
      if (is_better(key, e, best, last)) {
        best = Best(key, e);
      }
    }
    last = reduce_best(best, lane);
    most = select(most, value_of(last.key), s == 0u);
    // A logit that is no number comes first and makes all weights NaN, so that it is seen in the end.
    // Only more experts per token than there are find none.
    let found = last.key != 0u;
    let weight = select(0.0, exp(value_of(last.key) - most), found);
    sum += weight;
    if (lane == 0u) {
      ids[group * p.top_k + s] = select(0u, last.index, found);
      weights[group * p.top_k + s] = weight;
    }
  }
#if !NORMALISE
  var all = 0.0;
  for (var e = lane; e < p.experts; e += lanes) {
    all += exp(logits[row + e] - most);
  }
  sum = reduce_add(all, lane);
#endif
  if (lane == 0u) {
    for (var s = 0u; s < p.top_k; s++) {
      weights[group * p.top_k + s] /= sum;
    }
  }
}
