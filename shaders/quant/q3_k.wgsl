// Q3_K: super-blocks of 256 in 110 bytes: 32 bytes of third bits, 64 bytes of 2-bit values, 12 bytes of
// sixteen 6-bit scales, d (f16). In each half of 128 weights, weight 32 r + l (r < 4, l < 32) is at bit 2 r
// of byte l of the half's 32; its third bit is bit 4 half + r of byte l, and means -4 when it is not set.
// Scale s = 8 half + 2 r + l / 16: low nibble in nibble s / 8 of byte s % 8, upper two bits at bit
// 2 (s / 4) of byte 8 + s % 4; 32 is subtracted. Weight = d * (scale - 32) * q.
#include "quant/octet"
#include "quant/words"
#include "quant/single"

fn threes(word: u32, bit: u32, high: u32, high_bit: u32) -> vec4f {
  let bytes = vec4u(0u, 8u, 16u, 24u);
  let q = (vec4u(word) >> (bytes + bit)) & vec4u(3u);
  let third = (vec4u(high) >> (bytes + high_bit)) & vec4u(1u);
  return vec4f(vec4i(q) - vec4i((vec4u(1u) - third) << vec4u(2u)));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 110u;
  let o = i % 32u;
  let half = o / 16u;
  let r = o / 4u % 4u;
  let l = o % 4u * 8u;
  let s = half * 8u + 2u * r + l / 16u;
  let low = (byte_at(block + 96u + s % 8u) >> (s / 8u * 4u)) & 15u;
  let upper = (byte_at(block + 104u + s % 4u) >> (s / 4u * 2u)) & 3u;
  let d = f16_at(block + 108u) * (f32(low | (upper << 4u)) - 32.0);
  let at = block + 32u + half * 32u + l;
  let high = block + l;
  let high_bit = 4u * half + r;
  return Octet(
    threes(word_at(at), 2u * r, word_at(high), high_bit) * d,
    threes(word_at(at + 4u), 2u * r, word_at(high + 4u), high_bit) * d,
  );
}
