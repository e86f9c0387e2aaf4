// Q2_K: super-blocks of 256 in 84 bytes: 16 bytes of scales (low nibble) and minima (high nibble) of blocks
// of 16, 64 bytes of 2-bit values, d, dmin (f16). In each half of 128 weights, weight 32 r + l (r < 4,
// l < 32) is at bit 2 r of byte l of the half's 32, with scale 8 half + 2 r + l / 16.
// Weight = d * scale * q - dmin * minimum.
#include "quant/octet"
#include "quant/words"
#define GROUPS 4
#define LARGEST 3
#define UNSIGNED 1
#define OFFSETS 1
#define HALVES 1
#include "quant/integers"

// A unit is half a super-block; group r of it is the weights 32 r + l.
struct Unit {
  d: vec2f, // d, dmin
  scales: vec2u,
  q: array<vec4u, 2>,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 4u * base + i / 2u * 21u;
  let half = i % 2u;
  let at = block + 4u + half * 8u;
  return Unit(
    unpack2x16float(weights[block + 20u]),
    vec2u(weights[block + 2u * half], weights[block + 2u * half + 1u]),
    array<vec4u, 2>(
      vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]),
      vec4u(weights[at + 4u], weights[at + 5u], weights[at + 6u], weights[at + 7u]),
    ),
  );
}

fn unit_group(unit: Unit, r: u32) -> Group {
  let packed = select(unit.scales.x, unit.scales.y, r >= 2u) >> (r % 2u * 16u);
  let bytes = vec2u(packed, packed >> 8u);
  return Group(
    (unit.q[0] >> vec4u(2u * r)) & vec4u(0x03030303u),
    (unit.q[1] >> vec4u(2u * r)) & vec4u(0x03030303u),
    unit.d.x * vec2f(bytes & vec2u(15u)),
    -unit.d.y * vec2f((bytes >> vec2u(4u)) & vec2u(15u)),
  );
}

fn twos(word: u32, bit: u32, scale: vec2f) -> vec4f {
  return vec4f((vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + bit)) & vec4u(3u)) * scale.x - scale.y;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 4u * base + i / 32u * 21u; // in words: 84 bytes are 21
  let o = i % 32u;
  let half = o / 16u;
  let r = o / 4u % 4u;
  let l = o % 4u * 8u;
  let packed = byte_at(4u * block + half * 8u + 2u * r + l / 16u);
  let scale = unpack2x16float(weights[block + 20u]) * vec2f(f32(packed & 15u), f32(packed >> 4u));
  let at = block + 4u + half * 8u + l / 4u;
  return Octet(twos(weights[at], 2u * r, scale), twos(weights[at + 1u], 2u * r, scale));
}
