// Weights of block formats, whose blocks need not begin at whole words.
@group(0) @binding(1) var<storage, read> weights: array<u32>;

// Four bytes from any even byte offset on.
fn word_at(byte: u32) -> u32 {
  let i = byte / 4u;
  let word = weights[i];
  if (byte % 4u == 0u) {
    return word;
  }
  return (word >> 16u) | (weights[i + 1u] << 16u);
}
fn half_at(byte: u32) -> u32 {
  return (weights[byte / 4u] >> (8u * (byte % 4u))) & 0xffffu;
}
fn byte_at(byte: u32) -> u32 {
  return (weights[byte / 4u] >> (8u * (byte % 4u))) & 0xffu;
}
fn f16_at(byte: u32) -> f32 {
  return unpack2x16float(half_at(byte)).x;
}

// The bytes of a word, unsigned and signed.
fn bytes_of(word: u32) -> vec4u {
  return (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
}
fn signed_bytes_of(word: u32) -> vec4i {
  return (vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
}
