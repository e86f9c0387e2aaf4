// Q5_K: super-blocks of 256 in 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles; bit b of
// byte l is the fifth bit of weight l of block b.
#include "quant/octet"
#include "quant/k_scales"
#define OCTETS 8
@group(0) @binding(1) var<storage, read> weights: array<vec4u>;

// A unit is the 64 weights of 32 bytes of nibbles.
struct Unit {
  low: vec2f, // d * scale and dmin * minimum of the block in the low nibbles
  high: vec2f,
  q0: vec4u,
  q1: vec4u,
  h0: vec4u, // fifth bits: bit 0 of each byte belongs to the low nibble, bit 1 to the high one
  h1: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = base + i / 4u * 11u;
  let pair = i % 4u;
  let head = weights[block];
  let d = unpack2x16float(head.x);
  let at = block + 3u + 2u * pair;
  return Unit(
    d * scale_and_minimum(head.yzw, 2u * pair),
    d * scale_and_minimum(head.yzw, 2u * pair + 1u),
    weights[at],
    weights[at + 1u],
    weights[block + 1u] >> vec4u(2u * pair),
    weights[block + 2u] >> vec4u(2u * pair),
  );
}

fn fives(word: u32, shift: u32, high: u32, bit: u32, scale: vec2f) -> vec4f {
  let bytes = vec4u(0u, 8u, 16u, 24u);
  let q = (vec4u(word) >> (bytes + shift)) & vec4u(15u);
  let fifth = (vec4u(high) >> (bytes + bit)) & vec4u(1u);
  return vec4f(q | (fifth << vec4u(4u))) * scale.x - scale.y;
}

fn unit_octet(unit: Unit, o: u32) -> Octet {
  let second = o / 2u % 2u == 1u;
  let four = select(unit.q0, unit.q1, second);
  let four_high = select(unit.h0, unit.h1, second);
  let pair = select(four.xy, four.zw, o % 2u == 1u);
  let high = select(four_high.xy, four_high.zw, o % 2u == 1u);
  let scale = select(unit.low, unit.high, o >= 4u);
  let bit = o / 4u;
  return Octet(
    fives(pair.x, 4u * bit, high.x, bit, scale),
    fives(pair.y, 4u * bit, high.y, bit, scale),
  );
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = base + i / 32u * 11u;
  let o = i % 32u;
  let head = weights[block];
  let scale = unpack2x16float(head.x) * scale_and_minimum(head.yzw, o / 4u);
  let four = weights[block + 3u + o / 8u * 2u + o / 2u % 2u];
  let four_high = weights[block + 1u + o / 2u % 2u];
  let pair = select(four.xy, four.zw, o % 2u == 1u);
  let high = select(four_high.xy, four_high.zw, o % 2u == 1u);
  let shift = o / 4u % 2u * 4u;
  return Octet(
    fives(pair.x, shift, high.x, o / 4u, scale),
    fives(pair.y, shift, high.y, o / 4u, scale),
  );
}
