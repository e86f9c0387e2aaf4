// Chains of multiply-adds in registers: how fast a kernel computes here when nothing holds it up.
// CHAINS * 4 * 2 * steps operations per invocation. Not part of the engine.
struct Params {
  steps: u32,
  factor: f32,
  add: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(p.factor);
  let add = vec4f(p.add);
  #for c in 0..CHAINS
  var sum$c = vec4f(f32(id.x + $cu));
  #endfor
  for (var i = 0u; i < p.steps; i++) {
    #for c in 0..CHAINS
    sum$c = fma(sum$c, factor, add);
    #endfor
  }
  var total = vec4f();
  #for c in 0..CHAINS
  total += sum$c;
  #endfor
  out[id.x] = dot(total, vec4f(1.0));
}
