// F8_B128: blocks of 128 in 132 bytes: scale d (f32), then 128 e4m3fn floats: sign, four bits of exponent
// (bias 7), three of fraction. Weight = d * q.
#include "quant/octet"
#include "quant/words"
#include "quant/single"

fn e4m3(word: u32) -> vec4f {
  let b = (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
  let m = b & vec4u(0x7fu);
  // Exponent 0 means multiples of 2^-9. Otherwise the bits are those of an f32, moved and rebiased.
  let small = vec4f(m) / 512.0;
  let normal = bitcast<vec4f>((m << vec4u(20u)) + vec4u(120u << 23u));
  let magnitude = select(normal, small, m < vec4u(8u));
  return select(magnitude, -magnitude, b >= vec4u(0x80u));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 4u * base + i / 16u * 33u; // in words
  let d = bitcast<f32>(weights[block]);
  let at = block + 1u + i % 16u * 2u;
  return Octet(e4m3(weights[at]) * d, e4m3(weights[at + 1u]) * d);
}
