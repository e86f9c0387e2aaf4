// Q4_1: blocks of 32 in 20 bytes: scale d and minimum m (f16), then 16 bytes; weight j is d * q + m with
// q the low nibble of byte j for j < 16, the high nibble of byte j - 16 from there on.
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 15
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"

struct Unit {
  scale: vec2f, // d, m
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let at = 4u * base + 5u * i;
  let q = vec4u(weights[at + 1u], weights[at + 2u], weights[at + 3u], weights[at + 4u]);
  return Unit(unpack2x16float(weights[at]), q);
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    nibbles_of(unit.q, 0u),
    nibbles_of(unit.q, 4u),
    unit.scale.xx,
    unit.scale.yy,
  );
}

fn nibbles(word: u32, shift: u32, scale: vec2f) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(q) * scale.x + scale.y;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let at = 4u * base + i / 4u * 5u;
  let scale = unpack2x16float(weights[at]);
  let q = at + 1u + i % 2u * 2u;
  let shift = i % 4u / 2u * 4u;
  return Octet(nibbles(weights[q], shift, scale), nibbles(weights[q + 1u], shift, scale));
}
