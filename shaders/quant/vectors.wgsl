// Weights of formats whose parts begin at multiples of 16 bytes.
@group(0) @binding(1) var<storage, read> weights: array<vec4u>;

// Four bytes, counted in fours from the binding's start.
fn word(i: u32) -> u32 {
  return weights[i / 4u][i % 4u];
}
