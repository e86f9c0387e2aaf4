// F32: IEEE 754 binary32. Eight weights are two vec4u.
#include "quant/weights8"
@group(0) @binding(1) var<storage, read> weights: array<vec4u>;

fn weights8(i: u32) -> Weights8 {
  return Weights8(bitcast<vec4f>(weights[2u * i]), bitcast<vec4f>(weights[2u * i + 1u]));
}
