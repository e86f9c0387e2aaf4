// For formats whose weights are integers times a scale, plus an offset: a group is 32 weights as signed
// bytes, four to a word, so that products with activations in int8 need no floats (see `int8`).
// A decoder says of its integers, by defines:
//   LARGEST   the largest magnitude
//   UNSIGNED  none is negative
//   OFFSETS   there are offsets that are not zero
//   HALVES    the two halves of a group have scales and offsets of their own; else those in x hold for both
#define INTEGERS 1
#define GROUP_OCTETS 4

struct Group {
  a: vec4u, // weights 0..15
  b: vec4u, // weights 16..31
  scale: vec2f,
  offset: vec2f,
}

// A group with one scale and no offset.
fn scaled(a: vec4u, b: vec4u, scale: f32) -> Group {
  return Group(a, b, vec2f(scale), vec2f());
}

fn group_octet(group: Group, o: u32) -> Octet {
  let four = select(group.a, group.b, o >= 2u);
  let pair = select(four.xy, four.zw, o % 2u == 1u);
#if HALVES
  let scale = select(group.scale.x, group.scale.y, o >= 2u);
  let offset = select(group.offset.x, group.offset.y, o >= 2u);
#else
  let scale = group.scale.x;
  let offset = group.offset.x;
#endif
#if OFFSETS
  return Octet(integers_of(pair.x) * scale + offset, integers_of(pair.y) * scale + offset);
#else
  return Octet(integers_of(pair.x) * scale, integers_of(pair.y) * scale);
#endif
}

fn integers_of(word: u32) -> vec4f {
#if UNSIGNED
  return vec4f((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu));
#else
  return vec4f((vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
#endif
}

// Of each byte the four bits from `shift` on.
fn nibbles_of(words: vec4u, shift: u32) -> vec4u {
  return (words >> vec4u(shift)) & vec4u(0x0f0f0f0fu);
}
// Bits 0..3 of each word, one to a byte.
fn bits_to_bytes(bits: vec4u) -> vec4u {
  return ((bits & vec4u(15u)) * 0x00204081u) & vec4u(0x01010101u);
}
// Sixteen bits, one to a byte.
fn sixteen_bits(bits: u32) -> vec4u {
  return bits_to_bytes(vec4u(bits) >> vec4u(0u, 4u, 8u, 12u));
}
// Bytes v below 128, negated where the byte of `minus` is 1; v must not be 0 there.
fn negated(v: vec4u, minus: vec4u) -> vec4u {
  return (v ^ (minus * 255u)) + minus;
}
// Bytes v - n as signed bytes, for v and n up to 127; n in every byte of `ns`.
fn less(v: vec4u, ns: u32) -> vec4u {
  return ((v | vec4u(0x80808080u)) - vec4u(ns)) ^ vec4u(0x80808080u);
}
