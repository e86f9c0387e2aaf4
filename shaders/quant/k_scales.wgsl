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
