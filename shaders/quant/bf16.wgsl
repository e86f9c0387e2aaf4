// BF16: the upper half of a binary32. Eight weights are one vec4u.
#include "quant/weights8"
@group(0) @binding(1) var<storage, read> weights: array<vec4u>;

fn bf16_pairs(u: vec2u) -> vec4f {
  let low = bitcast<vec2f>(u << vec2u(16u));
  let high = bitcast<vec2f>(u & vec2u(0xffff0000u));
  return vec4f(low.x, high.x, low.y, high.y);
}

fn weights8(i: u32) -> Weights8 {
  let u = weights[i];
  return Weights8(bf16_pairs(u.xy), bf16_pairs(u.zw));
}
