// Q4_K: super-blocks of 256 in 144 bytes: d, dmin (f16), 12 bytes of 6-bit scales and minima of eight
// blocks of 32 (see k_scales), 128 bytes of nibbles: 32 bytes hold one block in their low nibbles and
// the next in their high ones. Weight = d * scale * q - dmin * minimum.
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
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = base + i / 4u * 9u;
  let pair = i % 4u;
  let head = weights[block];
  let d = unpack2x16float(head.x);
  let at = block + 1u + 2u * pair;
  return Unit(
    d * scale_and_minimum(head.yzw, 2u * pair),
    d * scale_and_minimum(head.yzw, 2u * pair + 1u),
    weights[at],
    weights[at + 1u],
  );
}

fn nibbles(word: u32, shift: u32, scale: vec2f) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(q) * scale.x - scale.y;
}

fn unit_octet(unit: Unit, o: u32) -> Octet {
  let four = select(unit.q0, unit.q1, o / 2u % 2u == 1u);
  let pair = select(four.xy, four.zw, o % 2u == 1u);
  let scale = select(unit.low, unit.high, o >= 4u);
  let shift = o / 4u * 4u;
  return Octet(nibbles(pair.x, shift, scale), nibbles(pair.y, shift, scale));
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
