// F16: IEEE 754 binary16. Eight weights are one vec4u.
#include "quant/weights8"
@group(0) @binding(1) var<storage, read> weights: array<vec4u>;

#if F16
enable f16;
fn weights8(i: u32) -> Weights8 {
  let u = weights[i];
  return Weights8(vec4f(bitcast<vec4<f16>>(u.xy)), vec4f(bitcast<vec4<f16>>(u.zw)));
}
#else
fn weights8(i: u32) -> Weights8 {
  let u = weights[i];
  return Weights8(
    vec4f(unpack2x16float(u.x), unpack2x16float(u.y)),
    vec4f(unpack2x16float(u.z), unpack2x16float(u.w)),
  );
}
#endif
