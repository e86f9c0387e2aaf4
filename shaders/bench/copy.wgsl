// out[i] = in[i]: how fast a kernel gets bytes in and out of memory here. Not part of the engine.
struct Params {
  n: u32, // in vec4
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.n) {
    out[id.x] = input[id.x];
  }
}
