// IQ2_XS: super-blocks of 256 in 74 bytes: d (f16); per eight weights 16 bits, a point (9) and seven signs;
// 16 nibbles of scales s, one for 16 weights. Weight = d * (s + 1/2) / 4 * +-point.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#define HALVES 1
#include "quant/iq2_integers"

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 74u;
  let words = words2_at(block + 2u + i % 8u * 8u);
  let halves = vec4u(words.xx, words.yy) >> vec4u(0u, 16u, 0u, 16u);
  let sevens = (halves >> vec4u(9u)) & vec4u(127u);
  let signs = sevens | ((countOneBits(sevens) & vec4u(1u)) << vec4u(7u));
  let scales = byte_at(block + 66u + i % 8u);
  return Unit(
    halves & vec4u(511u),
    signs.x | (signs.y << 8u) | (signs.z << 16u) | (signs.w << 24u),
    f16_at(block) * (vec2f(vec2u(scales & 15u, scales >> 4u)) + 0.5) * 0.25,
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 74u;
  let k = i % 32u;
  let word = half_at(block + 2u + 2u * k);
  let nibble = (byte_at(block + 66u + k / 4u) >> (k % 4u / 2u * 4u)) & 15u;
  let scale = f16_at(block) * (f32(nibble) + 0.5) * 0.25;
  return iq2_octet(code_at(word & 511u), even_signs(word >> 9u), scale);
}
