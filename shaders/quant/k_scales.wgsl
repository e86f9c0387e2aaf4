// The 6-bit scales and minima of Q4_K and Q5_K: 8 of each in 12 bytes. The low six bits of bytes 0..3 and
// 4..7 are scales and minima 0..3; those of 4..7 have their low nibbles in bytes 8..11 (scale low, minimum
// high) and their upper two bits atop bytes 0..3 and 4..7.
fn scale_and_minimum(words: vec3u, j: u32) -> vec2f {
  let shift = j % 4u * 8u;
  let a = words.x >> shift;
  let b = words.y >> shift;
  let c = words.z >> shift;
  let early = vec2u(a & 63u, b & 63u);
  let late = vec2u((c & 15u) | ((a >> 2u) & 48u), ((c >> 4u) & 15u) | ((b >> 2u) & 48u));
  return vec2f(select(late, early, j < 4u));
}
// Scales and minima 4 half .. 4 half + 3, each four to a word.
fn scales_and_minima(words: vec3u, half: u32) -> vec2u {
  let early = words.xy & vec2u(0x3f3f3f3fu);
  let low = (words.zz >> vec2u(0u, 4u)) & vec2u(0x0f0f0f0fu);
  let late = low | ((words.xy >> vec2u(2u)) & vec2u(0x30303030u));
  return select(early, late, half == 1u);
}
