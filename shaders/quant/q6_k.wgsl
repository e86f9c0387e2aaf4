// Q6_K: super-blocks of 256 in 210 bytes: 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed
// scales, d (f16). In each half of 128 weights, weight 32 r + l (r < 4, l < 32) has its low nibble in byte
// (r % 2) * 32 + l of the half's 64 (low nibble for r < 2, else high), its upper bits at bit 2 r of byte l
// of the half's 32, and scale 8 half + 2 r + l / 16. Weight = d * scale * (q - 32).
#include "quant/octet"
#include "quant/words"
#define GROUPS 4
#define LARGEST 32
#define HALVES 1
#include "quant/integers"

// A unit is half a super-block; group r of it is the weights 32 r + l.
struct Unit {
  d: f32,
  scales: vec2u,
  low: array<vec4u, 4>,
  high: array<vec4u, 2>,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 2u * 210u;
  let half = i % 2u;
  let low0 = words8_at(block + half * 64u);
  let low1 = words8_at(block + half * 64u + 32u);
  return Unit(
    f16_at(block + 208u),
    words2_at(block + 192u + half * 8u),
    array<vec4u, 4>(low0[0], low0[1], low1[0], low1[1]),
    words8_at(block + 128u + half * 32u),
  );
}

fn unit_group(unit: Unit, r: u32) -> Group {
  let odd = r % 2u == 1u;
  let shift = r / 2u * 4u;
  let upper = vec4u(0x03030303u);
  let a = nibbles_of(select(unit.low[0], unit.low[2], odd), shift);
  let b = nibbles_of(select(unit.low[1], unit.low[3], odd), shift);
  let high_a = ((unit.high[0] >> vec4u(2u * r)) & upper) << vec4u(4u);
  let high_b = ((unit.high[1] >> vec4u(2u * r)) & upper) << vec4u(4u);
  let scales = bitcast<i32>(select(unit.scales.x, unit.scales.y, r >= 2u) >> (r % 2u * 16u));
  return Group(
    less(a | high_a, 0x20202020u),
    less(b | high_b, 0x20202020u),
    unit.d * vec2f(vec2i(scales << 24u, scales << 16u) >> vec2u(24u)),
    vec2f(),
  );
}

fn sixes(low: u32, shift: u32, high: u32, bit: u32) -> vec4f {
  let bytes = vec4u(0u, 8u, 16u, 24u);
  let q = (vec4u(low) >> (bytes + shift)) & vec4u(15u);
  let upper = (vec4u(high) >> (bytes + bit)) & vec4u(3u);
  return vec4f(q | (upper << vec4u(4u))) - 32.0;
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 210u;
  let o = i % 32u;
  let half = o / 16u;
  let r = o / 4u % 4u;
  let l = o % 4u * 8u;
  let low = block + half * 64u + r % 2u * 32u + l;
  let high = block + 128u + half * 32u + l;
  let scale = bitcast<i32>(byte_at(block + 192u + half * 8u + 2u * r + l / 16u) << 24u) >> 24u;
  let d = f16_at(block + 208u) * f32(scale);
  let shift = r / 2u * 4u;
  return Octet(
    sixes(word_at(low), shift, word_at(high), 2u * r) * d,
    sixes(word_at(low + 4u), shift, word_at(high + 4u), 2u * r) * d,
  );
}
