// Q5_1: blocks of 32 in 24 bytes: scale d and minimum m (f16), 32 fifth bits (u32), then 16 bytes of
// nibbles as in Q4_0; weight j is d * q + m, bit 4 of q being bit j of the u32.
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 31
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"

struct Unit {
  scale: vec2f, // d, m
  high: u32,
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let at = 4u * base + 6u * i;
  let q = vec4u(weights[at + 2u], weights[at + 3u], weights[at + 4u], weights[at + 5u]);
  return Unit(unpack2x16float(weights[at]), weights[at + 1u], q);
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    nibbles_of(unit.q, 0u) | (sixteen_bits(unit.high) << vec4u(4u)),
    nibbles_of(unit.q, 4u) | (sixteen_bits(unit.high >> 16u) << vec4u(4u)),
    unit.scale.xx,
    unit.scale.yy,
  );
}

fn fives(word: u32, shift: u32, high: u32) -> vec4f {
  let low = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(low | (((vec4u(high) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u)) << vec4u(4u)));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let at = 4u * base + i / 4u * 6u;
  let scale = unpack2x16float(weights[at]);
  let high = weights[at + 1u] >> (i % 4u * 8u);
  let q = at + 2u + i % 2u * 2u;
  let shift = i % 4u / 2u * 4u;
  return Octet(
    fives(weights[q], shift, high) * scale.x + scale.y,
    fives(weights[q + 1u], shift, high >> 4u) * scale.x + scale.y,
  );
}
