// IQ3_S: super-blocks of 256 in 110 bytes: d (f16); 64 bytes of points, one for four weights; 8 bytes with a
// ninth bit for each; 32 bytes of signs; 8 nibbles of scales s, one for 32 weights.
// Weight = d * (2 s + 1) * +-point, with levels 1, 3, 5, ... 15.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#include "quant/single"

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
