// Rows of activations in int8, as `quantize_block` says, for kernels that do not store them so themselves.
//   x [rows, stride] f32; q8 [rows, blocks, 12 words]
// One invocation per block.
struct Params {
  count: u32, // of blocks, in all rows
  blocks: u32, // of a row
  stride4: u32, // of x, in vec4
  invocations: u32, // of a row of workgroups
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q8: array<vec4u>;
#include "quantize_block"

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.y * p.invocations + id.x;
  if (i >= p.count) {
    return;
  }
  let block = i % p.blocks;
  let start = i / p.blocks * p.stride4;
  var values: array<vec4f, 8>;
  #for j in 0..8
  if (8u * block + $ju < p.stride4) {
    values[$j] = x[start + 8u * block + $ju];
  }
  #endfor
  store_q8(i, values);
}
