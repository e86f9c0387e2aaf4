// Q4_K: super-blocks of 256 in 144 bytes: d, dmin (f16), 12 bytes of 6-bit scales and minima of eight
// blocks of 32 (see k_scales), 128 bytes of nibbles: 32 bytes hold one block in their low nibbles and
// the next in their high ones. Weight = d * scale * q - dmin * minimum.
#include "quant/octet"
#include "quant/k_scales"
#define GROUPS 4
#define LARGEST 15
#define UNSIGNED 1
#define OFFSETS 1
#include "quant/integers"
#include "quant/vectors"

// A unit is the 128 weights of 64 bytes of nibbles.
struct Unit {
  d: vec2f, // d, dmin
  scales: vec2u, // scales and minima, four to a word
  q: array<vec4u, 4>,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = base + i / 2u * 9u;
  let half = i % 2u;
  let head = weights[block];
  let at = block + 1u + 4u * half;
  return Unit(
    unpack2x16float(head.x),
    scales_and_minima(head.yzw, half),
    array<vec4u, 4>(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]),
  );
}

fn unit_group(unit: Unit, g: u32) -> Group {
  let scale = unit.d * vec2f((unit.scales >> vec2u(8u * g)) & vec2u(0xffu));
  let a = select(unit.q[0], unit.q[2], g >= 2u);
  let b = select(unit.q[1], unit.q[3], g >= 2u);
  let shift = g % 2u * 4u;
  return Group(nibbles_of(a, shift), nibbles_of(b, shift), scale.xx, -scale.yy);
}

fn nibbles(word: u32, shift: u32, scale: vec2f) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(q) * scale.x - scale.y;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = base + i / 32u * 9u;
  let o = i % 32u;
  let head = weights[block];
  let scale = unpack2x16float(head.x) * scale_and_minimum(head.yzw, o / 4u);
  let four = weights[block + 1u + o / 8u * 2u + o / 2u % 2u];
  let pair = select(four.xy, four.zw, o % 2u == 1u);
  let shift = o / 4u % 2u * 4u;
  return Octet(nibbles(pair.x, shift, scale), nibbles(pair.y, shift, scale));
}
