// F32: IEEE 754 binary32. An octet is two vec4u.
#include "quant/octet"
#include "quant/single"
#include "quant/vectors"

fn octet_at(base: u32, i: u32) -> Octet {
  return Octet(bitcast<vec4f>(weights[base + 2u * i]), bitcast<vec4f>(weights[base + 2u * i + 1u]));
}
