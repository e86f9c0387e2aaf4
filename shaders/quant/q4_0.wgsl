// Q4_0: blocks of 32 in 18 bytes: scale d (f16), then 16 bytes; weight j is d * (q - 8) with q the low
// nibble of byte j for j < 16, the high nibble of byte j - 16 from there on.
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 15
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"

struct Unit {
  d: f32,
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  // A block begins at a word or in the middle of one; either way it lies in five words.
  let half = 8u * base + 9u * i;
  let at = half / 2u;
  let w = vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
  let next = vec4u(w.yzw, weights[at + 4u]);
  let odd = half % 2u == 1u;
  let d = unpack2x16float(select(w.x, w.x >> 16u, odd)).x;
  return Unit(d, select((w >> vec4u(16u)) | (next << vec4u(16u)), next, odd));
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    nibbles_of(unit.q, 0u),
    nibbles_of(unit.q, 4u),
    vec2f(unit.d),
    vec2f(-8.0 * unit.d),
  );
}

fn nibbles(word: u32, shift: u32) -> vec4f {
  return vec4f((vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u)) - 8.0;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let byte = 16u * base + i / 4u * 18u;
  let d = f16_at(byte);
  let at = byte + 2u + i % 2u * 8u;
  let shift = i % 4u / 2u * 4u;
  return Octet(nibbles(word_at(at), shift) * d, nibbles(word_at(at + 4u), shift) * d);
}
