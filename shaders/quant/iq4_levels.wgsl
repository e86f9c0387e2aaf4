// The levels of IQ4_NL and IQ4_XS: bytes of four words.
const iq4_words = vec4u(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn iq4_level(q: u32) -> f32 {
  let word = iq4_words[q / 4u];
  return f32(bitcast<i32>(word << (24u - q % 4u * 8u)) >> 24u);
}
// The levels of four nibbles, from `shift` on in each byte, as bytes.
fn iq4_bytes_of(word: u32, shift: u32) -> u32 {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  let second = (q & vec4u(4u)) != vec4u(0u);
  let low = select(vec4u(iq4_words.x), vec4u(iq4_words.y), second);
  let high = select(vec4u(iq4_words.z), vec4u(iq4_words.w), second);
  let levels = select(low, high, q >= vec4u(8u)) >> ((q & vec4u(3u)) * 8u);
  let bytes = (levels & vec4u(0xffu)) << vec4u(0u, 8u, 16u, 24u);
  return (bytes.x | bytes.y) | (bytes.z | bytes.w);
}
fn iq4_sixteen(words: vec4u, shift: u32) -> vec4u {
  return vec4u(
    iq4_bytes_of(words.x, shift),
    iq4_bytes_of(words.y, shift),
    iq4_bytes_of(words.z, shift),
    iq4_bytes_of(words.w, shift),
  );
}
fn iq4_levels_of(word: u32, shift: u32) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(iq4_level(q.x), iq4_level(q.y), iq4_level(q.z), iq4_level(q.w));
}
