// Penalties and biases of single tokens, in place:
//   logit' = (logit > 0 ? logit / repetition : logit * repetition) + add
//   entries [n] (id as bits, repetition, add, 0); ids are distinct
struct Params {
  n: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> entries: array<vec4u>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.n) {
    return;
  }
  let entry = entries[id.x];
  let repetition = bitcast<f32>(entry.y);
  let logit = logits[entry.x];
  logits[entry.x] = select(logit * repetition, logit / repetition, logit > 0.0) + bitcast<f32>(entry.z);
}
