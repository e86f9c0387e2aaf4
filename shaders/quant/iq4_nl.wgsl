// IQ4_NL: blocks of 32 in 18 bytes: scale d (f16), then 16 bytes of nibbles as in Q4_0, each the index of a
// level. Weight = d * level.
#include "quant/octet"
#include "quant/words"
#include "quant/iq4_levels"
#define GROUPS 1
#define LARGEST 127
#include "quant/integers"

struct Unit {
  d: f32,
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let byte = 16u * base + i * 18u;
  return Unit(f16_at(byte), words4_at(byte + 2u));
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return scaled(iq4_sixteen(unit.q, 0u), iq4_sixteen(unit.q, 4u), unit.d);
}

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
