// Forbids tokens: the logit of each whose bit is not set becomes -infinity, written as bits, since a
// WGSL compiler may assume that there are no infinities among floats.
//   logits [n] f32 as bits; allowed [ceil(n / 32)] u32, token i in bit i % 32 of word i / 32
struct Params {
  n: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(2) var<storage, read> allowed: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.n) {
    return;
  }
  if (((allowed[id.x / 32u] >> (id.x % 32u)) & 1u) == 0u) {
    logits[id.x] = 0xff800000u;
  }
}
