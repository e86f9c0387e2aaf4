// MXFP4: blocks of 32 in 17 bytes: exponent e (E8M0), then 16 bytes of nibbles as in Q4_0, each a four-bit
// float E2M1 (OCP Microscaling Formats 1.0). Weight = 2^(e - 128) * (twice the float).
#include "quant/octet"
#include "quant/words"
#include "quant/single"

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
