// IQ3_S: super-blocks of 256 in 110 bytes: d (f16); 64 bytes of points, one for four weights; 8 bytes with a
// ninth bit for each; 32 bytes of signs; 8 nibbles of scales s, one for 32 weights.
// Weight = d * (2 s + 1) * +-point, with levels 1, 3, 5, ... 15.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#define LARGEST 15
#include "quant/iq3_integers"

fn level_bytes(digits: vec4u) -> vec4u {
  return 0x01010101u + 2u * digits;
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 8u * 110u;
  let g = i % 8u;
  let points = words2_at(block + 2u + 8u * g);
  let ninth = vec4u(byte_at(block + 66u + g)) >> vec4u(0u, 1u, 2u, 3u);
  let shifts = vec4u(0u, 8u, 16u, 24u);
  let nibble = (byte_at(block + 106u + g / 2u) >> (g % 2u * 4u)) & 15u;
  return Unit(
    ((vec4u(points.x) >> shifts) & vec4u(0xffu)) | ((ninth & vec4u(1u)) << vec4u(8u)),
    ((vec4u(points.y) >> shifts) & vec4u(0xffu)) | (((ninth >> vec4u(4u)) & vec4u(1u)) << vec4u(8u)),
    word_at(block + 74u + 4u * g),
    f16_at(block) * f32(1u + 2u * nibble),
  );
}

fn levels(code: u32) -> vec4f {
  return vec4f(1u + 2u * digits3(code));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 110u;
  let k = i % 32u;
  let points = half_at(block + 2u + 2u * k);
  let ninth = byte_at(block + 66u + k / 4u) >> (k % 4u * 2u);
  let signs = byte_at(block + 74u + k);
  let nibble = (byte_at(block + 106u + k / 8u) >> (k / 4u % 2u * 4u)) & 15u;
  let scale = f16_at(block) * f32(1u + 2u * nibble);
  return Octet(
    levels(code_at((points & 255u) | ((ninth & 1u) << 8u))) * signs_of(signs) * scale,
    levels(code_at((points >> 8u) | ((ninth & 2u) << 7u))) * signs_of(signs >> 4u) * scale,
  );
}
