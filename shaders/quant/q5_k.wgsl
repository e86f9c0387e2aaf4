// Q5_K: super-blocks of 256 in 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles; bit b of
// byte l is the fifth bit of weight l of block b.
#include "quant/octet"
#include "quant/k_scales"
#define GROUPS 4
#define LARGEST 31
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"
#include "quant/vectors"

// A unit is the 128 weights of 64 bytes of nibbles.
struct Unit {
  d: vec2f, // d, dmin
  scales: vec2u, // scales and minima, four to a word
  q: array<vec4u, 4>,
  high: array<vec4u, 2>, // fifth bits: bit g of each byte belongs to group g
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = base + i / 2u * 11u;
  let half = i % 2u;
  let head = weights[block];
  let at = block + 3u + 4u * half;
  return Unit(
    unpack2x16float(head.x),
    scales_and_minima(head.yzw, half),
    array<vec4u, 4>(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]),
    array<vec4u, 2>(weights[block + 1u] >> vec4u(4u * half), weights[block + 2u] >> vec4u(4u * half)),
  );
}

fn unit_group(unit: Unit, g: u32) -> Group {
  let scale = unit.d * vec2f((unit.scales >> vec2u(8u * g)) & vec2u(0xffu));
  let a = select(unit.q[0], unit.q[2], g >= 2u);
  let b = select(unit.q[1], unit.q[3], g >= 2u);
  let shift = g % 2u * 4u;
  let bits = vec4u(0x01010101u);
  let high_a = ((unit.high[0] >> vec4u(g)) & bits) << vec4u(4u);
  let high_b = ((unit.high[1] >> vec4u(g)) & bits) << vec4u(4u);
  return Group(
    nibbles_of(a, shift) | high_a,
    nibbles_of(b, shift) | high_b,
    scale.xx,
    -scale.yy,
  );
}

fn fives(word: u32, shift: u32, high: u32, bit: u32, scale: vec2f) -> vec4f {
  let bytes = vec4u(0u, 8u, 16u, 24u);
  let q = (vec4u(word) >> (bytes + shift)) & vec4u(15u);
  let fifth = (vec4u(high) >> (bytes + bit)) & vec4u(1u);
  return vec4f(q | (fifth << vec4u(4u))) * scale.x - scale.y;
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
