// Activations in int8, in blocks of 32 with a scale s: v = round(x / s), s = max |x| / 127. For each block
// 12 words: 32 signed bytes v; then in f32 s, and s times the sum of v[0..16], of v[16..32], and of all.
// A kernel that writes rows to be multiplied declares `q8`, [rows, blocks, 12 words] as vec4u, and stores
// each block of its rows, a last one of less than 32 filled up with zeros.
fn store_q8(i: u32, values: array<vec4f, 8>) {
  var most = vec4f();
  #for j in 0..8
  most = max(most, abs(values[$j]));
  #endfor
  let largest = max(max(most.x, most.y), max(most.z, most.w));
  let scale = largest / 127.0;
  let inverse = select(0.0, 127.0 / largest, largest > 0.0);
  var words: array<u32, 8>;
  var sum_a = 0;
  var sum_b = 0;
  #for j in 0..8
  {
    let v = vec4i(round(values[$j] * inverse));
#if j < 4
    sum_a += (v.x + v.y) + (v.z + v.w);
#else
    sum_b += (v.x + v.y) + (v.z + v.w);
#endif
    let bytes = bitcast<vec4u>(v) & vec4u(0xffu);
    words[$j] = (bytes.x | (bytes.y << 8u)) | ((bytes.z << 16u) | (bytes.w << 24u));
  }
  #endfor
  q8[3u * i] = vec4u(words[0], words[1], words[2], words[3]);
  q8[3u * i + 1u] = vec4u(words[4], words[5], words[6], words[7]);
  q8[3u * i + 2u] = bitcast<vec4u>(scale * vec4f(vec4i(1, sum_a, sum_b, sum_a + sum_b)));
}
