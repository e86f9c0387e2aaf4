// Products of a weight matrix with few vectors, f32 accumulation: the modes of `matvec_params`, for software
// GPUs. A lane owns rows of weights and the lanes share x by broadcast, as in the BROADCAST variant of
// matmul.wgsl: a load costs as much as ten multiplications there, and most loads of a product with packed
// weights by matvec.wgsl are those of x. COLUMNS rows of W per lane; in mode 1 a row of G and the same row of
// U, both at once or, with one column, one after the other. With Q8, in mode 1, also the int8 image of y: a
// subgroup takes a block of 32 outputs then, in steps (see `quantize_block`).
#include "quant/{FORMAT}"
#if INT8
#include "int8"
#endif
#include "matvec_params"
#if TOUCH
#include "touch"
#endif
#include "broadcast"

#if MODE == 1
#define ROWS 1
#else
#define ROWS COLUMNS
#endif
#define IN_TURN MODE == 1 && COLUMNS == 1
#if Q8
#define STEPS 32 / LANES
@group(0) @binding(6) var<storage, read_write> q8: array<vec4u>;
#include "quantize_block"
#else
#define STEPS 1
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let group = workgroup.x * (WORKGROUP / LANES) + local / LANES;
  if (group * STEPS * LANES * ROWS >= p.rows) {
    return;
  }
  let units = p.octets / (GROUPS * GROUP_OCTETS); // of a row
#if MODE == 0
  let token = workgroup.y * TOKENS;
  let base = 0u;
  let x_start = token;
  let last = p.tokens - 1u;
#else
  let token = workgroup.y;
  let slot = slot_of[p.table + ids[token]] - p.first_slot; // wraps around for earlier slots
  if (slot >= p.slots) {
    return;
  }
  let base = slot * p.slot_stride + p.matrix_start;
  let up_base = slot * p.slot_stride + p.up_start;
  let x_start = token / p.top_k;
  let last = x_start;
#endif
  #for l in 0..X_REGISTERS
  let word$l = step_word($lu, lane);
  let x$l = min(x_start + word$l / X_WORDS, last) * p.x_stride * X_WORDS + word$l % X_WORDS;
  #endfor
#if Q8
  var block: array<f32, STEPS>;
#endif
  for (var step = 0u; step < STEPS; step++) {
    let n0 = (group * STEPS + step) * LANES * ROWS + lane;
    #for c in 0..COLUMNS
    let column$c = min(n0 + $(c % ROWS)u * LANES, p.rows - 1u) * units;
    #endfor
    var output = p.first + n0;
#if IN_TURN
    var gate = 0.0;
    var up = 0.0;
    for (var matrix = 0u; matrix < 2u; matrix++) {
      let base0 = select(base, up_base, matrix == 1u);
#else
      #for c in 0..COLUMNS
#if c < ROWS
      let base$c = base;
#else
      let base$c = up_base;
#endif
      #endfor
#endif
#if TOUCH
      #for c in 0..COLUMNS
      output += touch(base$c, n0 - lane + $(c % ROWS)u * LANES, lane);
      #endfor
#endif
#include "broadcast_columns"
#if IN_TURN
      gate = select(gate, sum0_0, matrix == 0u);
      up = sum0_0;
    }
#elif MODE == 1
    let gate = sum0_0;
    let up = sum0_1;
#endif
    #for t in 0..TOKENS
      #for r in 0..ROWS
    if (n0 + $ru * LANES < p.rows && token + $tu < p.tokens) {
#if MODE == 1
      let value = silu(gate) * up;
#else
      let value = sum$t_$r;
#endif
      y[(token + $tu) * p.y_stride + output + $ru * LANES] = value;
#if Q8
      #for s in 0..STEPS
      block[$s] = select(block[$s], value, step == $su);
      #endfor
#endif
    }
      #endfor
    #endfor
  }
#if Q8
  var values: array<vec4f, 8>;
  #for j in 0..8
    #for i in 0..4
  values[$j][$i] = subgroupBroadcast(block[$((4 * j + i) / LANES)], $((4 * j + i) % LANES)u);
    #endfor
  #endfor
  if (lane == 0u) {
    store_q8(token * ((p.y_stride + 31u) / 32u) + group, values);
  }
#endif
}
