// IQ4_XS: super-blocks of 256 in 136 bytes: d (f16), 16 bits with two upper bits of each of eight scales, four
// bytes with their low nibbles, then 16 bytes of nibbles for each 32 weights as in Q4_0, each the index of
// a level. Weight = d * (s - 32) * level.
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
  let at = 4u * base + i / 8u * 34u; // in words: 136 bytes are 34
  let g = i % 8u;
  let head = weights[at];
  let low = (weights[at + 1u] >> (4u * g)) & 15u;
  let s = low | (((head >> (16u + 2u * g)) & 3u) << 4u);
  let q = at + 2u + 4u * g;
  return Unit(
    unpack2x16float(head).x * (f32(s) - 32.0),
    vec4u(weights[q], weights[q + 1u], weights[q + 2u], weights[q + 3u]),
  );
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return scaled(iq4_sixteen(unit.q, 0u), iq4_sixteen(unit.q, 4u), unit.d);
}

fn octet_at(base: u32, i: u32) -> Octet {
  let at = 4u * base + i / 32u * 34u; // in words: 136 bytes are 34
  let g = i % 32u / 4u;
  let head = weights[at];
  let low = (weights[at + 1u] >> (4u * g)) & 15u;
  let s = low | (((head >> (16u + 2u * g)) & 3u) << 4u);
  let d = unpack2x16float(head).x * (f32(s) - 32.0);
  let q = at + 2u + 4u * g + i % 2u * 2u;
  let shift = i % 4u / 2u * 4u;
  return Octet(
    iq4_levels_of(weights[q], shift) * d,
    iq4_levels_of(weights[q + 1u], shift) * d,
  );
}
