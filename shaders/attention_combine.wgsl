// Joins the runs of positions that attention.wgsl summed apart (flash decoding): with m = max of the
// runs' maxima, out = (sum of exp(m_s - m) o_s) / (sum of exp(m_s - m) l_s).
//   sums [splits, rows, 4 * WIDTH], partial [splits, rows] (m_s, l_s); rows = tokens * q_heads
//   out  [tokens, out_stride], head h at h * HEAD_DIM
struct Params {
  rows: u32,
  splits: u32,
  q_heads: u32,
  out_stride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec4f>;
@group(0) @binding(2) var<storage, read> partial: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const WIDTH = (HEAD_DIM + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x / WIDTH;
  let column = id.x % WIDTH;
  if (row >= p.rows) {
    return;
  }
  var most = partial[row].x;
  for (var s = 1u; s < p.splits; s++) {
    most = max(most, partial[s * p.rows + row].x);
  }
  var value = vec4f();
  var sum = 0.0;
  for (var s = 0u; s < p.splits; s++) {
    let part = partial[s * p.rows + row];
    let weight = exp(part.x - most);
    sum += weight * part.y;
    value += weight * sums[(s * p.rows + row) * WIDTH + column];
  }
  let at = row / p.q_heads * p.out_stride + row % p.q_heads * HEAD_DIM + 4u * column;
  for (var i = 0u; i < min(4u, HEAD_DIM - 4u * column); i++) {
    out[at + i] = value[i] / sum;
  }
}
