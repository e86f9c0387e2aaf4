// IQ2_XXS: super-blocks of 256 in 66 bytes: d (f16); per 32 weights four bytes of points, one for eight
// weights, and a word with seven signs for each eight and, in its top four bits, the scale s.
// Weight = d * (s + 1/2) / 4 * +-point.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#include "quant/iq2_integers"

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 66u;
  let words = words2_at(block + 2u + i % 8u * 8u);
  let sevens = (vec4u(words.y) >> vec4u(0u, 7u, 14u, 21u)) & vec4u(127u);
  let signs = sevens | ((countOneBits(sevens) & vec4u(1u)) << vec4u(7u));
  return Unit(
    (vec4u(words.x) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu),
    signs.x | (signs.y << 8u) | (signs.z << 16u) | (signs.w << 24u),
    vec2f(f16_at(block) * (f32(words.y >> 28u) + 0.5) * 0.25),
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 66u;
  let group = block + 2u + i % 32u / 4u * 8u;
  let k = i % 4u;
  let word = word_at(group + 4u);
  let scale = f16_at(block) * (f32(word >> 28u) + 0.5) * 0.25;
  return iq2_octet(code_at(byte_at(group + k)), even_signs((word >> (7u * k)) & 127u), scale);
}
