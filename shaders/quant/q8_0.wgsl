// Q8_0: blocks of 32 in 34 bytes: scale d (f16), then 32 signed bytes; weight j is d * q[j].
#include "quant/octet"
#include "quant/words"
#define GROUPS 1
#define LARGEST 128
#include "quant/integers"

struct Unit {
  d: f32,
  q: array<vec4u, 2>,
}

fn load_unit(base: u32, i: u32) -> Unit {
  // A block begins at a word or in the middle of one; either way it lies in nine words.
  let half = 8u * base + 17u * i;
  let at = half / 2u;
  let a = vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
  let b = vec4u(weights[at + 4u], weights[at + 5u], weights[at + 6u], weights[at + 7u]);
  let a_next = vec4u(a.yzw, b.x);
  let b_next = vec4u(b.yzw, weights[at + 8u]);
  let odd = half % 2u == 1u;
  let d = unpack2x16float(select(a.x, a.x >> 16u, odd)).x;
  return Unit(
    d,
    array<vec4u, 2>(
      select((a >> vec4u(16u)) | (a_next << vec4u(16u)), a_next, odd),
      select((b >> vec4u(16u)) | (b_next << vec4u(16u)), b_next, odd),
    ),
  );
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return scaled(unit.q[0], unit.q[1], unit.d);
}

fn octet_at(base: u32, i: u32) -> Octet {
  let byte = 16u * base + i / 4u * 34u;
  let d = f16_at(byte);
  let at = byte + 2u + i % 4u * 8u;
  return Octet(
    vec4f(signed_bytes_of(word_at(at))) * d,
    vec4f(signed_bytes_of(word_at(at + 4u))) * d,
  );
}
