// IQ1_S: super-blocks of 256 in 50 bytes: d (f16); 32 bytes of points, one for eight weights; per 32 weights
// 16 bits: three upper bits for each of four points, the scale s (3) and the sign of the shift h.
// Weight = d * (2 s + 1) * (point + h), h = +-1/8.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#include "quant/iq1_integers"

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 50u;
  let g = i % 8u;
  let low = (vec4u(word_at(block + 2u + 4u * g)) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
  let word = half_at(block + 34u + 2u * g);
  let high = (vec4u(word) >> vec4u(0u, 3u, 6u, 9u)) & vec4u(7u);
  return Unit(
    low | (high << vec4u(8u)),
    vec4u(word >> 15u),
    vec2f(f16_at(block) * f32(2u * ((word >> 12u) & 7u) + 1u) * 0.125),
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 50u;
  let k = i % 32u;
  let word = half_at(block + 34u + k / 4u * 2u);
  let point = byte_at(block + 2u + k) | (((word >> (3u * (k % 4u))) & 7u) << 8u);
  let scale = f16_at(block) * f32(2u * ((word >> 12u) & 7u) + 1u);
  return iq1_octet(code_at(point), select(0.125, -0.125, (word & 0x8000u) != 0u), scale);
}
