// SwiGLU (Shazeer 2020, arXiv:2002.05202): out[m, n] = silu(gate[m, n]) * up[m, n]
//   gate_up [rows, in_stride]: `n` gates, then `n` ups; out [rows, out_stride], zeros past n
struct Params {
  n: u32,
  in_stride: u32,
  out_stride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.out_stride) {
    return;
  }
  var value = 0.0;
  if (id.x < p.n) {
    let gate = gate_up[id.y * p.in_stride + id.x];
    value = gate / (1.0 + exp(-gate)) * gate_up[id.y * p.in_stride + p.n + id.x];
  }
  out[id.y * p.out_stride + id.x] = value;
}
