// IQ4_NL: blocks of 32 in 18 bytes: scale d (f16), then 16 bytes of nibbles as in Q4_0, each the index of a
// level. Weight = d * level.
#include "quant/octet"
#include "quant/words"
#include "quant/iq4_levels"
#include "quant/single"

fn octet_at(base: u32, i: u32) -> Octet {
  let byte = 16u * base + i / 4u * 18u;
  let d = f16_at(byte);
  let at = byte + 2u + i % 2u * 8u;
  let shift = i % 4u / 2u * 4u;
  return Octet(
    iq4_levels_of(word_at(at), shift) * d,
    iq4_levels_of(word_at(at + 4u), shift) * d,
  );
}
