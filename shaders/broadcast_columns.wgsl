// The inner loop of kernels in which a lane of a subgroup of LANES owns COLUMNS rows of weights, and the
// lanes load TOKENS vectors together and broadcast them: sum$t_$c = the product of vector t and column c.
// The kernel declares before it:
//   base$c, column$c   where column c's matrix begins, and its row there, in units
//   x$l                where in x lane l's share of the first step is; see X_WORDS
//   units              of a row of weights
// A step is an octet of f32 or, with INT8, a block of 32 in int8: X_WORDS words. Word v = t X_WORDS + j of
// the TOKENS steps is held by lane v % LANES, in register v / LANES.
  #for t in 0..TOKENS
    #for c in 0..COLUMNS
  var sum$t_$c = 0.0;
    #endfor
  #endfor
  for (var u = 0u; u < units; u++) {
    #for c in 0..COLUMNS
    let raw$c = load_unit(base$c, column$c + u);
    #endfor
    // These two loops are not unrolled: their bodies are long.
    for (var g = 0u; g < GROUPS; g++) {
      let k = u * GROUPS + g;
      #for c in 0..COLUMNS
      let group$c = unit_group(raw$c, g);
      #endfor
#if INT8
      #for c in 0..COLUMNS
      let w$c = weights_of(group$c);
      #endfor
      #for l in 0..X_REGISTERS
      let v$l = x[x$l + X_WORDS * k];
#if PAIRS
      let even$l = even_pair(v$l);
      let odd$l = odd_pair(v$l);
#endif
      #endfor
      #for t in 0..TOKENS
      {
#if PAIRS
        let a = Sixteen(
          vec4u(
            #for j in 0..4
            subgroupBroadcast(even$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
            #endfor
          ),
          vec4u(
            #for j in 0..4
            subgroupBroadcast(odd$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
            #endfor
          ),
        );
        let b = Sixteen(
          vec4u(
            #for j in 4..8
            subgroupBroadcast(even$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
            #endfor
          ),
          vec4u(
            #for j in 4..8
            subgroupBroadcast(odd$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
            #endfor
          ),
        );
#else
        let a = vec4u(
          #for j in 0..4
          subgroupBroadcast(v$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
          #endfor
        );
        let b = vec4u(
          #for j in 4..8
          subgroupBroadcast(v$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
          #endfor
        );
#endif
        let scale = bitcast<vec4f>(vec4u(
          #for j in 8..12
          subgroupBroadcast(v$((t * 12 + j) / LANES), $((t * 12 + j) % LANES)u),
          #endfor
        ));
        let activations = Activations(a, b, scale);
        #for c in 0..COLUMNS
        sum$t_$c += product(w$c, activations);
        #endfor
      }
      #endfor
#else
      for (var o = 0u; o < GROUP_OCTETS; o++) {
        #for c in 0..COLUMNS
        let w$c = group_octet(group$c, o);
        #endfor
        #for l in 0..X_REGISTERS
        let v$l = x[x$l + X_WORDS * (k * GROUP_OCTETS + o)];
        #endfor
        #for t in 0..TOKENS
          #for j in 0..8
        {
          let value = subgroupBroadcast(v$((t * 8 + j) / LANES), $((t * 8 + j) % LANES)u);
            #for c in 0..COLUMNS
#if j < 4
          sum$t_$c = fma(w$c.a[$j], value, sum$t_$c);
#else
          sum$t_$c = fma(w$c.b[$(j - 4)], value, sum$t_$c);
#endif
            #endfor
        }
          #endfor
        #endfor
      }
#endif
    }
  }
