// Who works together on a row, and how they reduce. Three ways, chosen by a define:
//   SUBGROUPS  the invocations of a subgroup; no barrier. Best on software GPUs, good on all.
//   SHARED     the whole workgroup, through workgroup memory; for GPUs without subgroups.
//   neither    each invocation alone; for software GPUs without subgroups, where barriers cost most.
#if SUBGROUPS
enable subgroups;
// Control flow here depends on the group of lanes alone, which a compiler cannot see.
diagnostic(off, subgroup_uniformity);

fn reduce_add(value: f32, lane: u32) -> f32 {
  return subgroupAdd(value);
}
fn reduce_max(value: u32, lane: u32) -> u32 {
  return subgroupMax(value);
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  return subgroupMin(value);
}
#if SUMS
fn reduce_sums(mine: array<f32, SUMS>, lane: u32) -> array<f32, SUMS> {
  var sums = mine;
  #for s in 0..SUMS
  sums[$s] = subgroupAdd(sums[$s]);
  #endfor
  return sums;
}
#endif
#elif SHARED
var<workgroup> reduce_f32: array<f32, WORKGROUP>;
var<workgroup> reduce_u32: array<u32, WORKGROUP>;

// Every invocation reads the result before anyone may write the next one: hence the last barrier.
fn reduce_add(value: f32, lane: u32) -> f32 {
  reduce_f32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_f32[lane] += reduce_f32[lane + half];
    }
    workgroupBarrier();
  }
  let sum = reduce_f32[0];
  workgroupBarrier();
  return sum;
}
fn reduce_max(value: u32, lane: u32) -> u32 {
  reduce_u32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_u32[lane] = max(reduce_u32[lane], reduce_u32[lane + half]);
    }
    workgroupBarrier();
  }
  let most = reduce_u32[0];
  workgroupBarrier();
  return most;
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  reduce_u32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_u32[lane] = min(reduce_u32[lane], reduce_u32[lane + half]);
    }
    workgroupBarrier();
  }
  let least = reduce_u32[0];
  workgroupBarrier();
  return least;
}
#if SUMS
// SUMS values at once need no more barriers than one. To be called once: nothing waits at its end.
var<workgroup> reduce_all: array<f32, SUMS * WORKGROUP>;

fn reduce_sums(mine: array<f32, SUMS>, lane: u32) -> array<f32, SUMS> {
  var sums = mine;
  #for s in 0..SUMS
  reduce_all[$su * WORKGROUP + lane] = sums[$s];
  #endfor
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    for (var i = lane; i < SUMS * half; i += WORKGROUP) {
      let at = i / half * WORKGROUP + i % half;
      reduce_all[at] += reduce_all[at + half];
    }
    workgroupBarrier();
  }
  #for s in 0..SUMS
  sums[$s] = reduce_all[$su * WORKGROUP];
  #endfor
  return sums;
}
#endif
#else
fn reduce_add(value: f32, lane: u32) -> f32 {
  return value;
}
fn reduce_max(value: u32, lane: u32) -> u32 {
  return value;
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  return value;
}
#if SUMS
fn reduce_sums(mine: array<f32, SUMS>, lane: u32) -> array<f32, SUMS> {
  return mine;
}
#endif
#endif
