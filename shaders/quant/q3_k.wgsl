// Q3_K: super-blocks of 256 in 110 bytes: 32 bytes of third bits, 64 bytes of 2-bit values, 12 bytes of
// sixteen 6-bit scales, d (f16). In each half of 128 weights, weight 32 r + l (r < 4, l < 32) is at bit 2 r
// of byte l of the half's 32; its third bit is bit 4 half + r of byte l, and means -4 when it is not set.
// Scale s = 8 half + 2 r + l / 16: low nibble in nibble s / 8 of byte s % 8, upper two bits at bit
// 2 (s / 4) of byte 8 + s % 4; 32 is subtracted. Weight = d * (scale - 32) * q.
#include "quant/octet"
#include "quant/words"
#define GROUPS 4
#define LARGEST 7
#define UNSIGNED 1
#define OFFSETS 1
#define HALVES 1
#include "quant/integers"

// A unit is half a super-block; group r of it is the weights 32 r + l.
struct Unit {
  d: f32,
  low: vec2u, // low nibbles of the half's scales are in the low nibbles of these bytes
  upper: u32, // upper bits of scale 2 r + i are at bit 2 (r / 2) of byte 2 (r % 2) + i
  q: array<vec4u, 2>,
  third: array<vec4u, 2>, // bit r of each byte belongs to group r
}

fn load_unit(base: u32, i: u32) -> Unit {
  let block = 16u * base + i / 2u * 110u;
  let half = i % 2u;
  let third = words8_at(block);
  return Unit(
    f16_at(block + 108u),
    words2_at(block + 96u) >> vec2u(4u * half),
    word_at(block + 104u) >> (4u * half),
    words8_at(block + 32u + half * 32u),
    array<vec4u, 2>(third[0] >> vec4u(4u * half), third[1] >> vec4u(4u * half)),
  );
}

fn unit_group(unit: Unit, r: u32) -> Group {
  let shift = r % 2u * 16u;
  let low = select(unit.low.x, unit.low.y, r >= 2u) >> shift;
  let upper = (unit.upper >> (2u * (r / 2u))) >> shift;
  let s = vec2u(
    (low & 15u) | ((upper & 3u) << 4u),
    ((low >> 8u) & 15u) | (((upper >> 8u) & 3u) << 4u),
  );
  let scale = unit.d * (vec2f(s) - 32.0);
  let twos = vec4u(0x03030303u);
  let ones = vec4u(0x01010101u);
  let third_a = ((unit.third[0] >> vec4u(r)) & ones) << vec4u(2u);
  let third_b = ((unit.third[1] >> vec4u(r)) & ones) << vec4u(2u);
  return Group(
    ((unit.q[0] >> vec4u(2u * r)) & twos) | third_a,
    ((unit.q[1] >> vec4u(2u * r)) & twos) | third_b,
    scale,
    -4.0 * scale,
  );
}

fn threes(word: u32, bit: u32, high: u32, high_bit: u32) -> vec4f {
  let bytes = vec4u(0u, 8u, 16u, 24u);
  let q = (vec4u(word) >> (bytes + bit)) & vec4u(3u);
  let third = (vec4u(high) >> (bytes + high_bit)) & vec4u(1u);
  return vec4f(vec4i(q) - vec4i((vec4u(1u) - third) << vec4u(2u)));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 110u;
  let o = i % 32u;
  let half = o / 16u;
  let r = o / 4u % 4u;
  let l = o % 4u * 8u;
  let s = half * 8u + 2u * r + l / 16u;
  let low = (byte_at(block + 96u + s % 8u) >> (s / 8u * 4u)) & 15u;
  let upper = (byte_at(block + 104u + s % 4u) >> (s / 4u * 2u)) & 3u;
  let d = f16_at(block + 108u) * (f32(low | (upper << 4u)) - 32.0);
  let at = block + 32u + half * 32u + l;
  let high = block + l;
  let high_bit = 4u * half + r;
  return Octet(
    threes(word_at(at), 2u * r, word_at(high), high_bit) * d,
    threes(word_at(at + 4u), 2u * r, word_at(high + 4u), high_bit) * d,
  );
}
