// IQ1_M: super-blocks of 256 in 56 bytes: 32 bytes of points, one for eight weights; 32 nibbles, each three
// upper bits of a point and the sign of its shift h; four times 16 bits, each four scales s (3 bits), one
// for 16 weights, and four bits of d (f16). Weight = d * (2 s + 1) * (point + h), h = +-1/8.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#define HALVES 1
#include "quant/iq1_integers"

fn load_unit(base: u32, i: u32) -> Unit {
  let at = 4u * base + i / 8u * 14u;
  let g = i % 8u;
  let low = (vec4u(weights[at + g]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
  let nibbles = vec4u(half_at(4u * (at + 8u) + 2u * g)) >> vec4u(0u, 4u, 8u, 12u);
  let a = weights[at + 12u];
  let b = weights[at + 13u];
  let bits = ((a >> 12u) & 15u) | ((a >> 24u) & 0xf0u) | ((b >> 4u) & 0xf00u) | ((b >> 16u) & 0xf000u);
  let scales = vec2u(select(a, b, g >= 4u) >> (g / 2u % 2u * 16u + g % 2u * 6u)) >> vec2u(0u, 3u);
  return Unit(
    low | ((nibbles & vec4u(7u)) << vec4u(8u)),
    (nibbles >> vec4u(3u)) & vec4u(1u),
    unpack2x16float(bits).x * vec2f(2u * (scales & vec2u(7u)) + 1u) * 0.125,
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let at = 4u * base + i / 32u * 14u; // in words: 56 bytes are 14
  let k = i % 32u;
  let nibble = byte_at(4u * at + 32u + k / 2u) >> (k % 2u * 4u);
  let point = byte_at(4u * at + k) | ((nibble & 7u) << 8u);
  let a = weights[at + 12u];
  let b = weights[at + 13u];
  let bits = ((a >> 12u) & 15u) | ((a >> 24u) & 0xf0u) | ((b >> 4u) & 0xf00u) | ((b >> 16u) & 0xf000u);
  let word = select(a, b, k >= 16u) >> (k / 8u % 2u * 16u);
  let scale = unpack2x16float(bits).x * f32(2u * ((word >> (k / 2u % 4u * 3u)) & 7u) + 1u);
  return iq1_octet(code_at(point), select(0.125, -0.125, (nibble & 8u) != 0u), scale);
}
