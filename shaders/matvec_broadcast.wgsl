// Products of a weight matrix with few vectors, f32 accumulation: the modes of `matvec_params`, for software
// GPUs. A lane owns rows of weights and the lanes share x by broadcast, as in the BROADCAST variant of
// matmul.wgsl: a load costs as much as ten multiplications there, and most loads of a product with packed
// weights by matvec.wgsl are those of x. COLUMNS rows of W per lane; in mode 1 half of them are rows of G
// and the other half the same rows of U.
#include "quant/{FORMAT}"
#if INT8
#include "int8"
#endif
#include "matvec_params"
#include "broadcast"

#if MODE == 1
#define ROWS COLUMNS / 2
#else
#define ROWS COLUMNS
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let n0 = (workgroup.x * (WORKGROUP / LANES) + local / LANES) * LANES * ROWS + lane;
  if (n0 - lane >= p.rows) {
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
  #for c in 0..COLUMNS
#if c < ROWS
  let base$c = base;
#else
  let base$c = up_base;
#endif
  let column$c = min(n0 + $(c % ROWS)u * LANES, p.rows - 1u) * units;
  #endfor
#include "broadcast_columns"
  #for t in 0..TOKENS
    #for r in 0..ROWS
  if (n0 + $ru * LANES < p.rows && token + $tu < p.tokens) {
#if MODE == 1
    let value = silu(sum$t_$r) * sum$t_$(ROWS + r);
#else
    let value = sum$t_$r;
#endif
    y[(token + $tu) * p.y_stride + p.first + n0 + $ru * LANES] = value;
  }
    #endfor
  #endfor
}
