// IQ3_XXS: super-blocks of 256 in 98 bytes: d (f16); 64 bytes of points, one for four weights; per 32
// weights a word with seven signs for each eight and, in its top four bits, the scale s.
// Weight = d * (s + 1/2) / 2 * +-point, with levels 4, 12, 20, 28, 36, 44, 52, 62.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#define LARGEST 62
#include "quant/iq3_integers"

fn level_bytes(digits: vec4u) -> vec4u {
  let sevens = digits & (digits >> vec4u(1u)) & (digits >> vec4u(2u)) & vec4u(0x01010101u);
  return 0x04040404u + 8u * digits + 2u * sevens;
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 98u;
  let g = i % 8u;
  let points = words2_at(block + 2u + 8u * g);
  let word = word_at(block + 66u + 4u * g);
  let sevens = (vec4u(word) >> vec4u(0u, 7u, 14u, 21u)) & vec4u(127u);
  let signs = sevens | ((countOneBits(sevens) & vec4u(1u)) << vec4u(7u));
  let shifts = vec4u(0u, 8u, 16u, 24u);
  return Unit(
    (vec4u(points.x) >> shifts) & vec4u(0xffu),
    (vec4u(points.y) >> shifts) & vec4u(0xffu),
    signs.x | (signs.y << 8u) | (signs.z << 16u) | (signs.w << 24u),
    f16_at(block) * (f32(word >> 28u) + 0.5) * 0.5,
  );
}

fn levels(code: u32) -> vec4f {
  let digits = digits3(code);
  return vec4f(4u + 8u * digits + select(vec4u(0u), vec4u(2u), digits == vec4u(7u)));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 98u;
  let k = i % 32u;
  let word = word_at(block + 66u + k / 4u * 4u);
  let signs = even_signs((word >> (7u * (k % 4u))) & 127u);
  let scale = f16_at(block) * (f32(word >> 28u) + 0.5) * 0.5;
  let points = half_at(block + 2u + 2u * k);
  return Octet(
    levels(code_at(points & 255u)) * signs_of(signs) * scale,
    levels(code_at(points >> 8u)) * signs_of(signs >> 4u) * scale,
  );
}
