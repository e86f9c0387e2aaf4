// BF16: the upper half of a binary32. An octet is one vec4u.
#include "quant/octet"
#include "quant/single"
#include "quant/vectors"

fn bf16_pairs(u: vec2u) -> vec4f {
  let low = bitcast<vec2f>(u << vec2u(16u));
  let high = bitcast<vec2f>(u & vec2u(0xffff0000u));
  return vec4f(low.x, high.x, low.y, high.y);
}

fn octet_at(base: u32, i: u32) -> Octet {
  let u = weights[base + i];
  return Octet(bf16_pairs(u.xy), bf16_pairs(u.zw));
}
