// Weights of block formats, whose blocks need not begin at whole words.
@group(0) @binding(1) var<storage, read> weights: array<u32>;

// Four bytes, counted in fours from the binding's start.
fn word(i: u32) -> u32 {
  return weights[i];
}

// Four bytes from any even byte offset on.
fn word_at(byte: u32) -> u32 {
  let i = byte / 4u;
  let word = weights[i];
  if (byte % 4u == 0u) {
    return word;
  }
  return (word >> 16u) | (weights[i + 1u] << 16u);
}
// Eight and sixteen bytes from any even byte offset on: they lie in three and five words.
fn words2_at(byte: u32) -> vec2u {
  let i = byte / 4u;
  let w = vec3u(weights[i], weights[i + 1u], weights[i + 2u]);
  return select((w.xy >> vec2u(16u)) | (w.yz << vec2u(16u)), w.xy, byte % 4u == 0u);
}
fn words4_at(byte: u32) -> vec4u {
  let i = byte / 4u;
  let w = vec4u(weights[i], weights[i + 1u], weights[i + 2u], weights[i + 3u]);
  let next = vec4u(w.yzw, weights[i + 4u]);
  return select((w >> vec4u(16u)) | (next << vec4u(16u)), w, byte % 4u == 0u);
}
// Thirty-two bytes from any even byte offset on: they lie in nine words.
fn words8_at(byte: u32) -> array<vec4u, 2> {
  let i = byte / 4u;
  let v = vec4u(weights[i], weights[i + 1u], weights[i + 2u], weights[i + 3u]);
  let w = vec4u(weights[i + 4u], weights[i + 5u], weights[i + 6u], weights[i + 7u]);
  let v_next = vec4u(v.yzw, w.x);
  let w_next = vec4u(w.yzw, weights[i + 8u]);
  let aligned = byte % 4u == 0u;
  return array<vec4u, 2>(
    select((v >> vec4u(16u)) | (v_next << vec4u(16u)), v, aligned),
    select((w >> vec4u(16u)) | (w_next << vec4u(16u)), w, aligned),
  );
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

fn signed_bytes_of(word: u32) -> vec4i {
  return (vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
}
