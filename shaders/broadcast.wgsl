// Declarations for `broadcast_columns`.
enable subgroups;
// Control flow depends on the subgroup alone, which a compiler cannot see.
diagnostic(off, subgroup_uniformity);
#if INT8
#define X_WORDS 12
@group(0) @binding(2) var<storage, read> x: array<u32>;
#else
#define X_WORDS 8
@group(0) @binding(2) var<storage, read> x: array<f32>;
#endif
#define X_REGISTERS (TOKENS * X_WORDS + LANES - 1) / LANES

// The word of TOKENS steps that a lane holds in register l; past the last, the last.
fn step_word(l: u32, lane: u32) -> u32 {
  return min(l * LANES + lane, TOKENS * X_WORDS - 1u);
}
