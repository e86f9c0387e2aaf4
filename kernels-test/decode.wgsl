// Decodes a matrix: out[i] is octet i of it, by `octet_at` (UNITS == 0) or by units.
#include "quant/{FORMAT}"
struct Params {
  octets: u32,
  base: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.octets) {
    return;
  }
#if UNITS
  let group = id.x / GROUP_OCTETS;
  let unit = load_unit(p.base, group / GROUPS);
  let octet = group_octet(unit_group(unit, group % GROUPS), id.x % GROUP_OCTETS);
#else
  let octet = octet_at(p.base, id.x);
#endif
  out[2u * id.x] = octet.a;
  out[2u * id.x + 1u] = octet.b;
}
