// The register-tile variant of matmul.wgsl with activations in int8: each invocation takes 4 columns and,
// one after the other, runs of 4 rows.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) workgroup: vec3u) {
  let tile = tile_at(workgroup.y);
  let n0 = id.x * 4u;
  if (tile.rows == 0u || n0 >= p.columns) {
    return;
  }
  let groups = p.octets / GROUP_OCTETS;
  #for c in 0..4
  let w$c = min(n0 + $cu, p.columns - 1u) * groups;
  #endfor
  for (var m = 0u; m < tile.rows; m += 4u) {
    #for r in 0..4
    let x$r = x_row(tile, m + $ru);
      #for c in 0..4
    var sum$r_$c = 0.0;
      #endfor
    #endfor
    for (var k = 0u; k < groups; k++) {
      #for r in 0..4
      let activations$r = Activations(
        activation_sixteen(x[3u * (x$r + k)]),
        activation_sixteen(x[3u * (x$r + k) + 1u]),
        bitcast<vec4f>(x[3u * (x$r + k) + 2u]),
      );
      #endfor
      #for c in 0..4
      {
        let at = w$c + k;
        let w = weights_of(unit_group(load_unit(tile.base, at / GROUPS), at % GROUPS));
        #for r in 0..4
        sum$r_$c += product(w, activations$r);
        #endfor
      }
      #endfor
    }
    #for r in 0..4
      #for c in 0..4
    store(tile, m + $ru, n0 + $cu, sum$r_$c);
      #endfor
    #endfor
  }
}
