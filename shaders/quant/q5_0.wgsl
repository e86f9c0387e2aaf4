// Q5_0: blocks of 32 in 22 bytes: scale d (f16), 32 fifth bits (u32), then 16 bytes of nibbles as in Q4_0;
// weight j is d * (q - 16), bit 4 of q being bit j of the u32.
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 31
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"

struct Unit {
  d: f32,
  high: u32,
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  // A block begins at a word or in the middle of one; either way it lies in six words.
  let half = 8u * base + 11u * i;
  let at = half / 2u;
  let w = vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
  let rest = vec2u(weights[at + 4u], weights[at + 5u]);
  if (half % 2u == 1u) {
    return Unit(unpack2x16float(w.x >> 16u).x, w.y, vec4u(w.zw, rest));
  }
  let next = vec4u(w.zw, rest);
  return Unit(
    unpack2x16float(w.x).x,
    (w.x >> 16u) | (w.y << 16u),
    (vec4u(w.yzw, rest.x) >> vec4u(16u)) | (next << vec4u(16u)),
  );
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    nibbles_of(unit.q, 0u) | (sixteen_bits(unit.high) << vec4u(4u)),
    nibbles_of(unit.q, 4u) | (sixteen_bits(unit.high >> 16u) << vec4u(4u)),
    vec2f(unit.d),
    vec2f(-16.0 * unit.d),
  );
}

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
