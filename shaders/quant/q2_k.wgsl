// Q2_K: super-blocks of 256 in 84 bytes: 16 bytes of scales (low nibble) and minima (high nibble) of blocks
// of 16, 64 bytes of 2-bit values, d, dmin (f16). In each half of 128 weights, weight 32 r + l (r < 4,
// l < 32) is at bit 2 r of byte l of the half's 32, with scale 8 half + 2 r + l / 16.
// Weight = d * scale * q - dmin * minimum.
#include "quant/octet"
#include "quant/words"
#include "quant/single"

fn twos(word: u32, bit: u32, scale: vec2f) -> vec4f {
  return vec4f((vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + bit)) & vec4u(3u)) * scale.x - scale.y;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 4u * base + i / 32u * 21u; // in words: 84 bytes are 21
  let o = i % 32u;
  let half = o / 16u;
  let r = o / 4u % 4u;
  let l = o % 4u * 8u;
  let packed = byte_at(4u * block + half * 8u + 2u * r + l / 16u);
  let scale = unpack2x16float(weights[block + 20u]) * vec2f(f32(packed & 15u), f32(packed >> 4u));
  let at = block + 4u + half * 8u + l / 4u;
  return Octet(twos(weights[at], 2u * r, scale), twos(weights[at + 1u], 2u * r, scale));
}
