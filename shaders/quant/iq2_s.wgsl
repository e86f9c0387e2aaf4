// IQ2_S: super-blocks of 256 in 82 bytes: d (f16); 32 bytes of points, one for eight weights; 32 bytes of
// signs; 8 bytes of two upper bits for each point; 16 nibbles of scales s, one for 16 weights.
// Weight = d * (s + 1/2) / 4 * +-point.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#define HALVES 1
#include "quant/iq2_integers"

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 82u;
  let g = i % 8u;
  let low = (vec4u(word_at(block + 2u + 4u * g)) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
  let high = (vec4u(byte_at(block + 66u + g)) >> vec4u(0u, 2u, 4u, 6u)) & vec4u(3u);
  let scales = byte_at(block + 74u + g);
  return Unit(
    low | (high << vec4u(8u)),
    word_at(block + 34u + 4u * g),
    f16_at(block) * (vec2f(vec2u(scales & 15u, scales >> 4u)) + 0.5) * 0.25,
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 82u;
  let k = i % 32u;
  let high = (byte_at(block + 66u + k / 4u) >> (k % 4u * 2u)) & 3u;
  let point = byte_at(block + 2u + k) | (high << 8u);
  let nibble = (byte_at(block + 74u + k / 4u) >> (k % 4u / 2u * 4u)) & 15u;
  let scale = f16_at(block) * (f32(nibble) + 0.5) * 0.25;
  return iq2_octet(code_at(point), byte_at(block + 34u + k), scale);
}
