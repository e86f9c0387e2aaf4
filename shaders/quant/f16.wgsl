// F16: IEEE 754 binary16. An octet is one vec4u.
#include "quant/octet"
#include "quant/single"
#include "quant/vectors"

#if F16
enable f16;
fn f16_pairs(u: vec2u) -> vec4f {
  return vec4f(bitcast<vec4<f16>>(u));
}
#else
fn f16_pairs(u: vec2u) -> vec4f {
  return vec4f(unpack2x16float(u.x), unpack2x16float(u.y));
}
#endif

fn octet_at(base: u32, i: u32) -> Octet {
  let u = weights[base + i];
  return Octet(f16_pairs(u.xy), f16_pairs(u.zw));
}
