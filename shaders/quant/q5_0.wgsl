// Q5_0: blocks of 32 in 22 bytes: scale d (f16), 32 fifth bits (u32), then 16 bytes of nibbles as in Q4_0;
// weight j is d * (q - 16), bit 4 of q being bit j of the u32.
#include "quant/octet"
#include "quant/words"
#include "quant/single"

fn fives(word: u32, shift: u32, high: u32) -> vec4f {
  let low = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(low | (((vec4u(high) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u)) << vec4u(4u)));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let byte = 16u * base + i / 4u * 22u;
  let d = f16_at(byte);
  let high = word_at(byte + 2u) >> (i % 4u * 8u);
  let at = byte + 6u + i % 2u * 8u;
  let shift = i % 4u / 2u * 4u;
  return Octet(
    (fives(word_at(at), shift, high) - 16.0) * d,
    (fives(word_at(at + 4u), shift, high >> 4u) - 16.0) * d,
  );
}
