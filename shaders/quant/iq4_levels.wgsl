// The levels of IQ4_NL and IQ4_XS: bytes of four words.
const iq4_words = vec4u(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn iq4_level(q: u32) -> f32 {
  let word = iq4_words[q / 4u];
  return f32(bitcast<i32>(word << (24u - q % 4u * 8u)) >> 24u);
}
fn iq4_levels_of(word: u32, shift: u32) -> vec4f {
  let q = (vec4u(word) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(15u);
  return vec4f(iq4_level(q.x), iq4_level(q.y), iq4_level(q.z), iq4_level(q.w));
}
