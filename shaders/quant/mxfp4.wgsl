// MXFP4: blocks of 32 in 17 bytes: exponent e (E8M0), then 16 bytes of nibbles as in Q4_0, each a four-bit
// float E2M1 (OCP Microscaling Formats 1.0). Weight = 2^(e - 128) * (twice the float).
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 12
#include "quant/integers"

struct Unit {
  d: f32,
  q: vec4u,
}

fn load_unit(base: u32, i: u32) -> Unit {
  let byte = 16u * base + i * 17u;
  let at = byte / 4u;
  let w = vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
  let next = vec4u(w.yzw, weights[at + 4u]);
  let shift = byte % 4u * 8u;
  let d = ldexp(1.0, i32((w.x >> shift) & 0xffu) - 128);
  // The nibbles begin a byte later; shifts of 32 bits are not defined.
  let q = ((w >> vec4u(shift)) >> vec4u(8u)) | (next << vec4u(24u - shift));
  return Unit(d, q);
}

// As bytes, twice the values of 16 nibbles, from `shift` on in each byte.
fn doubled_sixteen(words: vec4u, shift: u32) -> vec4u {
  let ones = vec4u(0x01010101u);
  let q = nibbles_of(words, shift);
  let m = q & vec4u(0x07070707u);
  // 0..3 are themselves; of 4..7 the lower two bits count twice, and 7 is two more.
  let lower = m & (((m >> vec4u(2u)) & ones) * 3u);
  let magnitude = m + lower + ((lower & (lower >> vec4u(1u)) & ones) << vec4u(1u));
  let nonzero = m | (m >> vec4u(1u)) | (m >> vec4u(2u));
  return negated(magnitude, (q >> vec4u(3u)) & nonzero & ones);
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return scaled(doubled_sixteen(unit.q, 0u), doubled_sixteen(unit.q, 4u), unit.d);
}

// Blocks begin at any byte.
fn bytes_at(byte: u32) -> u32 {
  let shift = byte % 4u * 8u;
  let i = byte / 4u;
  if (shift == 0u) {
    return weights[i];
  }
  return (weights[i] >> shift) | (weights[i + 1u] << (32u - shift));
}

// Twice the value: 0, 1, 2, 3, 4, 6, 8, 12, and their negatives.
fn doubled(word: u32, shift: u32) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  let m = q & vec4u(7u);
  let large = (2u + (m & vec4u(1u))) << ((m >> vec4u(1u)) - 1u);
  let magnitude = vec4f(select(large, m, m < vec4u(2u)));
  return select(magnitude, -magnitude, q > vec4u(8u));
}

fn octet_at(base: u32, i: u32) -> Octet {
  let byte = 16u * base + i / 4u * 17u;
  let d = ldexp(1.0, i32(byte_at(byte)) - 128);
  let at = byte + 1u + i % 2u * 8u;
  let shift = i % 4u / 2u * 4u;
  return Octet(doubled(bytes_at(at), shift) * d, doubled(bytes_at(at + 4u), shift) * d);
}
