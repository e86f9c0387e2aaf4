// Embedding lookup: out[t] = weights[ids[t]], t < tokens.
//   weights [rows of this part, columns]  any number format
//   ids     [tokens]                      u32
//   out     [tokens, stride]              f32
// A table larger than one binding comes in parts; tokens of other parts are left alone.
#include "quant/{FORMAT}"

struct Params {
  octets: u32, // of columns of out
  row_octets: u32, // of a row of weights
  stride4: u32, // of out, in vec4
  first_row: u32,
  rows: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = ids[id.y] - p.first_row; // wraps around for rows of an earlier part
  if (id.x >= p.octets || row >= p.rows) {
    return;
  }
  let w = octet_at(0u, row * p.row_octets + id.x);
  let at = id.y * p.stride4 + 2u * id.x;
  out[at] = w.a;
  out[at + 1u] = w.b;
}
