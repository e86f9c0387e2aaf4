// The SHARED variant of matmul.wgsl with activations in int8. A step takes two groups of 32 k: three vec4u
// each, the integers and what they are scaled by.
var<workgroup> shared_x: array<vec4u, TILE_M * 6u>; // [row][group][3]
var<workgroup> shared_w: array<vec4u, TILE_N * 6u>; // [column][group][3]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let tile = tile_at(workgroup.y);
  if (tile.rows == 0u) {
    return;
  }
  let n0 = workgroup.x * TILE_N;
  let m = local / 16u;
  let n = local % 16u;
  let groups = p.octets / GROUP_OCTETS;
  #for r in 0..TILE_M / 16
    #for c in 0..TILE_N / 16
  var sum$r_$c = 0.0;
    #endfor
  #endfor
  for (var k = 0u; k < groups; k += 2u) {
    for (var i = local; i < TILE_M * 2u; i += 256u) {
      let at = 3u * (x_row(tile, i / 2u) + min(k + i % 2u, groups - 1u));
      // A scale of zero, and sums of zero, make nothing of a group past the end.
      let in_range = k + i % 2u < groups;
      shared_x[3u * i] = x[at];
      shared_x[3u * i + 1u] = x[at + 1u];
      shared_x[3u * i + 2u] = select(vec4u(), x[at + 2u], in_range);
    }
    for (var i = local; i < TILE_N * 2u; i += 256u) {
      let column = min(n0 + i / 2u, p.columns - 1u);
      let at = column * groups + min(k + i % 2u, groups - 1u);
      let w = unit_group(load_unit(tile.base, at / GROUPS), at % GROUPS);
      shared_w[3u * i] = w.a;
      shared_w[3u * i + 1u] = w.b;
      shared_w[3u * i + 2u] = bitcast<vec4u>(vec4f(w.scale, w.offset));
    }
    workgroupBarrier();
    #for q in 0..2
    {
      #for r in 0..TILE_M / 16
      let x$r = activations_at((m + $(16 * r)u) * 6u + $(3 * q)u);
      #endfor
      #for c in 0..TILE_N / 16
      {
        let at = (n + $(16 * c)u) * 6u + $(3 * q)u;
        let factors = bitcast<vec4f>(shared_w[at + 2u]);
        let w = weights_of(Group(shared_w[at], shared_w[at + 1u], factors.xy, factors.zw));
        #for r in 0..TILE_M / 16
        sum$r_$c += product(w, x$r);
        #endfor
      }
      #endfor
    }
    #endfor
    workgroupBarrier();
  }
  #for r in 0..TILE_M / 16
    #for c in 0..TILE_N / 16
  store(tile, m + $(16 * r)u, n0 + n + $(16 * c)u, sum$r_$c);
    #endfor
  #endfor
}

fn activations_at(i: u32) -> Activations {
  return Activations(
    activation_sixteen(shared_x[i]),
    activation_sixteen(shared_x[i + 1u]),
    bitcast<vec4f>(shared_x[i + 2u]),
  );
}
